// Configurations so small that a test can afford anything with them.
#ifndef LIQUID_TESTS_MODEL_TINY_CONFIG_H_
#define LIQUID_TESTS_MODEL_TINY_CONFIG_H_

#include <ostream>
#include <string>
#include <vector>

#include "model/model_config.h"

namespace liquid::testing {

// A family, or another form of it.
struct Form {
  Form(Family f, bool k = false) : family(f), keys_are_values(k) {}  // NOLINT: a family is a form
  Family family;
  bool keys_are_values;  // of Gemma 4, as its 31B model: without shared keys and layers' embeddings
};

inline std::vector<Form> AllForms() {
  return {Family::kLlama,  Family::kQwen2,  Family::kQwen3,          Family::kGpt2,
          Family::kGemma3, Family::kGemma4, {Family::kGemma4, true}, Family::kLfm2};
}

// Both kinds of layers. As in E4B, of two first ones later ones share the keys; as in 31B, those
// that see everything have no values but their keys.
inline void MakeLayersOfGemma4(ModelConfig& config, bool keys_are_values) {
  config.norm_offset = 0;
  config.query_scale = 0.3;  // golden vectors have the real one, 1
  config.logit_cap = 8;
  config.per_layer_input = keys_are_values ? 0 : 6;
  config.keys_are_values = keys_are_values;
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const bool slides = i % 2 == 0;
    const bool shares = i >= 2 && !keys_are_values;
    config.windows[i] = slides ? 4 : 0;
    config.layers.push_back({.head_dim = slides ? 6 : 8,
                             .num_kv_heads = slides || !keys_are_values ? 2 : 1,
                             .intermediate_size = shares ? 80 : 40,
                             .key_source = shares ? i % 2 : i});
  }
  config.rope = {.scaling = RopeConfig::Scaling::kProportional, .rotated_part = 0.5};
}

// `num_layers` layers; grouped heads, biases and tied head as suits the family. Weights are drawn
// wide enough for every part to matter to the loss.
inline ModelConfig TinyConfig(Form form, int64_t num_layers = 3) {
  const Family family = form.family;
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
    MakeLayersOfGemma4(config, form.keys_are_values);
  } else if (family == Family::kLfm2) {
    config.convolution_taps = 3;
    for (int64_t i = 0; i < num_layers; ++i) config.layers.push_back({6, 2, 40, i, i != 1});
  }
  return config;
}

inline std::string NameOf(Form form) {
  switch (form.family) {
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
      return form.keys_are_values ? "Gemma4KeysAreValues" : "Gemma4";
    case Family::kLfm2:
      return "Lfm2";
  }
  return "";
}

inline std::ostream& operator<<(std::ostream& out, Form form) { return out << NameOf(form); }

}  // namespace liquid::testing

#endif  // LIQUID_TESTS_MODEL_TINY_CONFIG_H_
