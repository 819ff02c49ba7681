#include "cli/token_line.h"

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "cli/terminal.h"
#include "data/json_depth.h"

namespace liquid {
namespace {

using Json = nlohmann::ordered_json;

// "[1,2,3]". By hand: lines are many, and most of each is this.
template <typename T>
void AppendList(absl::Span<const T> values, std::string* out) {
  out->push_back('[');
  char digits[16];
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out->push_back(',');
    const auto end = std::to_chars(digits, digits + sizeof(digits), int32_t{values[i]}).ptr;
    out->append(digits, end);
  }
  out->push_back(']');
}

}  // namespace

void AppendErrorLine(std::string_view reason, std::string* out) {
  absl::StrAppend(out, "{\"error\":", ToJsonLine(Json(std::string(reason))), "}\n");
}

absl::StatusOr<LineTokenizer> LineTokenizer::Load(const std::string& directory,
                                                  const std::string& chat_template,
                                                  bool add_special_tokens) {
  LineTokenizer result;
  result.add_special_tokens_ = add_special_tokens;
  auto encoder = ExampleEncoder::Load(directory, chat_template);
  if (encoder.ok()) {
    result.encoder_ = *std::move(encoder);
    return result;
  }
  if (!chat_template.empty()) return encoder.status();
  LIQUID_ASSIGN_OR_RETURN(result.tokenizer_, Tokenizer::Load(directory));
  result.no_encoder_ = encoder.status();
  return result;
}

void LineTokenizer::Answer(std::string_view line, std::string* out) const {
  const size_t begin = out->size();
  const absl::Status status = TryAnswer(line, out);
  if (status.ok()) {
    out->append("}\n");
    return;
  }
  out->resize(begin);
  AppendErrorLine(std::string(status.message()), out);
}

// All of the answer but the closing brace.
absl::Status LineTokenizer::TryAnswer(std::string_view line, std::string* out) const {
  if (IsNestedTooDeep(line)) {
    return absl::InvalidArgumentError(
        absl::StrCat("more than ", kMaxJsonDepth, " levels of nesting"));
  }
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::InvalidArgumentError("the line is no JSON object");
  if (json.contains("messages")) return AnswerChat(json, out);
  const auto text = json.find("text");
  if (text == json.end() || !text->is_string()) {
    return absl::InvalidArgumentError("the line has neither \"messages\" nor a string \"text\"");
  }
  std::vector<int32_t> ids;
  tokenizer().Encode(text->get_ref<const std::string&>(),
                     {.add_special_tokens = add_special_tokens_}, &ids);
  out->append("{\"ids\":");
  AppendList<int32_t>(ids, out);
  return absl::OkStatus();
}

absl::Status LineTokenizer::AnswerChat(const Json& line, std::string* out) const {
  if (encoder_ == nullptr) return no_encoder_;
  Json kwargs = Json::object();
  if (const auto given = line.find("kwargs"); given != line.end() && !given->is_null()) {
    if (!given->is_object()) return absl::InvalidArgumentError("\"kwargs\" is no object");
    kwargs = *given;
  }
  if (const auto tools = line.find("tools"); tools != line.end() && !kwargs.contains("tools")) {
    kwargs["tools"] = *tools;
  }
  LIQUID_ASSIGN_OR_RETURN(const EncodedChat chat, encoder_->EncodeChat(line["messages"], kwargs));
  out->append("{\"ids\":");
  AppendList<int32_t>(chat.ids, out);
  absl::StrAppend(out, ",\"rendered\":", ToJsonLine(Json(chat.rendered)), ",\"mask\":");
  AppendList<uint8_t>(chat.mask, out);
  return absl::OkStatus();
}

}  // namespace liquid
