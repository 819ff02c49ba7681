#include "model/families/gpt2.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/layers.h"
#include "model/spread.h"

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
  Gpt2(const ModelConfig& config, Ops& ops, Stream& stream, TensorPool& pool,
       const TensorParallel& tensor_parallel, DType dtype)
      : Decoder(config, ops, stream, pool, tensor_parallel, dtype), c_(config) {
    set_num_parts(3);
    const int64_t d = c_.hidden_size;
    tokens_ = AddTable("transformer.wte.weight");
    positions_ = AddParameter("transformer.wpe.weight", {c_.max_position_embeddings, d});
    MarkTable(positions_);
    set_input_major();
    for (int64_t i = 0; i < c_.num_layers; ++i) {
      const std::string prefix = absl::StrCat("transformer.h.", i, ".");
      Layer l;
      l.ln_1 = AddNorm(prefix + "ln_1");
      l.attention =
          AddFanOut(prefix + "attn.c_attn", 3 * d, ByRows("attention heads", c_.num_heads, 3));
      l.attention_out =
          AddFanIn(prefix + "attn.c_proj", d, ByRows("attention heads", c_.num_heads));
      l.ln_2 = AddNorm(prefix + "ln_2");
      const Partition features = ByRows("MLP features", c_.intermediate_size);
      l.fc = AddFanOut(prefix + "mlp.c_fc", c_.intermediate_size, features);
      l.fc_out = AddFanIn(prefix + "mlp.c_proj", c_.intermediate_size, features);
      layers_.push_back(l);
    }
    norm_ = AddNorm("transformer.ln_f");
    set_head(c_.tie_word_embeddings ? tokens_ : AddTable("lm_head.weight"));
  }

 private:
  Variable Embed(Pass& pass) override {
    return Add(pass, WithNoise(pass, TokenEmbedding(pass, tokens_)),
               PositionEmbedding(pass, positions_));
  }

  Variable Block(Pass& pass, int layer, Variable x) override {
    const Layer& l = layers_[layer];
    x = Add(pass, x, SelfAttention(pass, layer, Norm(pass, x, l.ln_1)));
    Variable h = Project(pass, Gather(pass, Norm(pass, x, l.ln_2)), l.fc);
    return Add(pass, x, Project(pass, Activate(pass, h, Activation::kGeluTanh), l.fc_out));
  }

  Variable FinalNorm(Pass& pass, Variable x) override { return Norm(pass, x, norm_); }

  Variable SelfAttention(Pass& pass, int layer, Variable h) {
    h = Gather(pass, std::move(h));
    const Variable all = Project(pass, h, layers_[layer].attention);
    const Variable q = Part(pass, all, 0);
    const Variable k = Part(pass, all, 1);
    const Variable v = Part(pass, all, 2);
    const AttentionShape shape = {.head_dim = c_.head_dim, .layer = layer};
    return Project(pass, Attention(pass, q, k, v, shape), layers_[layer].attention_out);
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

  // From the residual stream to `outputs` features that are spread as `partition` says, and back
  // from so many `inputs`. Weights are stored [inputs, outputs].
  WeightAndBias AddFanOut(const std::string& name, int64_t outputs, const Partition& partition) {
    const int weight =
        AddParameter(name + ".weight", {c_.hidden_size, outputs}, ByColumns(partition));
    return {weight, AddParameter(name + ".bias", {outputs}, partition)};
  }
  WeightAndBias AddFanIn(const std::string& name, int64_t inputs, const Partition& partition) {
    const int weight = AddParameter(name + ".weight", {inputs, c_.hidden_size}, partition);
    return {weight, AddParameter(name + ".bias", {c_.hidden_size})};
  }

  const ModelConfig c_;
  int tokens_, positions_;
  WeightAndBias norm_;
  std::vector<Layer> layers_;
};

}  // namespace

std::unique_ptr<Decoder> CreateGpt2(const ModelConfig& config, Ops& ops, Stream& stream,
                                    TensorPool& pool, const TensorParallel& tensor_parallel,
                                    DType dtype) {
  return std::make_unique<Gpt2>(config, ops, stream, pool, tensor_parallel, dtype);
}

}  // namespace liquid
