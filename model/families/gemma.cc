#include "model/families/gemma.h"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/layers.h"
#include "model/spread.h"
#include "tensor/dtype.h"

namespace liquid {
namespace {

// Rotary tables.
enum { kGlobal, kSliding };

struct Layer {
  int input_norm, post_attention_norm, pre_mlp_norm, post_mlp_norm;
  int q, o, q_norm;
  int k = -1, v = -1, k_norm = -1;  // none in a layer that shares another's
  int gate, up, down;
  int input_gate = -1, input_projection = -1, post_input_norm = -1;  // with per-layer inputs
  int scalar = -1;
};

class Gemma final : public Decoder {
 public:
  Gemma(const ModelConfig& config, Ops& ops, Stream& stream, TensorPool& pool,
        const TensorParallel& tensor_parallel, DType dtype)
      : Decoder(config, ops, stream, pool, tensor_parallel, dtype), c_(config) {
    const std::string prefix = c_.is_nested ? "model.language_model." : "model.";
    tokens_ = AddTable(prefix + "embed_tokens.weight");
    if (c_.per_layer_input > 0) AddPerLayerInputs(prefix);
    for (int64_t i = 0; i < c_.num_layers; ++i)
      AddLayer(i, absl::StrCat(prefix, "layers.", i, "."));
    norm_ = AddParameter(prefix + "norm.weight", {c_.hidden_size});
    set_head(c_.tie_word_embeddings ? tokens_ : AddTable("lm_head.weight"));
    UseRotary(c_.rope, GlobalHeadDim());
    UseRotary(c_.sliding_rope, c_.head_dim);
  }

 private:
  bool is_gemma4() const { return c_.family == Family::kGemma4; }
  int64_t GlobalHeadDim() const {
    for (int64_t i = 0; i < c_.num_layers; ++i) {
      if (c_.windows[i] == 0) return c_.Layer(i).head_dim;
    }
    return c_.head_dim;
  }

  Variable Norm(Pass& pass, const Variable& x, int weight) const {
    return RmsNorm(pass, x, weight, c_.norm_epsilon, c_.norm_offset);
  }

  // Rows of a table times the square root of their width, which is rounded as the weights are.
  Variable ScaledEmbedding(Pass& pass, int table, int64_t width) const {
    auto factor = static_cast<float>(std::sqrt(static_cast<double>(width)));
    if (dtype() == DType::kBF16) factor = ToFloat(ToBFloat16(factor));
    return Scale(pass, TokenEmbedding(pass, table), factor);
  }

  Variable Embed(Pass& pass) override {
    Variable x = WithNoise(pass, ScaledEmbedding(pass, tokens_, c_.hidden_size));
    if (c_.per_layer_input > 0) pass.per_layer_input = PerLayerInputs(pass, x);
    return x;
  }

  // [N,L*P]: what the layers are told of each token, by the token itself and by its embedding.
  Variable PerLayerInputs(Pass& pass, const Variable& x) {
    const Variable by_token = ScaledEmbedding(pass, layer_tokens_, c_.per_layer_input);
    const Shape shape = by_token.view().shape;
    const Shape parts = {shape.NumElements() / c_.per_layer_input, c_.per_layer_input};
    Variable context = Linear(pass, x, layer_projection_);
    context = Scale(pass, std::move(context),
                    static_cast<float>(1 / std::sqrt(static_cast<double>(c_.hidden_size))));
    context = Norm(pass, std::move(context).Reshape(parts), layer_projection_norm_).Reshape(shape);
    return Scale(pass, Add(pass, std::move(context), by_token), static_cast<float>(std::sqrt(0.5)));
  }

  Variable Block(Pass& pass, int layer, Variable x) override {
    const Layer& l = layers_[layer];
    Variable h = SelfAttention(pass, layer, Norm(pass, x, l.input_norm));
    x = Add(pass, x, Norm(pass, h, l.post_attention_norm));
    h = Mlp(pass, l, Norm(pass, x, l.pre_mlp_norm));
    x = Add(pass, x, Norm(pass, h, l.post_mlp_norm));
    if (c_.per_layer_input > 0) {
      const Variable gate = Linear(pass, x, l.input_gate);
      const Variable own = Part(pass, pass.per_layer_input, layer);
      h = Linear(pass, GatedActivate(pass, gate, own, Activation::kGeluTanh), l.input_projection);
      x = Add(pass, x, Norm(pass, h, l.post_input_norm));
    }
    return is_gemma4() ? ScaleByConstant(pass, std::move(x), l.scalar) : x;
  }

  Variable FinalNorm(Pass& pass, Variable x) override { return Norm(pass, x, norm_); }

  Variable SelfAttention(Pass& pass, int layer, Variable h) {
    const Layer& l = layers_[layer];
    const LayerConfig own = c_.Layer(layer);
    h = Gather(pass, std::move(h));
    const Variable q = Heads(pass, Linear(pass, h, l.q), l.q_norm, layer);
    const bool has_own_keys = own.key_source == layer;
    Pass::Shared used;
    if (has_own_keys) {
      used = KeysAndValues(pass, layer, h);
      if (is_shared_[static_cast<size_t>(layer)]) pass.shared[layer] = used;
    } else {
      used = pass.shared.at(own.key_source);
    }
    const AttentionShape shape = {.head_dim = own.head_dim,
                                  .window = c_.windows[layer],
                                  .query_scale = c_.query_scale,
                                  .layer = own.key_source,
                                  .has_own_keys = has_own_keys};
    return Linear(pass, Attention(pass, q, used.keys, used.values, shape), l.o);
  }

