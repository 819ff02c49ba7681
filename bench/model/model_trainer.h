// Training steps of a model on one device, for timing: what a worker does, without its data.
#ifndef LIQUID_BENCH_MODEL_MODEL_TRAINER_H_
#define LIQUID_BENCH_MODEL_MODEL_TRAINER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/ops.h"
#include "model/model.h"
#include "tensor/device.h"
#include "tensor/pool.h"

namespace liquid::bench {

// SmolLM2-135M, the model that the project is measured by on CPUs.
ModelConfig SmolLm2Config();

struct StepShape {
  int64_t num_slots = 1;
  int64_t rows = 1;  // of a slot
  int64_t sequence_length = 0;

  int64_t NumTokens() const { return num_slots * rows * sequence_length; }
};

// A model with random weights and what an optimizer keeps: in bf16 fp32 master weights, exact sums
// of gradients, both moments. Its batch is random, all tokens are scored, a row is one document.
class ModelTrainer {
 public:
  // `stream` and `ops`, which are of one device, must outlive it.
  ModelTrainer(Stream& stream, Ops& ops, const ModelConfig& config, DType dtype,
               const StepShape& shape);

  // Forward and backward of all slots, exact sums, norm, clipping to 1, AdamW. Returns when all of
  // it has run: the mean loss of a token before the update.
  double Step(Recompute recompute, Repetition repetition = Repetition::kOfShape);

  const StepShape& shape() const { return shape_; }
  // Floating-point operations that a step needs (TrainingFlops of its slots).
  double StepFlops() const;
  // All memory of the device that was asked for, but the workspace of `ops`.
  int64_t allocated_bytes() const {
    return pool_.allocated_bytes() + model_->activations().allocated_bytes();
  }

 private:
  void PrepareOptimizer();
  void PrepareBatch();
  TokenBatch Slot(int64_t index) const;
  double NormOfGradients();
  void Update(double norm);
  void Synchronize();

  Stream& stream_;
  Ops& ops_;
  const ModelConfig config_;
  const StepShape shape_;
  TensorPool pool_;
  std::unique_ptr<Model> model_;
  std::vector<PooledTensor> masters_, sums_, moments_, second_moments_;
  std::vector<TensorView> chunks_;  // of each parameter's sum of squares, in all_chunks_
  PooledTensor all_chunks_, flag_;
  Buffer host_chunks_;
  std::vector<int32_t> tokens_, targets_, positions_, document_start_;
  int64_t step_ = 0;
};

}  // namespace liquid::bench

#endif  // LIQUID_BENCH_MODEL_MODEL_TRAINER_H_
