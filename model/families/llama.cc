#include "model/families/llama.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/layers.h"
#include "model/spread.h"

namespace liquid {
namespace {

struct Projection {
  int weight = -1;
  int bias = -1;
};

struct Layer {
  int input_norm, post_attention_norm;
  Projection q, k, v, o;
  int q_norm = -1, k_norm = -1;
  Projection gate, up, down;
};

class Llama final : public Decoder {
 public:
  Llama(const ModelConfig& config, Ops& ops, Stream& stream, TensorPool& pool,
        const TensorParallel& tensor_parallel, DType dtype)
      : Decoder(config, ops, stream, pool, tensor_parallel, dtype), c_(config) {
    tokens_ = AddTable("model.embed_tokens.weight");
    for (int64_t i = 0; i < c_.num_layers; ++i) AddLayer(absl::StrCat("model.layers.", i, "."));
    norm_ = AddParameter("model.norm.weight", {c_.hidden_size});
    set_head(c_.tie_word_embeddings ? tokens_ : AddTable("lm_head.weight"));
    UseRotary(c_.rope, c_.head_dim);
  }

 private:
  Variable Embed(Pass& pass) override { return WithNoise(pass, TokenEmbedding(pass, tokens_)); }

  Variable Block(Pass& pass, int layer, Variable x) override {
    const Layer& l = layers_[layer];
    x = Add(pass, x, SelfAttention(pass, layer, RmsNorm(pass, x, l.input_norm, c_.norm_epsilon)));
    return Add(pass, x, Mlp(pass, l, RmsNorm(pass, x, l.post_attention_norm, c_.norm_epsilon)));
  }

  Variable FinalNorm(Pass& pass, Variable x) override {
    return RmsNorm(pass, x, norm_, c_.norm_epsilon);
  }

  Variable SelfAttention(Pass& pass, int layer, Variable h) {
    const Layer& l = layers_[layer];
    h = Gather(pass, std::move(h));
    Variable q = Heads(pass, Project(pass, h, l.q), l.q_norm);
    Variable k = Heads(pass, Project(pass, h, l.k), l.k_norm);
    Variable v = Project(pass, h, l.v);
    const AttentionShape shape = {
        .head_dim = c_.head_dim, .window = c_.windows[layer], .layer = layer};
    return Project(pass, Attention(pass, q, k, v, shape), l.o);
  }

  // Queries or keys [N,heads*K]: normed by head in Qwen3, then turned.
  Variable Heads(Pass& pass, Variable x, int norm) {
    if (norm >= 0) x = RmsNormOfHeads(pass, std::move(x), c_.head_dim, norm, c_.norm_epsilon);
    return Rotary(pass, std::move(x), c_.head_dim);
  }

  Variable Mlp(Pass& pass, const Layer& l, Variable h) {
    h = Gather(pass, std::move(h));
    Variable gate = Project(pass, h, l.gate);
    Variable up = Project(pass, h, l.up);
    return Project(pass, GatedActivate(pass, gate, up, Activation::kSilu), l.down);
  }

  static Variable Project(Pass& pass, const Variable& x, const Projection& p) {
    return Linear(pass, x, p.weight, p.bias);
  }

  void AddLayer(const std::string& prefix) {
    const int64_t d = c_.hidden_size;
    const int64_t f = c_.intermediate_size;
    const int64_t q = c_.num_heads * c_.head_dim;
    const int64_t kv = c_.num_kv_heads * c_.head_dim;
    const bool output_bias = c_.attention_bias && c_.family != Family::kQwen2;
    Layer l;
    l.input_norm = AddParameter(prefix + "input_layernorm.weight", {d});
    const Partition heads = AttentionHeads();
    const Partition kv_heads = KeyValueHeads(c_.num_kv_heads);
    l.q = AddProjection(prefix + "self_attn.q_proj", q, d, c_.attention_bias, heads);
    l.k = AddProjection(prefix + "self_attn.k_proj", kv, d, c_.attention_bias, kv_heads);
    l.v = AddProjection(prefix + "self_attn.v_proj", kv, d, c_.attention_bias, kv_heads);
    l.o = AddProjection(prefix + "self_attn.o_proj", d, q, output_bias, ByColumns(heads));
    if (c_.family == Family::kQwen3) {
      l.q_norm = AddParameter(prefix + "self_attn.q_norm.weight", {c_.head_dim}, PerHead());
      l.k_norm = AddParameter(prefix + "self_attn.k_norm.weight", {c_.head_dim}, PerHead());
    }
    l.post_attention_norm = AddParameter(prefix + "post_attention_layernorm.weight", {d});
    const Partition features = ByRows("MLP features", f);
    l.gate = AddProjection(prefix + "mlp.gate_proj", f, d, c_.mlp_bias, features);
    l.up = AddProjection(prefix + "mlp.up_proj", f, d, c_.mlp_bias, features);
    l.down = AddProjection(prefix + "mlp.down_proj", d, f, c_.mlp_bias, ByColumns(features));
    layers_.push_back(l);
  }

  // A bias goes with the rows; with columns it is added to their sum.
  Projection AddProjection(const std::string& name, int64_t outputs, int64_t inputs, bool bias,
                           const Partition& partition) {
    Projection p;
    p.weight = AddParameter(name + ".weight", {outputs, inputs}, partition);
    const bool by_rows = partition.kind == Partition::Kind::kRows;
    if (bias) p.bias = AddParameter(name + ".bias", {outputs}, by_rows ? partition : Partition{});
    return p;
  }

  const ModelConfig c_;
  int tokens_, norm_;
  std::vector<Layer> layers_;
};

}  // namespace

std::unique_ptr<Decoder> CreateLlama(const ModelConfig& config, Ops& ops, Stream& stream,
                                     TensorPool& pool, const TensorParallel& tensor_parallel,
                                     DType dtype) {
  return std::make_unique<Llama>(config, ops, stream, pool, tensor_parallel, dtype);
}

}  // namespace liquid
