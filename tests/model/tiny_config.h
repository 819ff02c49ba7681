// Configurations so small that a test can afford anything with them.
#ifndef LIQUID_TESTS_MODEL_TINY_CONFIG_H_
#define LIQUID_TESTS_MODEL_TINY_CONFIG_H_

#include "model/model_config.h"

namespace liquid::testing {

// Three layers; grouped heads, biases and tied head as suits the family. Weights are drawn wide
// enough for every part to matter to the loss.
inline ModelConfig TinyConfig(Family family) {
  ModelConfig config;
  config.family = family;
  config.vocab_size = 37;
  config.hidden_size = 24;
  config.intermediate_size = 40;
  config.num_layers = 3;
  config.num_heads = 4;
  config.num_kv_heads = family == Family::kGpt2 ? 4 : 2;
  config.head_dim = family == Family::kQwen3 ? 8 : 6;
  config.max_position_embeddings = 64;
  config.norm_epsilon = 1e-5f;
  config.tie_word_embeddings = family != Family::kLlama;
  config.attention_bias = family == Family::kQwen2 || family == Family::kGpt2;
  config.mlp_bias = family == Family::kGpt2;
  config.windows.assign(3, 0);
  config.initializer_range = 0.2;
  return config;
}

}  // namespace liquid::testing

#endif  // LIQUID_TESTS_MODEL_TINY_CONFIG_H_
