// Configurations so small that a test can afford anything with them.
#ifndef LIQUID_TESTS_MODEL_TINY_CONFIG_H_
#define LIQUID_TESTS_MODEL_TINY_CONFIG_H_

#include <string>

#include "model/model_config.h"

namespace liquid::testing {

// Both kinds of layers; of two first ones later ones share the keys.
inline void MakeLayersOfGemma4(ModelConfig& config) {
  config.norm_offset = 0;
  config.query_scale = 0.3;  // golden vectors have the real one, 1
  config.logit_cap = 8;
  config.per_layer_input = 6;
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const bool slides = i % 2 == 0;
    config.windows[i] = slides ? 4 : 0;
    config.layers.push_back({slides ? 6 : 8, 2, i < 2 ? 40 : 80, i < 2 ? i : i % 2, false});
  }
  config.rope = {.scaling = RopeConfig::Scaling::kProportional, .rotated_part = 0.5};
}

// `num_layers` layers; grouped heads, biases and tied head as suits the family. Weights are drawn
// wide enough for every part to matter to the loss.
inline ModelConfig TinyConfig(Family family, int64_t num_layers = 3) {
  ModelConfig config;
  config.family = family;
  config.vocab_size = 37;
  config.hidden_size = 24;
  config.intermediate_size = 40;
  config.num_layers = num_layers;
  config.num_heads = 4;
  config.num_kv_heads = family == Family::kGpt2 ? 4 : 2;
  config.head_dim = family == Family::kQwen3 ? 8 : 6;
  config.max_position_embeddings = 64;
  config.norm_epsilon = 1e-5f;
  config.tie_word_embeddings = family != Family::kLlama;
  config.attention_bias = family == Family::kQwen2 || family == Family::kGpt2;
  config.mlp_bias = family == Family::kGpt2;
  config.windows.assign(num_layers, 0);
  config.initializer_range = 0.2;
  if (family == Family::kGemma3) {
    config.windows[0] = 4;
    config.norm_offset = 1;
    config.query_scale = 0.3;
    config.sliding_rope.theta = 100;
  } else if (family == Family::kGemma4) {
    MakeLayersOfGemma4(config);
  } else if (family == Family::kLfm2) {
    config.convolution_taps = 3;
    for (int64_t i = 0; i < num_layers; ++i) config.layers.push_back({6, 2, 40, i, i != 1});
  }
  return config;
}

inline std::string NameOf(Family family) {
  switch (family) {
    case Family::kLlama:
      return "Llama";
    case Family::kQwen2:
      return "Qwen2";
    case Family::kQwen3:
      return "Qwen3";
    case Family::kGpt2:
      return "Gpt2";
    case Family::kGemma3:
      return "Gemma3";
    case Family::kGemma4:
      return "Gemma4";
    case Family::kLfm2:
      return "Lfm2";
  }
  return "";
}

}  // namespace liquid::testing

#endif  // LIQUID_TESTS_MODEL_TINY_CONFIG_H_
