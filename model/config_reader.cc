#include "model/config_reader.h"

#include <string_view>

#include "absl/strings/str_join.h"

namespace liquid {

void ReadEndOfSequence(ConfigReader& reader, ModelConfig& config) {
  const nlohmann::json* eos = reader.Find("eos_token_id");
  if (eos == nullptr) return;
  config.eos_token_ids.clear();
  const bool is_list = eos->is_array();
  for (const nlohmann::json& id : is_list ? *eos : nlohmann::json::array({*eos})) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > kMaxVocab) {
      reader.Fail("eos_token_id", "must be a token id or a list of them", 0);
      return;
    }
    config.eos_token_ids.push_back(static_cast<int32_t>(id.get<int64_t>()));
  }
}

namespace {

void ReadScaling(ConfigReader& rope, RopeConfig& out, int64_t max_positions) {
  const std::string type = rope.String(rope.Has("rope_type") ? "rope_type" : "type", "default");
  const double part = rope.Positive("partial_rotary_factor", 1, 1);
  out.scaling = RopeConfig::Scaling::kNone;
  if (type == "proportional") {
    out.scaling = RopeConfig::Scaling::kProportional;
    out.rotated_part = part;
    out.factor = rope.Positive("factor", 1, 1e6);
    return;
  }
  if (part != 1) rope.Fail("partial_rotary_factor", "other than 1 is not supported", 0);
  if (type == "default") return;
  if (type != "linear" && type != "llama3") {
    rope.Fail(
        "rope_type",
        absl::StrCat("\"", type, "\" is not supported: default, linear, llama3, proportional"), 0);
    return;
  }
  for (const char* key : {"factor", "low_freq_factor", "high_freq_factor"}) {
    if (!rope.Has(key) && (type == "llama3" || std::string_view(key) == "factor")) {
      rope.Fail(key, absl::StrCat("is missing, rope_type ", type, " needs it"), 0);
    }
  }
  out.scaling = type == "linear" ? RopeConfig::Scaling::kLinear : RopeConfig::Scaling::kLlama3;
  out.factor = rope.Positive("factor", 1, 1e6);
  out.low_freq_factor = rope.Positive("low_freq_factor", 1, 1e6);
  out.high_freq_factor = rope.Positive("high_freq_factor", 4, 1e6);
  out.original_max_position_embeddings =
      rope.Positive("original_max_position_embeddings", static_cast<double>(max_positions), 1e9);
  if (type == "llama3" && out.high_freq_factor <= out.low_freq_factor) {
    rope.Fail("high_freq_factor", "must be above low_freq_factor", 0);
  }
}

}  // namespace

void ReadRope(ConfigReader& reader, const ModelConfig& config, double default_theta,
              RopeConfig& out) {
  out.theta = reader.Positive("rope_theta", default_theta, 1e12);
  ReadRopeObject(reader, reader.Has("rope_scaling") ? "rope_scaling" : "rope_parameters", config,
                 out);
}

void ReadRopeObject(ConfigReader& reader, const std::string& key, const ModelConfig& config,
                    RopeConfig& out) {
  const nlohmann::json* object = reader.Find(key);
  if (object == nullptr) return;
  if (!object->is_object()) {
    reader.Fail(key, "must be an object or null", 0);
    return;
  }
  ConfigReader rope(*object, absl::StrCat(reader.path(), ": ", key));
  out.theta = rope.Positive("rope_theta", out.theta, 1e12);
  ReadScaling(rope, out, config.max_position_embeddings);
  if (!rope.status().ok()) reader.Fail(key, std::string(rope.status().message()), 0);
}

std::vector<bool> ReadLayerTypes(ConfigReader& reader, const ModelConfig& config,
                                 const std::string& name, const std::string& other) {
  const nlohmann::json* types = reader.Find("layer_types");
  if (types == nullptr) return {};
  if (!types->is_array() || static_cast<int64_t>(types->size()) != config.num_layers) {
    return reader.Fail("layer_types", "must be a list with an entry for each layer",
                       std::vector<bool>());
  }
  std::vector<bool> is_named;
  for (const nlohmann::json& type : *types) {
    is_named.push_back(type == name);
    if (type != name && type != other) {
      reader.Fail("layer_types", absl::StrCat("entry ", type.dump(), " is not supported"), 0);
    }
  }
  return is_named;
}

void CheckHeads(ConfigReader& reader, const ModelConfig& config) {
  if (config.num_heads % config.num_kv_heads != 0) {
    reader.Fail("num_attention_heads", "must be a multiple of num_key_value_heads", 0);
  }
  if (config.head_dim == 0) {
    reader.Fail("hidden_size", "must be a multiple of num_attention_heads if head_dim is absent",
                0);
  }
  if (config.head_dim % 2 != 0) reader.Fail("head_dim", "must be even", 0);
}

void CheckActivation(ConfigReader& reader, const std::string& key, const std::string& fallback,
                     const std::vector<std::string>& supported) {
  const std::string activation = reader.String(key, fallback);
  for (const std::string& name : supported) {
    if (activation == name) return;
  }
  reader.Fail(
      key, absl::StrCat("\"", activation, "\" is not supported: ", absl::StrJoin(supported, ", ")),
      0);
}

}  // namespace liquid
