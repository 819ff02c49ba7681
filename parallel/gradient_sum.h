// The sum of a step's gradients over all its slots, whoever computes them.
//
// exact: fixed point in int64 (kernels/ops.h, Accumulate). Integer sums are associative, so neither
// the order of slots, nor the split over ranks, nor the algorithm of a reduction changes a bit.
// fast: plain float sums, 4 bytes an element, without that promise.
#ifndef LIQUID_PARALLEL_GRADIENT_SUM_H_
#define LIQUID_PARALLEL_GRADIENT_SUM_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "kernels/ops.h"
#include "parallel/communicator.h"
#include "tensor/pool.h"

namespace liquid {

enum class GradientSumKind { kExact, kFast };

class GradientSum {
 public:
  // For tensors of `shapes`, summed over `slots_per_step` contributions in all. The sum starts at
  // zero. `ops`, `stream`, `pool` must outlive this.
  GradientSum(GradientSumKind kind, absl::Span<const Shape> shapes, int slots_per_step, Ops& ops,
              Stream& stream, TensorPool& pool);

  // Adds a slot's gradient of tensor `index`.
  void Fold(int index, ConstTensorView gradient);

  // A scalar of this rank that becomes the sum over ranks in Combine: fixed point as the gradients,
  // |value| < 8192. Not finite: as a gradient that is not.
  void FoldScalar(int slot_of_scalar, double value);
  double scalar(int slot_of_scalar) const;  // after Combine
  static constexpr int kNumScalars = 4;

  // The sums over all ranks, on every rank. Failures are latched in `communicator`.
  void Combine(Communicator& communicator);

  // After Combine: true if any contribution on any rank was not finite or out of range.
  bool overflowed() const { return overflowed_; }
  // Tensor `index`: kI64 (exact) or kF32 (fast), shape as given. For Ops::SumOfSquares and
  // Ops::AdamW; the latter clears it.
  TensorView sum(int index) const { return sums_[index]; }
  // Forgets everything that was folded.
  void Clear();
  // Call after the sums have been used up (AdamW clears the tensors): scalars and flags too.
  void ClearScalars();

  int64_t num_bytes() const { return storage_.view().NumBytes(); }

 private:
  Ops& ops_;
  Stream& stream_;
  const int64_t limit_;   // of one contribution, so that their sum cannot overflow
  PooledTensor storage_;  // all sums, one after the other
  PooledTensor flag_;     // kI32 [1], set by Accumulate
  std::vector<TensorView> sums_;
  int64_t scalars_[kNumScalars + 1] = {};  // the last one counts ranks with a set flag
  bool overflowed_ = false;
};

}  // namespace liquid

#endif  // LIQUID_PARALLEL_GRADIENT_SUM_H_
