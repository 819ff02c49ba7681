#include "data/conversation.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "data/json_depth.h"
#include "data/message_loss.h"
#include "data/unicode.h"

namespace liquid {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 9> kRoles = {"system",    "developer",   "user",
                                                    "assistant", "tool",        "function",
                                                    "ipython",   "environment", "observation"};

template <typename... Args>
absl::Status Bad(const Args&... args) {
  return absl::InvalidArgumentError(absl::StrCat(args...));
}

// Remembers where a text stops being JSON.
class ErrorPlace : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(size_t) override { return true; }
  bool key(string_t&) override { return true; }
  bool end_object() override { return true; }
  bool start_array(size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(size_t position, const std::string& last_token,
                   const nlohmann::detail::exception&) override {
    position_ = position;
    last_token_ = last_token;
    return false;
  }
  size_t position() const { return position_; }
  const std::string& last_token() const { return last_token_; }

 private:
  size_t position_ = 0;
  std::string last_token_;
};

absl::StatusOr<Json> ParseObject(std::string_view line) {
  const size_t valid = ValidUtf8Prefix(line);
  if (valid < line.size()) return Bad("not UTF-8 from byte ", valid + 1, " of the line on");
  if (IsNestedTooDeep(line)) return Bad("nested more than ", kMaxJsonDepth, " deep");
  Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    ErrorPlace place;
    Json::sax_parse(line, &place);
    return Bad("not JSON at byte ", place.position(), " of the line, near '",
               place.last_token().substr(0, 40), "'");
  }
  if (!json.is_object()) return Bad("a JSON object was expected, not ", json.type_name());
  return json;
}

absl::Status CheckPart(const Json& part) {
  if (!part.is_object() || !part.contains("type") || !part["type"].is_string()) {
    return Bad("a part of the content is no object with a 'type'");
  }
  const auto& type = part["type"].get_ref<const std::string&>();
  if (type != "text") return Bad("content of type '", type, "': only 'text' can be trained on");
  if (!part.contains("text") || !part["text"].is_string()) {
    return Bad("a part of the content has no 'text'");
  }
  return absl::OkStatus();
}

absl::Status CheckContent(const Json& message) {
  const bool calls = message.contains("tool_calls") && !message["tool_calls"].is_null();
  if (calls) {
    const Json& list = message["tool_calls"];
    const bool objects =
        list.is_array() &&
        std::all_of(list.begin(), list.end(), [](const Json& call) { return call.is_object(); });
    if (!objects) return Bad("'tool_calls' is no list of objects");
  }
  if (!message.contains("content") || message["content"].is_null()) {
    return calls ? absl::OkStatus() : Bad("no 'content'");
  }
  const Json& content = message["content"];
  if (content.is_string()) return absl::OkStatus();
  if (!content.is_array()) {
    return Bad("'content' is ", content.type_name(), ", not text or a list of parts");
  }
  for (const Json& part : content) LIQUID_RETURN_IF_ERROR(CheckPart(part));
  return absl::OkStatus();
}

absl::Status CheckMessage(const Json& message) {
  if (!message.is_object()) return Bad("an object was expected, not ", message.type_name());
  if (!message.contains("role")) {
    return message.contains("from") ? Bad("no 'role' (rename 'from' and 'value' to 'role' and "
                                          "'content')")
                                    : Bad("no 'role'");
  }
  if (!message["role"].is_string()) return Bad("'role' is ", message["role"].type_name());
  const auto& role = message["role"].get_ref<const std::string&>();
  if (std::find(kRoles.begin(), kRoles.end(), role) == kRoles.end()) {
    return Bad("unknown role '", role, "'");
  }
  LIQUID_RETURN_IF_ERROR(CheckLossKeys(message));
  return CheckContent(message);
}

// Appends the messages of json[key] to `*messages`.
absl::Status TakeMessages(Json& json, const char* key, Json* messages) {
  Json& list = json[key];
  if (!list.is_array()) return Bad("'", key, "' is ", list.type_name(), ", not a list of messages");
  if (list.empty()) return Bad("'", key, "' is empty");
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string place = absl::StrCat(key, "[", i, "]");
    LIQUID_RETURN_IF_ERROR(Annotate(CheckMessage(list[i]), place));
    messages->push_back(std::move(list[i]));
  }
  return absl::OkStatus();
}

absl::Status TakeKwargs(Json& json, Json* kwargs) {
  if (json.contains("kwargs") && !json["kwargs"].is_null()) {
    if (!json["kwargs"].is_object()) return Bad("'kwargs' is no object");
    *kwargs = std::move(json["kwargs"]);
  }
  if (json.contains("tools") && !json["tools"].is_null()) {
    if (!json["tools"].is_array()) return Bad("'tools' is no list");
    (*kwargs)["tools"] = std::move(json["tools"]);
  }
  return absl::OkStatus();
}

absl::Status TakeText(const Json& json, const char* key, bool may_be_empty, std::string* text) {
  if (!json[key].is_string()) return Bad("'", key, "' is ", json[key].type_name(), ", not text");
  *text = json[key].get<std::string>();
  return text->empty() && !may_be_empty ? Bad("'", key, "' is empty") : absl::OkStatus();
}

}  // namespace

absl::StatusOr<Example> ParseExample(std::string_view line) {
  LIQUID_ASSIGN_OR_RETURN(Json json, ParseObject(line));
  Example example;
  if (json.contains("messages")) {
    example.kind = Example::Kind::kMessages;
    LIQUID_RETURN_IF_ERROR(TakeMessages(json, "messages", &example.messages));
    LIQUID_RETURN_IF_ERROR(TakeKwargs(json, &example.kwargs));
    return example;
  }
  if (json.contains("prompt") || json.contains("completion")) {
    for (const char* key : {"prompt", "completion"}) {
      if (!json.contains(key)) return Bad("no '", key, "'");
    }
    if (json["prompt"].is_array() || json["completion"].is_array()) {
      example.kind = Example::Kind::kMessages;
      LIQUID_RETURN_IF_ERROR(TakeMessages(json, "prompt", &example.messages));
      example.num_prompt_messages = example.messages.size();
      LIQUID_RETURN_IF_ERROR(TakeMessages(json, "completion", &example.messages));
      LIQUID_RETURN_IF_ERROR(TakeKwargs(json, &example.kwargs));
      return example;
    }
    example.kind = Example::Kind::kPromptCompletion;
    LIQUID_RETURN_IF_ERROR(TakeText(json, "prompt", /*may_be_empty=*/true, &example.prompt));
    LIQUID_RETURN_IF_ERROR(TakeText(json, "completion", false, &example.completion));
    return example;
  }
  if (json.contains("text")) {
    LIQUID_RETURN_IF_ERROR(TakeText(json, "text", false, &example.text));
    return example;
  }
  return Bad("none of 'messages', 'prompt' with 'completion', 'text'",
             json.contains("conversations") ? " (rename 'conversations' to 'messages')" : "");
}

Hash128 ContentHash(const Example& example) {
  nlohmann::json content = nlohmann::json::array();  // sorts keys
  switch (example.kind) {
    case Example::Kind::kMessages:
      for (const Json& message : example.messages) {
        nlohmann::json said;
        for (const auto& [key, value] : message.items()) {
          if (!IsLossKey(key)) said[key] = nlohmann::json(value);
        }
        content.push_back(std::move(said));
      }
      break;
    case Example::Kind::kPromptCompletion:
      content = {example.prompt, example.completion};
      break;
    case Example::Kind::kText:
      content = {example.text};
      break;
  }
  return HashBytes(content.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace liquid
