#include "data/stop_tokens.h"

#include <vector>

#include "base/file.h"
#include "nlohmann/json.hpp"

namespace liquid {
namespace {

using Json = nlohmann::ordered_json;

// The ids under "eos_token_id" of generation_config.json, one or a list.
std::vector<int32_t> EosOfGenerationConfig(const std::string& directory) {
  const auto text = ReadFile(JoinPath(directory, "generation_config.json"));
  if (!text.ok()) return {};
  const Json config = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object() || !config.contains("eos_token_id")) return {};
  const Json& value = config["eos_token_id"];
  std::vector<int32_t> ids;
  for (const Json& id : value.is_array() ? value : Json::array({value})) {
    if (id.is_number_integer()) ids.push_back(id.get<int32_t>());
  }
  return ids;
}

}  // namespace

std::set<int32_t> StopTokens(const ExampleEncoder& encoder, const std::string& directory,
                             absl::Span<const int32_t> eos_token_ids) {
  std::set<int32_t> tokens(eos_token_ids.begin(), eos_token_ids.end());
  for (const int32_t id : EosOfGenerationConfig(directory)) tokens.insert(id);
  if (encoder.eos_token().has_value()) tokens.insert(*encoder.eos_token());
  if (!encoder.has_chat_template()) return tokens;
  const Json messages = {{{"role", "user"}, {"content", "Hello there"}},
                         {{"role", "assistant"}, {"content", "Yes indeed"}}};
  const auto chat = encoder.EncodeChat(messages, Json::object());
  if (!chat.ok()) return tokens;  // a template that wants other messages
  for (size_t t = chat->ids.size(); t-- > 0;) {
    if (chat->mask[t] == 0) continue;
    if (encoder.tokenizer().is_special(chat->ids[t])) tokens.insert(chat->ids[t]);
    break;
  }
  return tokens;
}

}  // namespace liquid
