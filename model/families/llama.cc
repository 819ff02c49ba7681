#include "model/families/llama.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/decoder.h"
#include "model/layers.h"

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
  Llama(const ModelConfig& config, Ops& ops, Stream& stream, TensorPool& pool)
      : Decoder(config, ops, stream, pool), c_(config) {
    tokens_ = AddParameter("model.embed_tokens.weight", {c_.vocab_size, c_.hidden_size});
    for (int64_t i = 0; i < c_.num_layers; ++i) AddLayer(absl::StrCat("model.layers.", i, "."));
    norm_ = AddParameter("model.norm.weight", {c_.hidden_size});
    set_head(c_.tie_word_embeddings
                 ? tokens_
                 : AddParameter("lm_head.weight", {c_.vocab_size, c_.hidden_size}));
    UseRotary(c_.rope);
  }

 private:
  Variable Embed(Pass& pass) override { return TokenEmbedding(pass, tokens_, c_.pad_token_id); }

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
    Variable q = Heads(pass, Project(pass, h, l.q), l.q_norm, c_.num_heads);
    Variable k = Heads(pass, Project(pass, h, l.k), l.k_norm, c_.num_kv_heads);
    Variable v = Project(pass, h, l.v);
    const AttentionShape shape = {c_.num_heads, c_.num_kv_heads, c_.head_dim, c_.windows[layer]};
    return Project(pass, Attention(pass, q, k, v, shape, layer), l.o);
  }

  // Queries or keys [N,heads*K]: normed by head in Qwen3, then turned.
  Variable Heads(Pass& pass, Variable x, int norm, int64_t num_heads) {
    const Shape flat = x.view().shape;
    if (norm >= 0) {
      x = std::move(x).Reshape({flat[0] * num_heads, c_.head_dim});
      x = RmsNorm(pass, x, norm, c_.norm_epsilon).Reshape(flat);
    }
    return Rotary(pass, std::move(x), num_heads);
  }

  Variable Mlp(Pass& pass, const Layer& l, Variable h) {
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
    l.q = AddProjection(prefix + "self_attn.q_proj", q, d, c_.attention_bias);
    l.k = AddProjection(prefix + "self_attn.k_proj", kv, d, c_.attention_bias);
    l.v = AddProjection(prefix + "self_attn.v_proj", kv, d, c_.attention_bias);
    l.o = AddProjection(prefix + "self_attn.o_proj", d, q, output_bias);
    if (c_.family == Family::kQwen3) {
      l.q_norm = AddParameter(prefix + "self_attn.q_norm.weight", {c_.head_dim});
      l.k_norm = AddParameter(prefix + "self_attn.k_norm.weight", {c_.head_dim});
    }
    l.post_attention_norm = AddParameter(prefix + "post_attention_layernorm.weight", {d});
    l.gate = AddProjection(prefix + "mlp.gate_proj", f, d, c_.mlp_bias);
    l.up = AddProjection(prefix + "mlp.up_proj", f, d, c_.mlp_bias);
    l.down = AddProjection(prefix + "mlp.down_proj", d, f, c_.mlp_bias);
    layers_.push_back(l);
  }

  Projection AddProjection(const std::string& name, int64_t outputs, int64_t inputs, bool bias) {
    Projection p;
    p.weight = AddParameter(name + ".weight", {outputs, inputs});
    if (bias) p.bias = AddParameter(name + ".bias", {outputs});
    return p;
  }

  const ModelConfig c_;
  int tokens_, norm_;
  std::vector<Layer> layers_;
};

}  // namespace

std::unique_ptr<Model> CreateLlama(const ModelConfig& config, Ops& ops, Stream& stream,
                                   TensorPool& pool) {
  return std::make_unique<Llama>(config, ops, stream, pool);
}

}  // namespace liquid