  Pass::Shared KeysAndValues(Pass& pass, int layer, const Variable& h) {
    const Layer& l = layers_[layer];
    const Variable raw = Linear(pass, h, l.k);
    Variable v = l.v >= 0 ? Linear(pass, h, l.v) : raw;
    if (is_gemma4()) {
      v = RmsNormOfHeads(pass, std::move(v), c_.Layer(layer).head_dim, /*weight=*/-1,
                         c_.norm_epsilon);
    }
    return {Heads(pass, raw, l.k_norm, layer), std::move(v)};
  }

  // Queries or keys [N,heads*K]: normed by head, then turned.
  Variable Heads(Pass& pass, Variable x, int norm, int layer) {
    const int64_t head_dim = c_.Layer(layer).head_dim;
    x = RmsNormOfHeads(pass, std::move(x), head_dim, norm, c_.norm_epsilon, c_.norm_offset);
    return Rotary(pass, std::move(x), head_dim, c_.windows[layer] > 0 ? kSliding : kGlobal);
  }

  Variable Mlp(Pass& pass, const Layer& l, Variable h) {
    h = Gather(pass, std::move(h));
    const Variable gate = Linear(pass, h, l.gate);
    const Variable up = Linear(pass, h, l.up);
    return Linear(pass, GatedActivate(pass, gate, up, Activation::kGeluTanh), l.down);
  }

  // For the residual stream, and so whole on each rank but for the table.
  void AddPerLayerInputs(const std::string& prefix) {
    const int64_t width = c_.num_layers * c_.per_layer_input;
    set_num_parts(c_.num_layers);
    layer_tokens_ = AddTable(prefix + "embed_tokens_per_layer.weight", width);
    layer_projection_ =
        AddParameter(prefix + "per_layer_model_projection.weight", {width, c_.hidden_size});
    layer_projection_norm_ =
        AddParameter(prefix + "per_layer_projection_norm.weight", {c_.per_layer_input});
  }

  void AddLayer(int64_t i, const std::string& prefix) {
    const int64_t d = c_.hidden_size;
    const LayerConfig own = c_.Layer(i);
    const auto norm = [&](const char* name) { return AddParameter(prefix + name, {d}); };
    Layer l;
    l.input_norm = norm("input_layernorm.weight");
    AddAttention(i, prefix + "self_attn.", l);
    l.post_attention_norm = norm("post_attention_layernorm.weight");
    l.pre_mlp_norm = norm("pre_feedforward_layernorm.weight");
    const Partition features = ByRows("MLP features", own.intermediate_size);
    const Shape out = {own.intermediate_size, d};
    l.gate = AddParameter(prefix + "mlp.gate_proj.weight", out, features);
    l.up = AddParameter(prefix + "mlp.up_proj.weight", out, features);
    l.down = AddParameter(prefix + "mlp.down_proj.weight", {d, own.intermediate_size},
                          ByColumns(features));
    l.post_mlp_norm = norm("post_feedforward_layernorm.weight");
    if (c_.per_layer_input > 0) {
      l.input_gate = AddParameter(prefix + "per_layer_input_gate.weight", {c_.per_layer_input, d});
      l.input_projection =
          AddParameter(prefix + "per_layer_projection.weight", {d, c_.per_layer_input});
      l.post_input_norm = norm("post_per_layer_input_norm.weight");
    }
    if (is_gemma4()) l.scalar = AddConstant(prefix + "layer_scalar");
    layers_.push_back(l);
    is_shared_.push_back(false);
    if (own.key_source != i) is_shared_[static_cast<size_t>(own.key_source)] = true;
  }

  void AddAttention(int64_t i, const std::string& prefix, Layer& l) {
    const int64_t d = c_.hidden_size;
    const LayerConfig own = c_.Layer(i);
    const Partition heads = AttentionHeads();
    const Partition kv_heads = KeyValueHeads(own.num_kv_heads);
    const int64_t q = c_.num_heads * own.head_dim;
    const Shape kv = {own.num_kv_heads * own.head_dim, d};
    l.q = AddParameter(prefix + "q_proj.weight", {q, d}, heads);
    l.q_norm = AddParameter(prefix + "q_norm.weight", {own.head_dim}, PerHead());
    if (own.key_source == i) {
      const bool has_values = !(c_.keys_are_values && c_.windows[i] == 0);
      l.k = AddParameter(prefix + "k_proj.weight", kv, kv_heads);
      l.k_norm = AddParameter(prefix + "k_norm.weight", {own.head_dim}, PerHead());
      if (has_values) l.v = AddParameter(prefix + "v_proj.weight", kv, kv_heads);
    }
    l.o = AddParameter(prefix + "o_proj.weight", {d, q}, ByColumns(heads));
  }

  const ModelConfig c_;
  int tokens_, norm_;
  int layer_tokens_ = -1, layer_projection_ = -1, layer_projection_norm_ = -1;
  std::vector<Layer> layers_;
  std::vector<bool> is_shared_;  // by layer: later ones use its keys and values
};

}  // namespace

std::unique_ptr<Decoder> CreateGemma(const ModelConfig& config, Ops& ops, Stream& stream,
                                     TensorPool& pool, const TensorParallel& tensor_parallel,
                                     DType dtype) {
  return std::make_unique<Gemma>(config, ops, stream, pool, tensor_parallel, dtype);
}

}  // namespace liquid
