// A line of JSON in, a line of JSON with token ids out: what `liquid tokenize` does to each line.
#ifndef LIQUID_CLI_TOKEN_LINE_H_
#define LIQUID_CLI_TOKEN_LINE_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/example_encoder.h"
#include "data/tokenizer.h"
#include "nlohmann/json.hpp"

namespace liquid {

// Constant after Load: any thread.
class LineTokenizer {
 public:
  // Of the tokenizer in `directory`. `chat_template`: a file used instead of the directory's
  // template; "" for none. `add_special_tokens`: put those around texts that the tokenizer's
  // post-processor names, as BOS. A template of the directory's own that cannot be used is an error
  // of the lines that need it only.
  static absl::StatusOr<LineTokenizer> Load(const std::string& directory,
                                            const std::string& chat_template,
                                            bool add_special_tokens);

  // Appends the answer to `line`, with its line end:
  //   {"text": T}                     -> {"ids":[...]}
  //   {"messages": M, "kwargs": K}    -> {"ids":[...],"rendered":R,"mask":[...]}  1: trained
  //   anything else, or an error      -> {"error":"..."}
  // Other keys are ignored; "tools" beside the messages counts as one of the kwargs.
  void Answer(std::string_view line, std::string* out) const;

 private:
  LineTokenizer() = default;
  absl::Status TryAnswer(std::string_view line, std::string* out) const;
  absl::Status AnswerChat(const nlohmann::ordered_json& line, std::string* out) const;
  const Tokenizer& tokenizer() const { return encoder_ ? encoder_->tokenizer() : *tokenizer_; }

  std::unique_ptr<ExampleEncoder> encoder_;
  std::unique_ptr<Tokenizer> tokenizer_;  // where there is no encoder
  absl::Status no_encoder_;               // why
  bool add_special_tokens_ = false;
};

// Appends {"error":"..."} and a line end.
void AppendErrorLine(std::string_view reason, std::string* out);

}  // namespace liquid

#endif  // LIQUID_CLI_TOKEN_LINE_H_
