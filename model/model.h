// A language model on one device: what a trainer or a generator may ask of it, whatever the family.
#ifndef LIQUID_MODEL_MODEL_H_
#define LIQUID_MODEL_MODEL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/ops.h"
#include "model/model_config.h"
#include "model/partition.h"
#include "model/tensor_parallel.h"
#include "model/tuning.h"
#include "parallel/flat_layout.h"
#include "tensor/pool.h"
#include "tensor/tensor.h"

namespace liquid {

// One weight tensor under its Hugging Face name. A tied head has no parameter of its own.
struct Parameter {
  std::string name;  // as in the checkpoint
  Shape shape;       // as in the checkpoint
  bool decays;       // weight decay applies: tensors of two and more axes
  Partition partition;
  TensorPart part;     // what this rank holds; all of it unless the model is tensor-parallel
  bool trains = true;  // false: it never has a gradient, and so stays as it is
  // Checkpoints and fingerprints have it. Of a model with adapters they have the adapters alone.
  bool is_saved = true;
  bool is_adapter = false;
  TensorView value = {};  // of part.shape and the model's dtype, owned by the model
};

// What is kept of a block's forward for its backward.
enum class Recompute {
  kNone,   // everything
  kBlock,  // its input; the rest is computed again
};

// The tokens of one slot: B rows of T, in host memory, row-major [B,T]. 0 <= tokens < V; positions
// below config().max_position_embeddings where positions are learned (GPT-2).
struct TokenBatch {
  int64_t num_rows = 0;         // B
  int64_t sequence_length = 0;  // T
  absl::Span<const int32_t> tokens;
  absl::Span<const int32_t> targets;         // kIgnoredTarget: not scored
  absl::Span<const int32_t> positions;       // restart at 0 in each document
  absl::Span<const int32_t> document_start;  // row index of the first token of each one's document
  absl::Span<const float> weights = {};      // of each target's loss, finite; empty: all are 1
  // [B]: what decides all that is random about a row (kernels/ops.h, RandomPlace). Empty: nothing
  // is, there is neither dropout nor noise.
  absl::Span<const uint64_t> row_keys = {};
};

// Called once per parameter and slot, as soon as its gradient is final. `gradient` (kF32, of the
// part's shape) is valid during the call only. Of a part with several holders each of them has a
// share of it, or nothing and is not called, and the gradient is their sum.
using GradientSink = std::function<void(int parameter_index, ConstTensorView gradient)>;

// Whether a call of ForwardBackward may be carried out by enqueuing what an earlier one enqueued.
enum class Repetition {
  kNone,
  // The sink only enqueues on the model's stream, and the same for the same parameter in every call
  // that says kOfShape. Where the device can record work, it is called for the first batches of a
  // shape alone.
  kOfShape,
};

class KeyValueCache;  // model/key_value_cache.h

class Model {
 public:
  virtual ~Model() = default;
  virtual const ModelConfig& config() const = 0;
  // In the order of the checkpoint (by layer); fixed for a configuration.
  virtual absl::Span<const Parameter> parameters() const = 0;
  // The values of those that are trained lie in one array, weights(), as layout() says: tensor i is
  // parameter i, with a slice for each replica. What lies between them is zero. Others are empty
  // tensors there, and lie in frozen_weights().
  virtual const FlatLayout& layout() const = 0;
  virtual TensorView weights() const = 0;
  virtual TensorView frozen_weights() const = 0;  // without data if all are trained
  // With target_modules as the modules that have adapters; null if the model has none.
  virtual const AdapterConfig* adapter() const = 0;
  // How it is spread. Every rank of the group must make the same calls with the same batches.
  virtual const TensorParallel& tensor_parallel() const = 0;
  // Where its work is enqueued.
  virtual Stream& stream() = 0;
  // The memory of activations and their gradients, which nothing else has.
  virtual TensorPool& activations() = 0;

  // Negative log-likelihood of each target, nll [B*T] in host memory (0 where not scored), the same
  // on every tensor-parallel rank, which B*T must be a multiple of in number, and the
  // gradient of loss_scale * sum(batch.weights nll) into `sink`. Bits depend on the batch and
  // weights alone.
  virtual void ForwardBackward(const TokenBatch& batch, float loss_scale, Recompute recompute,
                               const GradientSink& sink, absl::Span<float> nll,
                               Repetition repetition = Repetition::kNone) = 0;
  // The parameters whose gradients ForwardBackward gives this rank, in the order in which it does:
  // the same for every batch. Empty before its first call.
  virtual absl::Span<const int> gradient_order() const = 0;
  // The forward half of it. correct [B*T], unless it is empty: 1 where the target is the token that
  // the model holds for the most likely one (of equally likely ones, the first), else 0.
  virtual void Evaluate(const TokenBatch& batch, absl::Span<float> nll,
                        absl::Span<uint8_t> correct = {}) = 0;

  // For the golden tests: logits [B*T,V], and the residual streams hidden.0 .. hidden.L and
  // hidden.final ([B*T,D] each), all in host memory.
  struct Activations {
    std::vector<std::vector<float>> hidden;
    std::vector<float> logits;
  };
  virtual Activations Inspect(const TokenBatch& batch) = 0;

  // Generation: runs `tokens`, at least one, at the positions behind what `cache` holds, appends to
  // the cache, and returns the logits [V] of the last one, on every tensor-parallel rank. REQUIRES:
  // room in the cache for all of them.
  virtual std::unique_ptr<KeyValueCache> CreateCache(int64_t max_tokens) = 0;
  virtual std::vector<float> Extend(KeyValueCache& cache, absl::Span<const int32_t> tokens) = 0;
};

// A model of `config` with uninitialised weights, spread over the ranks of `tensor_parallel`.
// Weights and activations are of `dtype`, kF32 or kBF16 (kernels/ops.h says what that means). The
// arguments but for `tuning` must outlive it. InvalidArgument names what of the configuration is
// not supported, what of it cannot be spread over so many ranks, with the arithmetic, or a pattern
// of `tuning` that fits nothing.
absl::StatusOr<std::unique_ptr<Model>> CreateModel(const ModelConfig& config, Ops& ops,
                                                   Stream& stream, TensorPool& pool,
                                                   const TensorParallel& tensor_parallel = {},
                                                   DType dtype = DType::kF32,
                                                   const Tuning& tuning = {});

// The parameters of a model of `config` that is not spread: names and shapes, without values.
std::vector<Parameter> ParametersOf(const ModelConfig& config);

// Floating-point operations that forward and backward of `batch` need: 6 per token and weight of a
// matrix product (4 where it is not trained), 12 per head, head element and pair of a query and a
// key it sees. What recompute repeats is not counted. For MFU. Source: Chowdhery et al. 2022,
// arXiv:2204.02311, appendix B.
double TrainingFlops(const Model& model, const TokenBatch& batch);

}  // namespace liquid

#endif  // LIQUID_MODEL_MODEL_H_
