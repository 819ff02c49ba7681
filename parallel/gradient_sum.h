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
  double scalar(int slot_of_scalar) const;  // after Combine, or all three calls
  static constexpr int kNumScalars = 4;

  // The sums over all ranks of the gang, on every rank, in place. Failures are latched in `gang`.
  void Combine(Communicator& gang);

  // The same over several gangs, in three calls; what this rank has folded is left as it is until
  // Clear(), so that a failed one can be made again, with more slots or other gangs. `rail`: the
  // ranks with this one's rank in all gangs. Failures are latched in the communicators.
  void CombineInGang(Communicator& gang);  // each rank has a slice of the gang's sum,
  void CombineAcross(Communicator& rail, int rank_in_gang, int gang_size);  // of all gangs' sums,
  void GatherInGang(Communicator& gang);                                    // and all slices

  // After Combine: true if any contribution on any rank was not finite or out of range.
  bool overflowed() const { return combined_scalars_[kNumScalars] != 0; }
  // Tensor `index`: kI64 (exact) or kF32 (fast), shape as given. For Ops::SumOfSquares and
  // Ops::AdamW.
  TensorView sum(int index) const { return is_across_ ? total_sums_[index] : sums_[index]; }
  // Forgets everything that was folded, and combined.
  void Clear();
  // The same after AdamW, which has cleared each sum().
  void ClearAfterUpdate();

  int64_t num_bytes() const { return storage_.view().NumBytes(); }

 private:
  void TakeFlag();
  void ZeroOwn();

  Ops& ops_;
  Stream& stream_;
  TensorPool& pool_;
  const int64_t limit_;   // of one contribution, so that their sum cannot overflow
  PooledTensor storage_;  // this rank's sums, one after the other
  PooledTensor total_;    // those of all gangs: made when there first are several
  PooledTensor flag_;     // kI32 [1], set by Accumulate
  std::vector<TensorView> sums_;
  std::vector<TensorView> total_sums_;
  bool is_across_ = false;                 // sum() is in total_
  int64_t scalars_[kNumScalars + 1] = {};  // the last one counts ranks with a set flag
  int64_t combined_scalars_[kNumScalars + 1] = {};
};

}  // namespace liquid

#endif  // LIQUID_PARALLEL_GRADIENT_SUM_H_
