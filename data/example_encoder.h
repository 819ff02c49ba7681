// Examples into token ids and the mask of what is trained: one model's tokenizer, chat template and
// special tokens together.
#ifndef LIQUID_DATA_EXAMPLE_ENCODER_H_
#define LIQUID_DATA_EXAMPLE_ENCODER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/civil_time.h"
#include "absl/types/span.h"
#include "data/chat_template.h"
#include "data/conversation.h"
#include "data/loss_weights.h"
#include "data/message_loss.h"
#include "data/packing.h"
#include "data/tokenizer.h"
#include "data/tokenizer_config.h"

namespace liquid {

// A rendered conversation.
struct EncodedChat {
  std::string rendered;
  std::vector<int32_t> ids;   // of `rendered`; what special tokens it has are the template's
  std::vector<uint8_t> mask;  // as long: 1 where trained
  // As long: what each counts in the loss. Empty if no trained token has another weight than 1.
  std::vector<float> weights;
  int32_t num_left_out = 0;  // RenderedChat::num_left_out
};

// How a chat template writes, as far as a short conversation shows it.
struct ChatFacts {
  std::string chat_template;            // its file
  bool has_generation_markers = false;  // the template marks what is trained
  // The token behind an assistant's answer, and whether it is the tokenizer's eos_token. "" and -1
  // if the template refuses the conversation or writes none.
  std::string stop_token;
  int32_t stop_token_id = -1;
  bool stops_with_eos = false;
  std::string bos_token;            // what the conversation begins with, if that is BOS
  bool tokenizer_adds_bos = false;  // to texts; never to what a template wrote
};

// The date that strftime_now() gives to templates where training data is prepared. Fixed: the same
// data has to give the same rows on every day.
inline constexpr absl::CivilSecond kTrainingDate(2026, 1, 15, 12, 0, 0);

// Constant after it is made: any thread.
class ExampleEncoder {
 public:
  // `directory`: tokenizer.json, tokenizer_config.json, chat_template.jinja (the latter two may be
  // missing). `chat_template`: a file that is used instead of the directory's template; "" for
  // none. `now`: local time, for templates that show the date. `loss`: what is trained.
  static absl::StatusOr<std::unique_ptr<ExampleEncoder>> Load(const std::string& directory,
                                                              const std::string& chat_template,
                                                              absl::CivilSecond now = kTrainingDate,
                                                              const LossChoice& loss = {});
  // The files that Load reads, as far as they exist: what a prepared dataset depends on.
  // config.json counts for the end-of-sequence token where tokenizer_config.json names none.
  static std::vector<std::string> InputFiles(const std::string& directory,
                                             const std::string& chat_template);

  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const TokenizerConfig& config() const { return config_; }
  bool has_chat_template() const { return template_ != nullptr; }
  std::optional<int32_t> eos_token() const { return eos_; }
  // Of tokenizer_config.json, else the end-of-sequence token, else 0.
  int32_t pad_token() const { return pad_; }

  // `messages`, `kwargs` and `num_prompt_messages` as in Example. InvalidArgument with the reason
  // if the template refuses it; FailedPrecondition without a chat template.
  absl::StatusOr<EncodedChat> EncodeChat(const nlohmann::ordered_json& messages,
                                         const nlohmann::ordered_json& kwargs,
                                         size_t num_prompt_messages = 0) const;
  // Ids of plain text, for completion and pre-training: begins with BOS if the tokenizer puts one
  // there, never with two; with `append_eos`, ends with EOS if there is one, never with two.
  std::vector<int32_t> EncodeText(const std::string& text, bool append_eos) const;

  // Fills tokens and trained of a document, weights other than 0 and 1 by way of `*weights`:
  //   messages            what data/chat_template.h says: by default assistant turns with their end
  //   prompt, completion  the completion and EOS; prompt and completion are encoded apart, so that
  //                       the prompt's ids are those that a model is given at inference. With
  //                       LossOn::kAll the prompt as well, but no BOS
  //   text                everything but BOS; EOS is appended
  // Without LossChoice::stop_token that EOS, or what closes an assistant's turn, is not trained.
  // InvalidArgument with the reason if nothing would be trained, the template refuses it, or it
  // would begin with two BOS; FailedPrecondition if no example of this kind can be encoded
  // (messages without a chat template, completions without an end-of-sequence token), and if there
  // are too many weights.
  absl::StatusOr<Document> Encode(const Example& example, LossWeights* weights) const;

  // A model that is never trained to say the token that ends a turn never stops. Renders a short
  // conversation and checks, unless LossChoice::stop_token is off, that a special token behind the
  // assistant's text is trained, and that there are no two BOS in front. InvalidArgument that says
  // what is wrong with the template; FailedPrecondition without one. A template that refuses such
  // a conversation passes.
  absl::StatusOr<ChatFacts> CheckTemplate() const;

  // Whether a run of trained tokens of the document has a special token or EOS among its last two:
  // what CheckTemplate looks for, where the template refuses its conversation.
  bool TrainsAnEnd(const Document& document) const;

 private:
  ExampleEncoder() = default;
  absl::StatusOr<RenderedChat> Render(const nlohmann::ordered_json& messages,
                                      const nlohmann::ordered_json& kwargs,
                                      size_t num_prompt_messages) const;
  absl::StatusOr<Document> EncodeMessages(const Example& example, LossWeights* weights) const;
  absl::StatusOr<Document> EncodeCompletion(const Example& example) const;
  Document EncodeWholeText(const Example& example) const;
  absl::Status CheckDocument(const Example& example, const Document& document) const;
  bool BeginsTwice(absl::Span<const int32_t> ids) const;

  std::unique_ptr<Tokenizer> tokenizer_;
  TokenizerConfig config_;
  std::unique_ptr<ChatTemplate> template_;
  std::string template_name_;  // for errors
  LossChoice loss_;
  std::vector<std::string> special_texts_;
  absl::CivilSecond now_;
  std::optional<int32_t> bos_;  // of the configuration, else the one of prefix_
  std::optional<int32_t> eos_;
  int32_t pad_ = 0;
  std::vector<int32_t> prefix_;  // what the tokenizer puts before text: BOS or nothing
};

}  // namespace liquid

#endif  // LIQUID_DATA_EXAMPLE_ENCODER_H_
