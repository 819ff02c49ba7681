#include "model/families/gpt2.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/decoder.h"
#include "model/layers.h"

namespace liquid {
namespace {

struct WeightAndBias {
  int weight, bias;
};

struct Layer {
  WeightAndBias ln_1, attention, attention_out, ln_2, fc, fc_out;
};

class Gpt2 final : public Decoder {
 public:
  Gpt2(const ModelConfig& config, Ops& ops, Stream& stream, TensorPool& pool)
      : Decoder(config, ops, stream, pool), c_(config) {
    const int64_t d = c_.hidden_size;
    tokens_ = AddParameter("transformer.wte.weight", {c_.vocab_size, d});
    positions_ = AddParameter("transformer.wpe.weight", {c_.max_position_embeddings, d});
    for (int64_t i = 0; i < c_.num_layers; ++i) {
      const std::string prefix = absl::StrCat("transformer.h.", i, ".");
      Layer l;
      l.ln_1 = AddNorm(prefix + "ln_1");
      l.attention = AddLinear(prefix + "attn.c_attn", d, 3 * d);
      l.attention_out = AddLinear(prefix + "attn.c_proj", d, d);
      l.ln_2 = AddNorm(prefix + "ln_2");
      l.fc = AddLinear(prefix + "mlp.c_fc", d, c_.intermediate_size);
      l.fc_out = AddLinear(prefix + "mlp.c_proj", c_.intermediate_size, d);
      layers_.push_back(l);
    }
    norm_ = AddNorm("transformer.ln_f");
    set_head(c_.tie_word_embeddings ? tokens_ : AddParameter("lm_head.weight", {c_.vocab_size, d}));
  }

 private:
  Variable Embed(Pass& pass) override {
    return Add(pass, TokenEmbedding(pass, tokens_, c_.pad_token_id),
               PositionEmbedding(pass, positions_));
  }

  Variable Block(Pass& pass, int layer, Variable x) override {
    const Layer& l = layers_[layer];
    x = Add(pass, x, SelfAttention(pass, layer, Norm(pass, x, l.ln_1)));
    Variable h = Project(pass, Norm(pass, x, l.ln_2), l.fc);
    return Add(pass, x, Project(pass, Activate(pass, h, Activation::kGeluTanh), l.fc_out));
  }

  Variable FinalNorm(Pass& pass, Variable x) override { return Norm(pass, x, norm_); }

  Variable SelfAttention(Pass& pass, int layer, Variable h) {
    const auto [q, k, v] = SplitInThree(pass, Project(pass, h, layers_[layer].attention));
    const AttentionShape shape = {c_.num_heads, c_.num_heads, c_.head_dim, /*window=*/0};
    return Project(pass, Attention(pass, q, k, v, shape, layer), layers_[layer].attention_out);
  }

  Variable Norm(Pass& pass, const Variable& x, const WeightAndBias& p) {
    return LayerNorm(pass, x, p.weight, p.bias, c_.norm_epsilon);
  }

  static Variable Project(Pass& pass, const Variable& x, const WeightAndBias& p) {
    return LinearInputMajor(pass, x, p.weight, p.bias);
  }

  WeightAndBias AddNorm(const std::string& name) {
    const int weight = AddParameter(name + ".weight", {c_.hidden_size});
    return {weight, AddParameter(name + ".bias", {c_.hidden_size})};
  }

  WeightAndBias AddLinear(const std::string& name, int64_t inputs, int64_t outputs) {
    const int weight = AddParameter(name + ".weight", {inputs, outputs});
    return {weight, AddParameter(name + ".bias", {outputs})};
  }

  const ModelConfig c_;
  int tokens_, positions_;
  WeightAndBias norm_;
  std::vector<Layer> layers_;
};

}  // namespace

std::unique_ptr<Model> CreateGpt2(const ModelConfig& config, Ops& ops, Stream& stream,
                                  TensorPool& pool) {
  return std::make_unique<Gpt2>(config, ops, stream, pool);
}

}  // namespace liquid
