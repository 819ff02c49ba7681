#include "model/model_config.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "checkpoint/json_document.h"
#include "nlohmann/json.hpp"

namespace liquid {
namespace {

// The keys of one JSON object. A key that is null counts as absent. The first error is kept; what
// is read after it is of no use.
class Reader {
 public:
  Reader(const nlohmann::json& object, std::string path)
      : object_(object), path_(std::move(path)) {}

  const absl::Status& status() const { return status_; }
  const std::string& path() const { return path_; }

  // Null if absent.
  const nlohmann::json* Find(const std::string& key) const {
    const auto it = object_.find(key);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }
  bool Has(const std::string& key) const { return Find(key) != nullptr; }

  int64_t Integer(const std::string& key, int64_t fallback, int64_t min, int64_t max) {
    const nlohmann::json* value = Find(key);
    if (value == nullptr) return fallback;
    if (!value->is_number_integer()) return Fail(key, "must be an integer", fallback);
    const bool too_large =
        value->is_number_unsigned() &&
        value->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    if (too_large || value->get<int64_t>() < min || value->get<int64_t>() > max) {
      return Fail(key, absl::StrCat("is ", value->dump(), ", must be ", min, " to ", max),
                  fallback);
    }
    return value->get<int64_t>();
  }

  // In (0, max].
  double Positive(const std::string& key, double fallback, double max) {
    const nlohmann::json* value = Find(key);
    if (value == nullptr) return fallback;
    if (!value->is_number()) return Fail(key, "must be a number", fallback);
    const double number = value->get<double>();
    if (!(number > 0 && number <= max)) {
      return Fail(key, absl::StrCat("is ", number, ", must be above 0 and at most ", max),
                  fallback);
    }
    return number;
  }

  bool Bool(const std::string& key, bool fallback) {
    const nlohmann::json* value = Find(key);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) return Fail(key, "must be true or false", fallback);
    return value->get<bool>();
  }

  std::string String(const std::string& key, const std::string& fallback) {
    const nlohmann::json* value = Find(key);
    if (value == nullptr) return fallback;
    if (!value->is_string()) return Fail(key, "must be a string", fallback);
    return value->get<std::string>();
  }

  template <typename T>
  T Fail(const std::string& key, const std::string& problem, T fallback) {
    if (status_.ok()) {
      status_ = absl::InvalidArgumentError(absl::StrCat(path_, ": ", key, " ", problem));
    }
    return fallback;
  }

 private:
  const nlohmann::json& object_;
  std::string path_;
  absl::Status status_;
};

// Sizes beyond these are typing errors or attacks, and would overflow products of them.
constexpr int64_t kMaxVocab = int64_t{1} << 24;
constexpr int64_t kMaxWidth = int64_t{1} << 20;
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxHeads = 4096;
constexpr int64_t kMaxPositions = int64_t{1} << 26;

void ReadTokenIds(Reader& reader, ModelConfig& config) {
  config.pad_token_id = static_cast<int32_t>(reader.Integer("pad_token_id", -1, -1, kMaxVocab));
  const nlohmann::json* eos = reader.Find("eos_token_id");
  if (eos == nullptr) return;
  const bool is_list = eos->is_array();
  for (const nlohmann::json& id : is_list ? *eos : nlohmann::json::array({*eos})) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > kMaxVocab) {
      reader.Fail("eos_token_id", "must be a token id or a list of them", 0);
      return;
    }
    config.eos_token_ids.push_back(static_cast<int32_t>(id.get<int64_t>()));
  }
}

