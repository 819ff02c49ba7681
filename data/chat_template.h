// Chat templates: a conversation as the text that the model was made for, and which bytes of it the
// model is trained on.
#ifndef LIQUID_DATA_CHAT_TEMPLATE_H_
#define LIQUID_DATA_CHAT_TEMPLATE_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/civil_time.h"
#include "data/aligned_text.h"
#include "data/jinja/render_state.h"
#include "data/jinja/template.h"
#include "data/message_loss.h"
#include "nlohmann/json.hpp"

namespace liquid {

struct RenderedChat {
  std::string text;
  // What the model is trained on, ascending and disjoint. See ChatTemplate::Render.
  std::vector<ByteRange> trained;
  std::vector<float> weights;  // of `trained`, each above 0: how often it counts in the loss
  // Messages that were to be trained, but of which the template writes nothing, or marks nothing.
  int32_t num_left_out = 0;
  // The marks that close an assistant's turns, if they are asked for.
  std::vector<ByteRange> stops;
  // Whether the template marks it itself, by {% generation %}.
  bool has_generation_markers = false;
  // The bytes of the generation blocks, ascending and disjoint; empty without such markers.
  std::vector<ByteRange> generation_spans;
};

class ChatTemplate {
 public:
  // `name` stands in messages. InvalidArgument "name:line:column: what" for a template that is
  // wrong or uses what this engine does not support.
  static absl::StatusOr<ChatTemplate> Parse(std::string_view source, std::string name);

  struct Inputs {
    // A list of messages, perhaps with keys that speak of the loss (data/message_loss.h), which
    // the template is not shown. REQUIRED.
    const nlohmann::ordered_json* messages = nullptr;
    // An object: tools, add_generation_prompt, enable_thinking...; may be null.
    const nlohmann::ordered_json* kwargs = nullptr;
    // bos_token, eos_token...: kwargs of the same name win.
    std::map<std::string, std::string> special_tokens;
    // The texts of all special tokens of the tokenizer: where an assistant's turn may end.
    std::vector<std::string> end_of_turn_candidates;
    absl::CivilSecond now;  // local time, for strftime_now()
    LossOn loss_on = LossOn::kAssistant;
    size_t num_prompt_messages = 0;  // the first ones count as said by others
    bool find_stops = false;         // fill `stops`
    jinja::Limits limits;
  };

  // Renders as transformers' apply_chat_template does. What is trained:
  // - with LossOn::kAll, all of the text;
  // - else, if the template has {% generation %} blocks, exactly those of trained messages;
  // - else of each trained message what the model has to say itself: from behind the header that
  //   add_generation_prompt would write, to the end-of-turn token inclusive. Not the newline after
  //   it. The turn's bytes are known by their origin, not by their looks, so a message may quote
  //   any special token.
  // InvalidArgument for what goes wrong in the template, its raise_exception() included, for
  // inputs of the wrong shape, and if a message asks to be trained that the template's generation
  // blocks leave out; ResourceExhausted beyond `limits`. Thread-safe.
  absl::StatusOr<RenderedChat> Render(const Inputs& inputs) const;

  bool has_generation_markers() const { return template_.has_generation_blocks(); }

 private:
  explicit ChatTemplate(jinja::Template parsed) : template_(std::move(parsed)) {}

  jinja::Template template_;
};

}  // namespace liquid

#endif  // LIQUID_DATA_CHAT_TEMPLATE_H_
