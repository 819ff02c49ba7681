// What tokenizer_config.json says besides tokenizer.json: special tokens and chat templates.
#ifndef LIQUID_DATA_TOKENIZER_CONFIG_H_
#define LIQUID_DATA_TOKENIZER_CONFIG_H_

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace liquid {

struct TokenizerConfig {
  // "bos_token" -> "<s>" and so on, for every key *_token that has a value: what a chat template
  // may name.
  std::map<std::string, std::string> special_tokens;
  std::vector<std::string> additional_special_tokens;
  // By name; the one without a name is "default".
  std::map<std::string, std::string> chat_templates;
  std::optional<bool> add_bos_token;
  std::optional<bool> add_eos_token;

  // Reads `directory`: tokenizer_config.json, then chat_template.jinja and
  // additional_chat_templates/NAME.jinja, which win over templates in the former. Files that are
  // not there say nothing. InvalidArgument "FILE: KEY: what" for a value of the wrong type.
  static absl::StatusOr<TokenizerConfig> Load(const std::string& directory);
  // The same from the text of a tokenizer_config.json alone. `path` stands in errors only.
  static absl::StatusOr<TokenizerConfig> FromJson(std::string_view json, const std::string& path);

  // The special token of that name, as "eos_token".
  std::optional<std::string> SpecialToken(std::string_view name) const;
  // The chat template of that name, or nothing.
  std::optional<std::string> ChatTemplate(std::string_view name = "default") const;
};

}  // namespace liquid

#endif  // LIQUID_DATA_TOKENIZER_CONFIG_H_
