#include <cmath>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "model/config_reader.h"

namespace liquid {
namespace {

void ReadSizes(ConfigReader& reader, ModelConfig& config, int64_t vocab_size) {
  config.vocab_size = reader.Integer("vocab_size", vocab_size, 1, kMaxVocab);
  config.hidden_size = reader.Integer("hidden_size", 2304, 1, kMaxWidth);
  config.intermediate_size = reader.Integer("intermediate_size", 9216, 1, kMaxWidth);
  config.num_heads = reader.Integer("num_attention_heads", 8, 1, kMaxHeads);
  config.num_kv_heads = reader.Integer("num_key_value_heads", 4, 1, kMaxHeads);
  config.head_dim = reader.Integer("head_dim", 256, 1, kMaxHeads);
  config.max_position_embeddings =
      reader.Integer("max_position_embeddings", 131072, 1, kMaxPositions);
  config.norm_epsilon = static_cast<float>(reader.Positive("rms_norm_eps", 1e-6, 1));
  config.tie_word_embeddings = reader.Bool("tie_word_embeddings", true);
  if (reader.Has("final_logit_softcapping")) {
    config.logit_cap = static_cast<float>(reader.Positive("final_logit_softcapping", 30, 1e6));
  }
  if (reader.Bool("attention_bias", false)) {
    reader.Fail("attention_bias", "true is not supported", 0);
  }
  const nlohmann::json* bidirectional = reader.Find("use_bidirectional_attention");
  if (bidirectional != nullptr && *bidirectional != false && *bidirectional != "vision") {
    reader.Fail("use_bidirectional_attention",
                absl::StrCat("is ", bidirectional->dump(), ", which is not supported: \"vision\""),
                0);
  }
  CheckActivation(reader, "hidden_activation", "gelu_pytorch_tanh", {"gelu_pytorch_tanh"});
  CheckHeads(reader, config);
}

// `is_full`: of each layer without layer_types.
template <typename Rule>
void ReadSlidingLayers(ConfigReader& reader, ModelConfig& config, int64_t default_window,
                       const Rule& is_full) {
  const auto window =
      static_cast<int32_t>(reader.Integer("sliding_window", default_window, 1, kMaxPositions));
  const std::vector<bool> full =
      ReadLayerTypes(reader, config, "full_attention", "sliding_attention");
  for (int64_t i = 0; i < config.num_layers; ++i) {
    config.windows.push_back((full.empty() ? is_full(i) : full[static_cast<size_t>(i)]) ? 0
                                                                                        : window);
  }
}

// rope_parameters by kind of layer, as newer files have them, if there are any.
void ReadRopeByKind(ConfigReader& reader, ModelConfig& config) {
  const nlohmann::json* by_kind = reader.Find("rope_parameters");
  if (by_kind == nullptr) return;
  if (!by_kind->is_object() ||
      !(by_kind->contains("full_attention") || by_kind->contains("sliding_attention"))) {
    reader.Fail("rope_parameters", "must hold full_attention and sliding_attention", 0);
    return;
  }
  ConfigReader kinds(*by_kind, reader.path() + ": rope_parameters");
  ReadRopeObject(kinds, "full_attention", config, config.rope);
  ReadRopeObject(kinds, "sliding_attention", config, config.sliding_rope);
  if (!kinds.status().ok()) {
    reader.Fail("rope_parameters", std::string(kinds.status().message()), 0);
  }
}

// What per_layer_config, of later files, says of layers: {"05": {"head_dim": 512}}, with as many
// zeros before a number as the file likes.
void ReadLayerOverrides(ConfigReader& reader, const nlohmann::json& overrides,
                        ModelConfig& config) {
  for (const auto& [key, value] : overrides.items()) {
    int64_t layer = -1;
    if (!absl::SimpleAtoi(key, &layer) || layer < 0 || layer >= config.num_layers ||
        !value.is_object()) {
      reader.Fail("per_layer_config", absl::StrCat("has \"", key, "\", which is no layer"), 0);
      return;
    }
    LayerConfig& out = config.layers[static_cast<size_t>(layer)];
    ConfigReader own(value, absl::StrCat(reader.path(), ": per_layer_config: layer ", layer));
    out.head_dim = own.Integer("head_dim", out.head_dim, 2, kMaxHeads);
    out.num_kv_heads = own.Integer("num_key_value_heads", out.num_kv_heads, 1, kMaxHeads);
    if (!own.status().ok()) {
      reader.Fail("per_layer_config", std::string(own.status().message()), 0);
    }
  }
}

// There is one rotation for each kind of layer.
void CheckHeadsOfLayers(ConfigReader& reader, const ModelConfig& config) {
  int64_t dim_of_kind[2] = {0, 0};  // without and with a window
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const LayerConfig& layer = config.layers[static_cast<size_t>(i)];
    int64_t& dim = dim_of_kind[config.windows[i] > 0 ? 1 : 0];
    if (dim == 0) dim = layer.head_dim;
    if (config.num_heads % layer.num_kv_heads == 0 && layer.head_dim % 2 == 0 &&
        layer.head_dim == dim) {
      continue;
    }
    reader.Fail("num_attention_heads",
                absl::StrCat("or the heads of layer ", i, " do not fit: ", layer.num_kv_heads,
                             " key/value heads of ", layer.head_dim),
                0);
  }
}

void ReadHeadsOfLayers(ConfigReader& reader, ModelConfig& config) {
  const nlohmann::json* overrides = reader.Find("per_layer_config");
  if (overrides != nullptr && !overrides->is_object()) {
    reader.Fail("per_layer_config", "must be an object", 0);
    return;
  }
  const int64_t global_dim =
      overrides != nullptr ? config.head_dim : reader.Integer("global_head_dim", 512, 2, kMaxHeads);
  const int64_t global_kv =
      reader.Integer("num_global_key_value_heads", config.num_kv_heads, 1, kMaxHeads);
  for (int64_t i = 0; i < config.num_layers; ++i) {
    LayerConfig layer = {config.head_dim, config.num_kv_heads, config.intermediate_size, i, false};
    if (config.windows[i] == 0) {
      layer.head_dim = global_dim;
      if (config.keys_are_values && overrides == nullptr) layer.num_kv_heads = global_kv;
    }
    config.layers.push_back(layer);
  }
  if (overrides != nullptr) ReadLayerOverrides(reader, *overrides, config);
  CheckHeadsOfLayers(reader, config);
}

// The last num_kv_shared_layers use the keys and values of the last layer before them of their
// kind.
void ReadSharing(ConfigReader& reader, ModelConfig& config) {
  const int64_t num_sharing = reader.Integer("num_kv_shared_layers", 0, 0, config.num_layers - 1);
  const int64_t first = config.num_layers - num_sharing;
  const bool is_wide = reader.Bool("use_double_wide_mlp", false);
  for (int64_t i = first; i < config.num_layers; ++i) {
    int64_t source = first - 1;
    while (source >= 0 && (config.windows[source] == 0) != (config.windows[i] == 0)) --source;
    if (source < 0) {
      reader.Fail("num_kv_shared_layers",
                  absl::StrCat("leaves layer ", i, " without keys of its kind to share"), 0);
      return;
    }
    config.layers[i].key_source = source;
    if (is_wide) config.layers[i].intermediate_size *= 2;
  }
}

}  // namespace

