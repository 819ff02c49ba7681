#include "model/model_config.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status.h"
#include "checkpoint/json_document.h"
#include "model/config_reader.h"
#include "nlohmann/json.hpp"

namespace liquid {

LayerConfig ModelConfig::Layer(int64_t i) const {
  if (!layers.empty()) return layers[static_cast<size_t>(i)];
  return {head_dim, num_kv_heads, intermediate_size, i, false};
}

namespace {

// Qwen: layers from max_window_layers on slide, or layer_types says which; off unless asked for.
void ReadWindows(ConfigReader& reader, ModelConfig& config) {
  config.windows.assign(config.num_layers, 0);
  if (config.family == Family::kLlama || !reader.Bool("use_sliding_window", false)) return;
  const auto window =
      static_cast<int32_t>(reader.Integer("sliding_window", 4096, 1, kMaxPositions));
  const std::vector<bool> slides =
      ReadLayerTypes(reader, config, "sliding_attention", "full_attention");
  const int64_t first = reader.Integer("max_window_layers", 28, 0, kMaxLayers);
  for (int64_t i = 0; i < config.num_layers; ++i) {
    if (slides.empty() ? i >= first : slides[static_cast<size_t>(i)]) config.windows[i] = window;
  }
}

void ReadLlamaOrQwen(ConfigReader& reader, ModelConfig& config) {
  const bool llama = config.family == Family::kLlama;
  config.vocab_size = reader.Integer("vocab_size", llama ? 32000 : 151936, 1, kMaxVocab);
  config.hidden_size = reader.Integer("hidden_size", 4096, 1, kMaxWidth);
  config.intermediate_size =
      reader.Integer("intermediate_size", llama ? 11008 : 22016, 1, kMaxWidth);
  config.num_layers = reader.Integer("num_hidden_layers", 32, 1, kMaxLayers);
  config.num_heads = reader.Integer("num_attention_heads", 32, 1, kMaxHeads);
  config.num_kv_heads = reader.Integer("num_key_value_heads", config.num_heads, 1, kMaxHeads);
  const int64_t even_share =
      config.hidden_size % config.num_heads == 0 ? config.hidden_size / config.num_heads : 0;
  config.head_dim =
      reader.Integer("head_dim", config.family == Family::kQwen3 ? 128 : even_share, 1, kMaxHeads);
  config.max_position_embeddings =
      reader.Integer("max_position_embeddings", llama ? 2048 : 32768, 1, kMaxPositions);
  config.norm_epsilon = static_cast<float>(reader.Positive("rms_norm_eps", 1e-6, 1));
  config.tie_word_embeddings = reader.Bool("tie_word_embeddings", false);
  config.attention_bias = config.family == Family::kQwen2 || reader.Bool("attention_bias", false);
  config.mlp_bias = llama && reader.Bool("mlp_bias", false);
  CheckActivation(reader, "hidden_act", "silu", {"silu", "swish"});
  CheckHeads(reader, config);
  ReadRope(reader, config, 10000, config.rope);
  ReadWindows(reader, config);
}

void ReadGpt2(ConfigReader& reader, ModelConfig& config) {
  config.vocab_size = reader.Integer("vocab_size", 50257, 1, kMaxVocab);
  config.hidden_size = reader.Integer("n_embd", 768, 1, kMaxWidth);
  config.num_layers = reader.Integer("n_layer", 12, 1, kMaxLayers);
  config.num_heads = reader.Integer("n_head", 12, 1, kMaxHeads);
  config.num_kv_heads = config.num_heads;
  config.intermediate_size = reader.Integer("n_inner", 4 * config.hidden_size, 1, 4 * kMaxWidth);
  config.max_position_embeddings = reader.Integer("n_positions", 1024, 1, kMaxPositions);
  config.norm_epsilon = static_cast<float>(reader.Positive("layer_norm_epsilon", 1e-5, 1));
  config.tie_word_embeddings = reader.Bool("tie_word_embeddings", true);
  config.attention_bias = config.mlp_bias = true;
  config.pad_token_id = -1;  // GPT-2's table has no row that is left out
  config.windows.assign(config.num_layers, 0);
  if (config.hidden_size % config.num_heads != 0) {
    reader.Fail("n_embd", "must be a multiple of n_head", 0);
  }
  config.head_dim = config.hidden_size / config.num_heads;
  CheckActivation(reader, "activation_function", "gelu_new", {"gelu_new", "gelu_pytorch_tanh"});
  if (!reader.Bool("scale_attn_weights", true)) {
    reader.Fail("scale_attn_weights", "false is not supported", 0);
  }
  for (const char* key : {"scale_attn_by_inverse_layer_idx", "add_cross_attention"}) {
    if (reader.Bool(key, false)) reader.Fail(key, "true is not supported", 0);
  }
}

struct FamilyReader {
  const char* model_type;
  Family family;
  void (*read)(ConfigReader& reader, ModelConfig& config);
  bool pads_with_0 = false;  // unless the file says otherwise
};

constexpr FamilyReader kFamilies[] = {
    {"gemma3", Family::kGemma3, ReadGemma3, true},
    {"gemma3_text", Family::kGemma3, ReadGemma3, true},
    {"gemma4", Family::kGemma4, ReadGemma4, true},
    {"gemma4_text", Family::kGemma4, ReadGemma4, true},
    {"gpt2", Family::kGpt2, ReadGpt2},
    {"lfm2", Family::kLfm2, ReadLfm2, true},
    {"llama", Family::kLlama, ReadLlamaOrQwen},
    {"qwen2", Family::kQwen2, ReadLlamaOrQwen},
    {"qwen3", Family::kQwen3, ReadLlamaOrQwen},
};

const FamilyReader* FindFamily(std::string_view model_type) {
  for (const FamilyReader& family : kFamilies) {
    if (family.model_type == model_type) return &family;
  }
  return nullptr;
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view json, const std::string& path) {
  LIQUID_ASSIGN_OR_RETURN(const nlohmann::json document, ParseJsonDocument(json, path));
  if (!document.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": must hold a JSON object"));
  }
  ConfigReader whole(document, path);
  const std::string type = whole.String("model_type", "");
  LIQUID_RETURN_IF_ERROR(whole.status());
  const FamilyReader* family = FindFamily(type);
  if (family == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": model_type \"", type, "\" is not supported; supported are ",
                     absl::StrJoin(kFamilies, ", ", [](std::string* out, const FamilyReader& each) {
                       absl::StrAppend(out, absl::string_view(each.model_type));
                     })));
  }
  ModelConfig config;
  config.family = family->family;
  const nlohmann::json* text = whole.Find("text_config");
  config.is_nested = text != nullptr && text->is_object();
  ConfigReader reader(config.is_nested ? *text : document,
                      config.is_nested ? path + ": text_config" : path);
  config.initializer_range = reader.Positive("initializer_range", 0.02, 100);
  // An absent key is not the same as null here.
  const bool pads_with_0 = family->pads_with_0 && !reader.object().contains("pad_token_id");
  config.pad_token_id =
      static_cast<int32_t>(reader.Integer("pad_token_id", pads_with_0 ? 0 : -1, -1, kMaxVocab));
  ReadEndOfSequence(reader, config);
  if (config.is_nested) ReadEndOfSequence(whole, config);
  family->read(reader, config);
  if (config.pad_token_id >= config.vocab_size) config.pad_token_id = -1;
  LIQUID_RETURN_IF_ERROR(whole.status());
  LIQUID_RETURN_IF_ERROR(reader.status());
  return config;
}

absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& path) {
  LIQUID_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return ParseModelConfig(text, path);
}

}  // namespace liquid
