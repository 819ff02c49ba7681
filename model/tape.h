// Reverse-mode differentiation over the fused operations of kernels/ops.h.
//
// A Tape lives for one pass over one batch. The verbs of model/layers.h compute a value at once
// and, when the pass differentiates, record a closure that turns the gradient of their output into
// gradients of their inputs. A closure holds exactly what it reads, so memory goes back to the pool
// as soon as neither the forward code nor a closure needs it. In a steady state everything comes
// from the pool. Not thread-safe.
#ifndef LIQUID_MODEL_TAPE_H_
#define LIQUID_MODEL_TAPE_H_

#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "kernels/ops.h"
#include "model/model.h"
#include "tensor/pool.h"
#include "tensor/tensor.h"

namespace liquid {

// Pooled memory with several holders, and a view of all of it. A cheap handle.
struct SharedTensor {
  std::shared_ptr<PooledTensor> memory;
  TensorView view;

  bool HasOneHolder() const { return memory.use_count() == 1; }
};

// Where the gradient of a variable is collected.
using GradientSlot = int;

// A value on a tape. A cheap handle: copies are the same variable.
struct Variable {
  SharedTensor value;
  GradientSlot slot = -1;

  const TensorView& view() const { return value.view; }
  // The same variable under another shape of as many elements.
  Variable Reshape(const Shape& shape) const& {
    return {{value.memory, value.view.Reshape(shape)}, slot};
  }
  Variable Reshape(const Shape& shape) && {
    return {{std::move(value.memory), value.view.Reshape(shape)}, slot};
  }
};

class Tape {
 public:
  // Adds a contribution to a gradient: into `gradient`, assigned unless `accumulate`.
  using Contribution = absl::FunctionRef<void(TensorView gradient, bool accumulate)>;
  // Adds (+=) a contribution to `gradient`.
  using Addition = absl::FunctionRef<void(TensorView gradient)>;

  // A pass that differentiates hands the gradient of each parameter to `sink`; with a null sink
  // it only evaluates. All must outlive the tape.
  Tape(Ops& ops, TensorPool& pool, absl::Span<const Parameter> parameters,
       const GradientSink* sink);
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  Ops& ops() { return ops_; }
  // False: a verb computes its value and need keep nothing for a backward.
  bool recording() const { return recording_; }

  // ---- Values ----
  // Uninitialised. Activations and their gradients are of the dtype of the parameters.
  SharedTensor Allocate(const Shape& shape) { return Allocate(dtype_, shape); }
  SharedTensor AllocateF32(const Shape& shape) { return Allocate(DType::kF32, shape); }
  Variable NewVariable(const Shape& shape) { return {Allocate(shape), NewSlot()}; }
  Variable Adopt(SharedTensor value) { return {std::move(value), NewSlot()}; }
  // A variable to be written in place of `x`, which is not needed as a value after that: in the
  // memory of `x` if this handle is the only one, in new memory otherwise.
  Variable Overwrite(const Variable& x);
  // The weights of parameter `index`; every call announces one contribution to its gradient, if it
  // is trained.
  ConstTensorView Use(int index);
  const Parameter& parameter(int index) const { return parameters_[index]; }

  // ---- Recording (only while recording()) ----
  void Record(absl::AnyInvocable<void()> backward) { nodes_.push_back(std::move(backward)); }
  // Runs `block` on `x`. In a differentiating pass nothing of it is kept but `x` and the results:
  // the backward runs it again. `block` must compute the same each time, and outlive nothing it
  // refers to by then.
  std::vector<Variable> Recomputed(Variable x,
                                   absl::AnyInvocable<std::vector<Variable>(Variable)> block);

  // ---- Gradients (from within recorded closures, and to seed the backward) ----
  // The gradient of a recorded output: complete by now, since all its readers ran. Leaves the slot.
  SharedTensor Take(GradientSlot slot, const Shape& shape);
  // Adds `gradient`, whose memory may be shared, to the slot.
  void Give(GradientSlot slot, SharedTensor gradient);
  // The same for an operation that can add to its output by itself.
  void Contribute(GradientSlot slot, const Shape& shape, Contribution contribute);
  // One announced contribution to a parameter. After the last one the gradient goes to the sink.
  // Nothing is called for a parameter that is not trained.
  void ContributeToParameter(int index, Contribution contribute);
  void AddToParameter(int index, Addition add);
  // The same for an operation that has other results too: where there is no gradient to be had
  // (index -1, or a parameter that is not trained) it adds to memory of shape `shape` that nobody
  // reads.
  void AddToParameterBeside(int index, const Shape& shape, Addition add);

  // Runs all recorded closures, last one first. Every parameter used has been handed out then.
  void Backward();

 private:
  SharedTensor Allocate(DType dtype, const Shape& shape);
  GradientSlot NewSlot();

  Ops& ops_;
  TensorPool& pool_;
  absl::Span<const Parameter> parameters_;
  const GradientSink* sink_;
  const DType dtype_;
  bool recording_;
  bool replaying_ = false;  // the uses of parameters are already announced
  std::vector<absl::AnyInvocable<void()>> nodes_;
  std::vector<SharedTensor> gradients_;  // by slot
  std::vector<int> uses_left_;           // by parameter
  std::vector<PooledTensor> parameter_gradients_;
};

}  // namespace liquid

#endif  // LIQUID_MODEL_TAPE_H_