void ReadGemma3(ConfigReader& reader, ModelConfig& config) {
  ReadSizes(reader, config, 262208);
  config.num_layers = reader.Integer("num_hidden_layers", 26, 1, kMaxLayers);
  config.norm_offset = 1;
  config.query_scale =
      1 / std::sqrt(reader.Positive("query_pre_attn_scalar", 256, static_cast<double>(kMaxWidth)));
  const int64_t pattern = reader.Integer("sliding_window_pattern", 6, 1, kMaxLayers);
  ReadSlidingLayers(reader, config, 4096, [pattern](int64_t i) { return (i + 1) % pattern == 0; });
  config.rope.theta = reader.Positive("rope_theta", 1e6, 1e12);
  config.sliding_rope.theta = reader.Positive("rope_local_base_freq", 1e4, 1e12);
  ReadRopeByKind(reader, config);
  ReadRopeObject(reader, "rope_scaling", config, config.rope);
}

void ReadGemma4(ConfigReader& reader, ModelConfig& config) {
  ReadSizes(reader, config, 262144);
  config.num_layers = reader.Integer("num_hidden_layers", 30, 1, kMaxLayers);
  config.query_scale = 1;
  config.keys_are_values = reader.Bool("attention_k_eq_v", false);
  config.per_layer_input = reader.Integer("hidden_size_per_layer_input", 256, 0, kMaxWidth);
  if (config.per_layer_input > 0 && reader.Integer("vocab_size_per_layer_input", config.vocab_size,
                                                   1, kMaxVocab) != config.vocab_size) {
    reader.Fail("vocab_size_per_layer_input", "other than vocab_size is not supported", 0);
  }
  if (reader.Bool("enable_moe_block", false)) {
    reader.Fail("enable_moe_block", "true is not supported: mixtures of experts", 0);
  }
  const int64_t last = config.num_layers - 1;
  ReadSlidingLayers(reader, config, 512, [](int64_t i) { return (i + 1) % 6 == 0; });
  config.windows[last] = 0;
  config.rope = {.theta = 1e6, .scaling = RopeConfig::Scaling::kProportional, .rotated_part = 0.25};
  config.sliding_rope.theta = 1e4;
  ReadRopeByKind(reader, config);
  ReadHeadsOfLayers(reader, config);
  if (reader.status().ok()) ReadSharing(reader, config);
}

}  // namespace liquid
