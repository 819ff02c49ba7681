#include "model/families/lfm2.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/layers.h"
#include "model/spread.h"

namespace liquid {
namespace {

struct Layer {
  int operator_norm, mlp_norm;
  int in = -1, taps = -1;  // of a convolution
  int q = -1, k = -1, v = -1, q_norm = -1, k_norm = -1;
  int out;
  int gate, up, down;
};

class Lfm2 final : public Decoder {
 public:
  Lfm2(const ModelConfig& config, Ops& ops, Stream& stream, TensorPool& pool,
       const TensorParallel& tensor_parallel, DType dtype)
      : Decoder(config, ops, stream, pool, tensor_parallel, dtype), c_(config) {
    tokens_ = AddTable("model.embed_tokens.weight");
    for (int64_t i = 0; i < c_.num_layers; ++i) AddLayer(i, absl::StrCat("model.layers.", i, "."));
    norm_ = AddParameter("model.embedding_norm.weight", {c_.hidden_size});
    set_head(c_.tie_word_embeddings ? tokens_ : AddTable("lm_head.weight"));
    UseRotary(c_.rope, c_.head_dim);
  }

 private:
  Variable Embed(Pass& pass) override { return WithNoise(pass, TokenEmbedding(pass, tokens_)); }

  Variable Block(Pass& pass, int layer, Variable x) override {
    const Layer& l = layers_[layer];
    Variable h = Gather(pass, Norm(pass, x, l.operator_norm));
    x = Add(pass, x,
            c_.Layer(layer).is_convolution ? Convolution(pass, layer, h)
                                           : SelfAttention(pass, layer, h));
    h = Gather(pass, Norm(pass, x, l.mlp_norm));
    const Variable gate = Linear(pass, h, l.gate);
    const Variable up = Linear(pass, h, l.up);
    return Add(pass, x, Linear(pass, GatedActivate(pass, gate, up, Activation::kSilu), l.down));
  }

  Variable FinalNorm(Pass& pass, Variable x) override { return Norm(pass, x, norm_); }

  Variable Norm(Pass& pass, const Variable& x, int weight) const {
    return RmsNorm(pass, x, weight, c_.norm_epsilon);
  }

  Variable Convolution(Pass& pass, int layer, const Variable& h) {
    const Layer& l = layers_[layer];
    return Linear(pass, ShortConvolution(pass, Linear(pass, h, l.in), l.taps, layer), l.out);
  }

  Variable SelfAttention(Pass& pass, int layer, const Variable& h) {
    const Layer& l = layers_[layer];
    const Variable q = Heads(pass, Linear(pass, h, l.q), l.q_norm);
    const Variable k = Heads(pass, Linear(pass, h, l.k), l.k_norm);
    const Variable v = Linear(pass, h, l.v);
    const AttentionShape shape = {.head_dim = c_.head_dim, .layer = layer};
    return Linear(pass, Attention(pass, q, k, v, shape), l.out);
  }

  // Queries or keys [N,heads*K]: normed by head, then turned.
  Variable Heads(Pass& pass, Variable x, int norm) {
    x = RmsNormOfHeads(pass, std::move(x), c_.head_dim, norm, c_.norm_epsilon);
    return Rotary(pass, std::move(x), c_.head_dim);
  }

  void AddLayer(int64_t i, const std::string& prefix) {
    const int64_t d = c_.hidden_size;
    const int64_t f = c_.intermediate_size;
    Layer l;
    if (c_.Layer(i).is_convolution) {
      AddConvolution(prefix + "conv.", l);
    } else {
      AddAttention(prefix + "self_attn.", l);
    }
    const Partition features = ByRows("MLP features", f);
    l.gate = AddParameter(prefix + "feed_forward.w1.weight", {f, d}, features);
    l.up = AddParameter(prefix + "feed_forward.w3.weight", {f, d}, features);
    l.down = AddParameter(prefix + "feed_forward.w2.weight", {d, f}, ByColumns(features));
    l.operator_norm = AddParameter(prefix + "operator_norm.weight", {d});
    l.mlp_norm = AddParameter(prefix + "ffn_norm.weight", {d});
    layers_.push_back(l);
  }

  void AddConvolution(const std::string& prefix, Layer& l) {
    const int64_t d = c_.hidden_size;
    const Partition channels = ByRows("channels", d);
    l.in = AddParameter(prefix + "in_proj.weight", {3 * d, d}, ByRows("channels", d, 3));
    l.taps = AddParameter(prefix + "conv.weight", {d, 1, c_.convolution_taps}, channels);
    l.out = AddParameter(prefix + "out_proj.weight", {d, d}, ByColumns(channels));
  }

  void AddAttention(const std::string& prefix, Layer& l) {
    const int64_t d = c_.hidden_size;
    const int64_t q = c_.num_heads * c_.head_dim;
    const int64_t kv = c_.num_kv_heads * c_.head_dim;
    const Partition heads = AttentionHeads();
    const Partition kv_heads = KeyValueHeads(c_.num_kv_heads);
    l.q = AddParameter(prefix + "q_proj.weight", {q, d}, heads);
    l.k = AddParameter(prefix + "k_proj.weight", {kv, d}, kv_heads);
    l.v = AddParameter(prefix + "v_proj.weight", {kv, d}, kv_heads);
    l.out = AddParameter(prefix + "out_proj.weight", {d, q}, ByColumns(heads));
    l.q_norm = AddParameter(prefix + "q_layernorm.weight", {c_.head_dim}, PerHead());
    l.k_norm = AddParameter(prefix + "k_layernorm.weight", {c_.head_dim}, PerHead());
  }

  const ModelConfig c_;
  int tokens_, norm_;
  std::vector<Layer> layers_;
};

}  // namespace

std::unique_ptr<Decoder> CreateLfm2(const ModelConfig& config, Ops& ops, Stream& stream,
                                    TensorPool& pool, const TensorParallel& tensor_parallel,
                                    DType dtype) {
  return std::make_unique<Lfm2>(config, ops, stream, pool, tensor_parallel, dtype);
}

}  // namespace liquid
