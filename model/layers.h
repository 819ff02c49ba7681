// The verbs a model's forward is written in: each computes a value and records its backward.
//
// Parameters are named by their index in Model::parameters(); -1 where a verb allows for none.
// A variable handed over with std::move may be overwritten. Shapes: docs/GLOSSARY.md; N = B*T. What
// a rank holds of a parameter that is spread over ranks (model/partition.h) decides what the verbs
// compute with it; O, I, H, G, V are then this rank's.
#ifndef LIQUID_MODEL_LAYERS_H_
#define LIQUID_MODEL_LAYERS_H_

#include <cstdint>
#include <map>

#include "absl/types/span.h"
#include "kernels/ops.h"
#include "model/key_value_cache.h"
#include "model/rotary_table.h"
#include "model/tape.h"
#include "model/tensor_parallel.h"

namespace liquid {

// The adapters of a model, by the weight that they are beside.
struct Adapters {
  struct Pair {
    int a, b;         // parameters [rank,I], [O,rank]
    uint32_t stream;  // of what is random about it
  };
  std::map<int, Pair> beside;
  float scale = 0;
  float dropout = 0;
};

// One pass of a model over a batch: the tape, and what the verbs must know of the batch.
// Integers are in the device's memory unless said otherwise.
struct Pass {
  Tape& tape;
  const TensorParallel& tensor;
  int64_t num_rows = 0;                           // B
  int64_t sequence_length = 0;                    // T
  const int32_t* tokens = nullptr;                // [N]: rows of this rank's table, or kElsewhere
  const int32_t* positions = nullptr;             // [N]
  const int32_t* targets = nullptr;               // [N], as tokens; null if nothing is scored
  const int32_t* document_start = nullptr;        // [N]; null: each row is one document
  const int32_t* parts = nullptr;                 // [num_parts,stride]: num_parts n + j, for Part
  int64_t num_parts = 0;                          // what the family cuts rows into
  int64_t parts_stride = 0;                       // at least N
  const int32_t* tokens_with_gradient = nullptr;  // [N]: kElsewhere where there is none
  const float* loss_scale = nullptr;              // [1]: of the gradient of the loss
  const float* target_weights = nullptr;          // [N]: of the targets' losses; null: all are 1
  absl::Span<RotaryTable> rotaries = {};          // those of the family, by its numbers
  const int32_t* row_keys = nullptr;              // [B,2]; null: nothing is random
  const Adapters* adapters = nullptr;             // null: none
  float noise = 0;                                // of embeddings, where rows have keys
  KeyValueCache* cache = nullptr;                 // generation: keys and values before these tokens
  const int32_t* cached_positions = nullptr;      // [W-1+N]: of KeyValueCache::AppendInputs

  // What a layer hands to later ones, by its number: the keys and values that they use too.
  struct Shared {
    Variable keys;    // [N,G*K]
    Variable values;  // [N,G*K]
  };
  std::map<int64_t, Shared> shared = {};
  Variable per_layer_input = {};  // [N,L*P] of the residual stream: Gemma 4's

  int64_t num_tokens() const { return num_rows * sequence_length; }  // N
  // The tokens of the residual stream on this rank: all, or its share of them.
  int64_t num_residual() const {
    return tensor.splits_sequence() ? num_tokens() / tensor.size() : num_tokens();
  }
  int64_t first_residual() const {
    return tensor.splits_sequence() ? num_residual() * tensor.rank() : 0;
  }
};

// [N,D] of the residual stream stands for [N/T,D] with sequence parallelism.
// table [V,D] rows at the tokens: [N,D].
Variable TokenEmbedding(Pass& pass, int table);
// The model's embeddings, as a family makes them, with noise if the pass wants it. Source: Jain et
// al. 2023, arXiv:2310.05914, algorithm 1.
Variable WithNoise(Pass& pass, Variable x);
// table [P,D] rows at the positions: [N,D].
Variable PositionEmbedding(Pass& pass, int table);

// x [N,I] -> [N,O]: x weight^T + bias, weight [O,I] as torch.nn.Linear stores it; and what the
// adapter beside the weight adds, if there is one. A weight that is spread by its inputs leads back
// to the residual stream: the sum over ranks, then the bias.
Variable Linear(Pass& pass, const Variable& x, int weight, int bias = -1);
// The same with weight [I,O], as GPT-2 stores it.
Variable LinearInputMajor(Pass& pass, const Variable& x, int weight, int bias);

// Over the last axis. out = x rstd (offset + weight); x rstd if `weight` is -1.
Variable RmsNorm(Pass& pass, const Variable& x, int weight, float epsilon, float offset = 0);
// The same of each head of x [N,heads*K].
Variable RmsNormOfHeads(Pass& pass, Variable x, int64_t head_dim, int weight, float epsilon,
                        float offset = 0);
Variable LayerNorm(Pass& pass, const Variable& x, int weight, int bias, float epsilon);

Variable Add(Pass& pass, Variable x, Variable y);
Variable Scale(Pass& pass, Variable x, float factor);
// By a parameter of one element, which is not trained.
Variable ScaleByConstant(Pass& pass, Variable x, int factor);
Variable Activate(Pass& pass, const Variable& x, Activation activation);
// activation(gate) * up
Variable GatedActivate(Pass& pass, const Variable& gate, const Variable& up, Activation activation);

// [N,num_parts*D] -> its j-th [N,D].
Variable Part(Pass& pass, const Variable& x, int64_t j);

// x [N,heads*K], turned by the positions as table `rotary` of the family says.
Variable Rotary(Pass& pass, Variable x, int64_t head_dim, int rotary = 0);

struct AttentionShape {
  int64_t head_dim = 0;      // K
  int32_t window = 0;        // 0: full
  double query_scale = 0;    // of the scores; 0: K^-1/2
  int64_t layer = 0;         // with a cache: k and v are stored there as those of this layer,
  bool has_own_keys = true;  // or are those that the layer holds; the queries see all it holds
};
// q [N,H*K], k and v [N,G*K] -> [N,H*K].
Variable Attention(Pass& pass, const Variable& q, const Variable& k, const Variable& v,
                   const AttentionShape& shape);

// x [N,3D], weight [D,1,W] -> [N,D]: gated by b and c, along the tokens of a document. Of `layer`,
// for a cache.
Variable ShortConvolution(Pass& pass, const Variable& x, int weight, int64_t layer);

// nll [N] of the targets under logits x weight^T, weight [V,D], x [N,D] of the residual stream. A
// differentiating pass is seeded with the gradient of *pass.loss_scale * sum(target_weights nll).
// `cap` of the logits: 0 for none. correct [N], if not null, where nothing is differentiated: 1
// where the target is the most likely token, else 0.
void LinearCrossEntropy(Pass& pass, const Variable& x, int weight, float cap, TensorView nll,
                        int32_t* correct = nullptr);

}  // namespace liquid

#endif  // LIQUID_MODEL_LAYERS_H_
