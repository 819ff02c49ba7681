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
#include "data/chat_template.h"
#include "data/conversation.h"
#include "data/packing.h"
#include "data/tokenizer.h"
#include "data/tokenizer_config.h"

namespace liquid {

// A rendered conversation.
struct EncodedChat {
  std::string rendered;
  std::vector<int32_t> ids;   // of `rendered`; what special tokens it has are the template's
  std::vector<uint8_t> mask;  // as long: 1 where trained
};

// The date that strftime_now() gives to templates where training data is prepared. Fixed: the same
// data has to give the same rows on every day.
inline constexpr absl::CivilSecond kTrainingDate(2026, 1, 15, 12, 0, 0);

// Constant after it is made: any thread.
class ExampleEncoder {
 public:
  // `directory`: tokenizer.json, tokenizer_config.json, chat_template.jinja (the latter two may be
  // missing). `chat_template`: a file that is used instead of the directory's template; "" for
  // none. `now`: local time, for templates that show the date.
  static absl::StatusOr<std::unique_ptr<ExampleEncoder>> Load(
      const std::string& directory, const std::string& chat_template,
      absl::CivilSecond now = kTrainingDate);
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

  // `messages` and `kwargs` as in Example; of the former the first `num_prompt_messages` are left
  // untrained, and those with "train": false. InvalidArgument with the reason if the template
  // refuses it; FailedPrecondition without a chat template.
  absl::StatusOr<EncodedChat> EncodeChat(const nlohmann::ordered_json& messages,
                                         const nlohmann::ordered_json& kwargs,
                                         size_t num_prompt_messages = 0) const;
  // Ids of plain text, for completion and pre-training: begins with BOS if the tokenizer puts one
  // there, never with two; with `append_eos`, ends with EOS if there is one, never with two.
  std::vector<int32_t> EncodeText(const std::string& text, bool append_eos) const;

  // Fills tokens and trained of a document:
  //   messages            what the template marks as trained (assistant turns with their end)
  //   prompt, completion  the completion and EOS; prompt and completion are encoded apart, so that
  //                       the prompt's ids are those that a model is given at inference
  //   text                everything but BOS; EOS is appended
  // InvalidArgument with the reason if nothing would be trained or the template refuses it;
  // FailedPrecondition if no example of this kind can be encoded: messages without a chat template,
  // completions without an end-of-sequence token.
  absl::StatusOr<Document> Encode(const Example& example) const;

  // A model that is never trained to say the token that ends a turn never stops. Renders a short
  // conversation and checks that a special token behind the assistant's text is trained.
  // InvalidArgument that says which token is not; FailedPrecondition without a chat template. A
  // template that refuses such a conversation passes.
  absl::Status CheckStopToken() const;

 private:
  ExampleEncoder() = default;
  absl::StatusOr<RenderedChat> Render(const nlohmann::ordered_json& messages,
                                      const nlohmann::ordered_json& kwargs) const;

  std::unique_ptr<Tokenizer> tokenizer_;
  TokenizerConfig config_;
  std::unique_ptr<ChatTemplate> template_;
  std::string template_name_;  // for errors
  std::vector<std::string> special_texts_;
  absl::CivilSecond now_;
  std::optional<int32_t> eos_;
  int32_t pad_ = 0;
  std::vector<int32_t> prefix_;  // what the tokenizer puts before text: BOS or nothing
};

}  // namespace liquid

#endif  // LIQUID_DATA_EXAMPLE_ENCODER_H_
