#include <cmath>

#include "absl/strings/str_cat.h"
#include "kernels/ops.h"
#include "model/config_reader.h"

namespace liquid {
namespace {

// block_ff_dim if there is one, else intermediate_size; two thirds of it, rounded up, unless the
// file says that it is meant as it is.
int64_t MlpWidth(ConfigReader& reader) {
  const int64_t given = reader.Has("block_ff_dim")
                            ? reader.Integer("block_ff_dim", 0, 1, kMaxWidth)
                            : reader.Integer("intermediate_size", 12288, 1, kMaxWidth);
  if (!reader.Bool("block_auto_adjust_ff_dim", true)) return given;
  const int64_t multiple = reader.Integer("block_multiple_of", 256, 1, kMaxWidth);
  const double factor = reader.Positive("block_ffn_dim_multiplier", 1.0, 1024);
  const auto wanted = static_cast<int64_t>(factor * static_cast<double>(2 * given / 3));
  const int64_t width = (wanted + multiple - 1) / multiple * multiple;
  if (width < 1 || width > kMaxWidth) {
    return reader.Fail("intermediate_size", absl::StrCat("makes an MLP of ", width, " features"),
                       int64_t{1});
  }
  return width;
}

// "conv" or "full_attention" by layer_types; else attention where full_attn_idxs has the layer, or
// everywhere.
std::vector<bool> ReadConvolutions(ConfigReader& reader, const ModelConfig& config) {
  std::vector<bool> listed = ReadLayerTypes(reader, config, "conv", "full_attention");
  if (!listed.empty()) return listed;
  const nlohmann::json* attention = reader.Find("full_attn_idxs");
  std::vector<bool> is_convolution(static_cast<size_t>(config.num_layers), attention != nullptr);
  if (attention == nullptr) return is_convolution;
  if (!attention->is_array()) {
    return reader.Fail("full_attn_idxs", "must be a list of layers", is_convolution);
  }
  for (const nlohmann::json& index : *attention) {
    if (!index.is_number_integer() || index.get<int64_t>() < 0 ||
        index.get<int64_t>() >= config.num_layers) {
      return reader.Fail("full_attn_idxs", absl::StrCat("has no layer ", index.dump()),
                         is_convolution);
    }
    is_convolution[index.get<size_t>()] = false;
  }
  return is_convolution;
}

}  // namespace

void ReadLfm2(ConfigReader& reader, ModelConfig& config) {
  config.vocab_size = reader.Integer("vocab_size", 65536, 1, kMaxVocab);
  config.hidden_size = reader.Integer("hidden_size", 2560, 1, kMaxWidth);
  config.intermediate_size = MlpWidth(reader);
  config.num_layers = reader.Integer("num_hidden_layers", 32, 1, kMaxLayers);
  config.num_heads = reader.Integer("num_attention_heads", 32, 1, kMaxHeads);
  config.num_kv_heads = reader.Integer("num_key_value_heads", 8, 1, kMaxHeads);
  const bool is_even = config.hidden_size % config.num_heads == 0;
  config.head_dim =
      reader.Integer("head_dim", is_even ? config.hidden_size / config.num_heads : 0, 1, kMaxHeads);
  config.max_position_embeddings =
      reader.Integer("max_position_embeddings", 128000, 1, kMaxPositions);
  config.norm_epsilon = static_cast<float>(reader.Positive("norm_eps", 1e-5, 1));
  config.tie_word_embeddings =
      reader.Bool("tie_embedding", reader.Bool("tie_word_embeddings", true));
  config.convolution_taps = reader.Integer("conv_L_cache", 3, 1, kMaxTaps);
  if (reader.Bool("conv_bias", false)) reader.Fail("conv_bias", "true is not supported", 0);
  CheckHeads(reader, config);
  ReadRope(reader, config, 1e6, config.rope);
  config.windows.assign(config.num_layers, 0);
  const std::vector<bool> convolutions = ReadConvolutions(reader, config);
  for (int64_t i = 0; i < config.num_layers; ++i) {
    config.layers.push_back({config.head_dim, config.num_kv_heads, config.intermediate_size, i,
                             convolutions[static_cast<size_t>(i)]});
  }
}

}  // namespace liquid