void ReadScaling(Reader& rope, RopeConfig& out, int64_t max_positions) {
  const std::string type = rope.String(rope.Has("rope_type") ? "rope_type" : "type", "default");
  if (type == "default") return;
  if (type != "linear" && type != "llama3") {
    rope.Fail("rope_type", absl::StrCat("\"", type, "\" is not supported: default, linear, llama3"),
              0);
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

// Both spellings: rope_theta with rope_scaling, and rope_parameters, which rope_scaling outdoes.
void ReadRope(Reader& reader, ModelConfig& config, double default_theta) {
  config.rope.theta = reader.Positive("rope_theta", default_theta, 1e12);
  const std::string key = reader.Has("rope_scaling") ? "rope_scaling" : "rope_parameters";
  const nlohmann::json* object = reader.Find(key);
  if (object == nullptr) return;
  if (!object->is_object()) {
    reader.Fail(key, "must be an object or null", 0);
    return;
  }
  Reader rope(*object, absl::StrCat(reader.path(), ": ", key));
  config.rope.theta = rope.Positive("rope_theta", config.rope.theta, 1e12);
  if (rope.Positive("partial_rotary_factor", 1, 1e6) != 1) {
    rope.Fail("partial_rotary_factor", "other than 1 is not supported", 0);
  }
  ReadScaling(rope, config.rope, config.max_position_embeddings);
  if (!rope.status().ok()) reader.Fail(key, std::string(rope.status().message()), 0);
}

// Qwen: layers from max_window_layers on slide, or layer_types says which; off unless asked for.
void ReadWindows(Reader& reader, ModelConfig& config) {
  config.windows.assign(config.num_layers, 0);
  if (config.family == Family::kLlama || !reader.Bool("use_sliding_window", false)) return;
  const auto window =
      static_cast<int32_t>(reader.Integer("sliding_window", 4096, 1, kMaxPositions));
  const nlohmann::json* types = reader.Find("layer_types");
  if (types != nullptr &&
      (!types->is_array() || static_cast<int64_t>(types->size()) != config.num_layers)) {
    reader.Fail("layer_types", "must be a list with an entry for each layer", 0);
    return;
  }
  const int64_t first = reader.Integer("max_window_layers", 28, 0, kMaxLayers);
  for (int64_t i = 0; i < config.num_layers; ++i) {
    bool slides = i >= first;
    if (types != nullptr) {
      const nlohmann::json& type = (*types)[i];
      slides = type == "sliding_attention";
      if (!slides && type != "full_attention") {
        reader.Fail("layer_types", absl::StrCat("entry ", type.dump(), " is not supported"), 0);
      }
    }
    if (slides) config.windows[i] = window;
  }
}

void ReadLlamaOrQwen(Reader& reader, ModelConfig& config) {
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
  const std::string activation = reader.String("hidden_act", "silu");
  if (activation != "silu" && activation != "swish") {
    reader.Fail("hidden_act", absl::StrCat("\"", activation, "\" is not supported: silu"), 0);
  }
  if (config.num_heads % config.num_kv_heads != 0) {
    reader.Fail("num_attention_heads", "must be a multiple of num_key_value_heads", 0);
  }
  if (config.head_dim == 0) {
    reader.Fail("hidden_size", "must be a multiple of num_attention_heads if head_dim is absent",
                0);
  }
  if (config.head_dim % 2 != 0) reader.Fail("head_dim", "must be even", 0);
  ReadRope(reader, config, 10000);
  ReadWindows(reader, config);
}

void ReadGpt2(Reader& reader, ModelConfig& config) {
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
  config.windows.assign(config.num_layers, 0);
  if (config.hidden_size % config.num_heads != 0) {
    reader.Fail("n_embd", "must be a multiple of n_head", 0);
  }
  config.head_dim = config.hidden_size / config.num_heads;
  const std::string activation = reader.String("activation_function", "gelu_new");
  if (activation != "gelu_new" && activation != "gelu_pytorch_tanh") {
    reader.Fail("activation_function",
                absl::StrCat("\"", activation, "\" is not supported: gelu_new, gelu_pytorch_tanh"),
                0);
  }
  if (!reader.Bool("scale_attn_weights", true)) {
    reader.Fail("scale_attn_weights", "false is not supported", 0);
  }
  for (const char* key : {"scale_attn_by_inverse_layer_idx", "add_cross_attention"}) {
    if (reader.Bool(key, false)) reader.Fail(key, "true is not supported", 0);
  }
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view json, const std::string& path) {
  LIQUID_ASSIGN_OR_RETURN(const nlohmann::json document, ParseJsonDocument(json, path));
  if (!document.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": must hold a JSON object"));
  }
  Reader reader(document, path);
  const std::string type = reader.String("model_type", "");
  LIQUID_RETURN_IF_ERROR(reader.status());
  ModelConfig config;
  if (type == "llama") {
    config.family = Family::kLlama;
  } else if (type == "qwen2") {
    config.family = Family::kQwen2;
  } else if (type == "qwen3") {
    config.family = Family::kQwen3;
  } else if (type == "gpt2") {
    config.family = Family::kGpt2;
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": model_type \"", type,
                     "\" is not supported; supported are gpt2, llama, qwen2, qwen3"));
  }
  config.initializer_range = reader.Positive("initializer_range", 0.02, 100);
  ReadTokenIds(reader, config);
  if (config.family == Family::kGpt2) {
    ReadGpt2(reader, config);
  } else {
    ReadLlamaOrQwen(reader, config);
  }
  if (config.pad_token_id >= config.vocab_size) config.pad_token_id = -1;
  LIQUID_RETURN_IF_ERROR(reader.status());
  return config;
}

absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& path) {
  LIQUID_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return ParseModelConfig(text, path);
}

}  // namespace liquid
