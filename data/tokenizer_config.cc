#include "data/tokenizer_config.h"

#include <utility>

#include "base/file.h"
#include "base/status.h"
#include "data/concat.h"
#include "data/json_fields.h"
#include "data/unicode.h"

namespace liquid {
namespace {

// A token is a string or an object with "content".
std::string ReadToken(const nlohmann::json& value, std::string_view key, JsonFields* fields) {
  if (value.is_string()) return value.get<std::string>();
  const auto content = value.is_object() ? value.find("content") : value.end();
  if (value.is_object() && content != value.end() && content->is_string()) {
    return content->get<std::string>();
  }
  fields->Fail(key, "must be a string or an object with \"content\"");
  return "";
}

void ReadTokenList(std::string_view key, JsonFields* fields, std::vector<std::string>* tokens) {
  const nlohmann::json* list = fields->Find(key);
  // Newer files have a map here: its names are read as special tokens.
  if (list == nullptr || list->is_object()) return;
  if (!list->is_array()) return fields->Fail(key, "must be a list of tokens");
  for (const nlohmann::json& value : *list) tokens->push_back(ReadToken(value, key, fields));
}

// A string, or a list of {"name", "template"}.
void ReadTemplates(JsonFields* fields, std::map<std::string, std::string>* templates) {
  const nlohmann::json* value = fields->Find("chat_template");
  if (value == nullptr) return;
  if (value->is_string()) {
    (*templates)["default"] = value->get<std::string>();
    return;
  }
  if (!value->is_array()) {
    return fields->Fail("chat_template", "must be a string or a list of templates");
  }
  for (size_t i = 0; i < value->size(); ++i) {
    JsonFields item((*value)[i], Concat("chat_template[", i, "]"));
    const std::string name = item.String("name");
    const std::string text = item.String("template");
    if (!item.status().ok()) {
      return fields->Fail(Concat("chat_template[", i, "]"),
                          "must be an object with \"name\" and \"template\"");
    }
    if (!templates->emplace(name, text).second) {
      return fields->Fail("chat_template", Concat("\"", name, "\" is there twice"));
    }
  }
}

absl::Status ReadTemplateFile(const std::string& path, const std::string& name,
                              std::map<std::string, std::string>* templates) {
  LIQUID_ASSIGN_OR_RETURN(std::string text, ReadFile(path));
  if (!IsValidUtf8(text)) return absl::InvalidArgumentError(Concat(path, ": is not UTF-8"));
  (*templates)[name] = std::move(text);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerConfig> TokenizerConfig::FromJson(std::string_view json,
                                                          const std::string& path) {
  LIQUID_ASSIGN_OR_RETURN(const nlohmann::json value, ParseJson(json, path));
  TokenizerConfig config;
  JsonFields fields(value, "");
  if (!fields.status().ok()) {
    return absl::InvalidArgumentError(Concat(path, ": must be an object"));
  }
  const auto add_token = [&](const std::string& key, const nlohmann::json& token) {
    config.special_tokens[key] = ReadToken(token, key, &fields);
  };
  for (const auto& [key, member] : value.items()) {
    // add_bos_token and the like are switches.
    if (key.ends_with("_token") && !member.is_null() && !member.is_boolean()) {
      add_token(key, member);
    }
  }
  const nlohmann::json* extra = fields.Find("extra_special_tokens");
  if (extra != nullptr && extra->is_object()) {
    for (const auto& [key, member] : extra->items()) add_token(key, member);
  }
  ReadTokenList("additional_special_tokens", &fields, &config.additional_special_tokens);
  ReadTokenList("extra_special_tokens", &fields, &config.additional_special_tokens);
  ReadTemplates(&fields, &config.chat_templates);
  const auto read_switch = [&](std::string_view key, std::optional<bool>* out) {
    if (fields.Find(key) != nullptr) *out = fields.Bool(key, false);
  };
  read_switch("add_bos_token", &config.add_bos_token);
  read_switch("add_eos_token", &config.add_eos_token);
  if (!fields.status().ok()) return Annotate(fields.status(), path);
  return config;
}

absl::StatusOr<TokenizerConfig> TokenizerConfig::Load(const std::string& directory) {
  TokenizerConfig config;
  const std::string path = JoinPath(directory, "tokenizer_config.json");
  if (FileExists(path)) {
    LIQUID_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
    LIQUID_ASSIGN_OR_RETURN(config, FromJson(text, path));
  }
  const std::string more = JoinPath(directory, "additional_chat_templates");
  if (FileExists(more)) {
    LIQUID_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(more));
    for (const std::string& name : names) {
      std::string_view stem = name;
      if (!stem.ends_with(".jinja")) continue;
      stem.remove_suffix(std::string_view(".jinja").size());
      LIQUID_RETURN_IF_ERROR(
          ReadTemplateFile(JoinPath(more, name), std::string(stem), &config.chat_templates));
    }
  }
  const std::string own = JoinPath(directory, "chat_template.jinja");
  if (FileExists(own)) {
    LIQUID_RETURN_IF_ERROR(ReadTemplateFile(own, "default", &config.chat_templates));
  }
  return config;
}

std::optional<std::string> TokenizerConfig::SpecialToken(std::string_view name) const {
  const auto it = special_tokens.find(std::string(name));
  if (it == special_tokens.end()) return std::nullopt;
  return it->second;
}

std::optional<std::string> TokenizerConfig::ChatTemplate(std::string_view name) const {
  const auto it = chat_templates.find(std::string(name));
  if (it == chat_templates.end()) return std::nullopt;
  return it->second;
}

}  // namespace liquid
