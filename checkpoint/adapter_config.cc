#include "checkpoint/adapter_config.h"

#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "checkpoint/json_document.h"

namespace liquid {
namespace {

constexpr std::string_view kPrefix = "base_model.model.";
constexpr std::string_view kSuffixA = ".lora_A.weight";
constexpr std::string_view kSuffixB = ".lora_B.weight";

// Keys that change what an adapter computes, or add to it: they must be absent, or say nothing.
constexpr const char* kUnsupported[] = {"use_dora",         "modules_to_save", "rank_pattern",
                                        "alpha_pattern",    "lora_bias",       "use_qalora",
                                        "layer_replication"};

bool SaysNothing(const nlohmann::json& value) {
  return value.is_null() || value == false || value.empty();
}

}  // namespace

double AdapterConfig::scale() const {
  const auto r = static_cast<double>(rank);
  return alpha / (use_rslora ? std::sqrt(r) : r);
}

std::string AdapterNameA(std::string_view module) {
  return std::string(kPrefix).append(module).append(kSuffixA);
}

std::string AdapterNameB(std::string_view module) {
  return std::string(kPrefix).append(module).append(kSuffixB);
}

std::string ModuleOfAdapterA(std::string_view name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffixA)) return "";
  name.remove_prefix(kPrefix.size());
  name.remove_suffix(kSuffixA.size());
  return std::string(name);
}

absl::StatusOr<std::vector<std::string>> ModulesOfAdapters(const std::vector<std::string>& tensors,
                                                           const std::string& directory) {
  std::vector<std::string> modules;
  std::set<std::string> others;
  for (const std::string& name : tensors) {
    const std::string module = ModuleOfAdapterA(name);
    if (module.empty()) {
      others.insert(name);
    } else {
      modules.push_back(module);
    }
  }
  for (const std::string& module : modules) others.erase(AdapterNameB(module));
  if (modules.empty() || !others.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        directory, modules.empty() ? ": its weights hold no adapter"
                                   : ": it holds more than adapters, such as " + *others.begin() +
                                         ", which is not supported"));
  }
  return modules;
}

std::string WriteAdapterConfig(const AdapterConfig& config) {
  const nlohmann::ordered_json json = {{"base_model_name_or_path", config.base_model},
                                       {"bias", "none"},
                                       {"fan_in_fan_out", false},
                                       {"inference_mode", true},
                                       {"init_lora_weights", true},
                                       {"lora_alpha", config.alpha},
                                       {"lora_dropout", config.dropout},
                                       {"modules_to_save", nullptr},
                                       {"peft_type", "LORA"},
                                       {"r", config.rank},
                                       {"target_modules", config.target_modules},
                                       {"task_type", "CAUSAL_LM"},
                                       {"use_dora", false},
                                       {"use_rslora", config.use_rslora}};
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

bool HasAdapterConfig(const std::string& directory) {
  return FileExists(JoinPath(directory, kAdapterConfigName));
}

absl::StatusOr<AdapterConfig> ReadAdapterConfig(const std::string& directory) {
  const std::string path = JoinPath(directory, kAdapterConfigName);
  LIQUID_ASSIGN_OR_RETURN(const nlohmann::json json, ReadJsonDocument(path, 1 << 20));
  const auto refuse = [&](const auto&... what) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", what...));
  };
  if (!json.is_object()) return refuse("is no JSON object");
  const auto text = [&](const char* key) {
    return json.contains(key) && json[key].is_string() ? json[key].get<std::string>() : "";
  };
  if (text("peft_type") != "LORA") {
    return refuse("peft_type is \"", text("peft_type"), "\"; only LORA is supported");
  }
  for (const char* key : kUnsupported) {
    if (json.contains(key) && !SaysNothing(json[key])) return refuse(key, " is not supported");
  }
  if (json.contains("bias") && text("bias") != "none") return refuse("bias is not supported");
  const auto number = [&](const char* key, double otherwise) {
    return json.contains(key) && json[key].is_number() ? json[key].get<double>() : otherwise;
  };
  AdapterConfig config;
  const double rank = number("r", 0);
  config.alpha = number("lora_alpha", 0);
  config.dropout = number("lora_dropout", 0);
  config.base_model = text("base_model_name_or_path");
  config.use_rslora = json.contains("use_rslora") && json["use_rslora"] == true;
  if (!(rank >= 1 && rank <= 65536) || rank != std::floor(rank)) {
    return refuse("r must be a whole number from 1 to 65536");
  }
  if (!(config.alpha > 0)) return refuse("lora_alpha must be a positive number");
  config.rank = static_cast<int64_t>(rank);
  return config;
}

}  // namespace liquid
