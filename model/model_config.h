// What a Hugging Face config.json says about a model, with every default filled in.
#ifndef LIQUID_MODEL_MODEL_CONFIG_H_
#define LIQUID_MODEL_MODEL_CONFIG_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace liquid {

enum class Family { kLlama, kQwen2, kQwen3, kGpt2, kGemma3, kGemma4, kLfm2 };

// How rotary frequencies are made from the base (spec: docs/models.md).
struct RopeConfig {
  // kProportional: of the pairs only the first rotated_part turn.
  enum class Scaling { kNone, kLinear, kLlama3, kProportional };
  double theta = 10000;
  Scaling scaling = Scaling::kNone;
  double factor = 1;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  double original_max_position_embeddings = 0;
  double rotated_part = 1;
};

// Of one layer, where layers differ.
struct LayerConfig {
  int64_t head_dim = 0;           // K
  int64_t num_kv_heads = 0;       // G
  int64_t intermediate_size = 0;  // F
  int64_t key_source = 0;         // the layer whose keys and values it uses: itself, or one before
  bool is_convolution = false;    // a short convolution takes the place of attention
};

struct ModelConfig {
  Family family = Family::kLlama;
  int64_t vocab_size = 0;               // V
  int64_t hidden_size = 0;              // D
  int64_t intermediate_size = 0;        // F
  int64_t num_layers = 0;               // L
  int64_t num_heads = 0;                // H
  int64_t num_kv_heads = 0;             // G
  int64_t head_dim = 0;                 // K
  int64_t max_position_embeddings = 0;  // longest sequence; GPT-2: rows of the position table
  float norm_epsilon = 1e-6f;
  bool tie_word_embeddings = false;
  bool attention_bias = false;  // on q, k, v (and o, but for Qwen2)
  bool mlp_bias = false;
  std::vector<int32_t> windows;     // per layer: sliding window, 0 = full attention
  std::vector<LayerConfig> layers;  // empty: all as the numbers above say
  RopeConfig rope;
  RopeConfig sliding_rope;       // Gemma: of layers with a window
  double query_scale = 0;        // of attention's scores; 0: head_dim^-1/2
  float norm_offset = 0;         // RMSNorms multiply by (norm_offset + weight)
  float logit_cap = 0;           // logits are cap tanh(logits / cap); 0: as they are
  int64_t per_layer_input = 0;   // Gemma 4: width of what each layer is told of a token; 0: none
  bool keys_are_values = false;  // Gemma 4: full attention has no value projection of its own
  int64_t convolution_taps = 0;  // LFM2
  bool is_nested = false;        // the text model of a multimodal one, in a text_config
  double initializer_range = 0.02;
  std::vector<int32_t> eos_token_ids;  // where generation stops
  int32_t pad_token_id = -1;           // its embedding row gets no gradient from look-ups; -1: none

  LayerConfig Layer(int64_t i) const;
};

// From the text of a config.json. `path` is for messages. InvalidArgument: not JSON, wrong types,
// impossible sizes, an unsupported model_type, activation, rope type: each by name.
absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view json, const std::string& path);
absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& path);

}  // namespace liquid

#endif  // LIQUID_MODEL_MODEL_CONFIG_H_
