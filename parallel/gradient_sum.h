// The sum of a step's gradients over all its slots, whoever computes them.
//
// exact: fixed point in int64 (kernels/ops.h, Accumulate). Integer sums are associative, so neither
// the order of slots, nor the split over ranks, nor the algorithm of a reduction changes a bit.
// fast: plain float sums, 4 bytes an element, without that promise.
#ifndef LIQUID_PARALLEL_GRADIENT_SUM_H_
#define LIQUID_PARALLEL_GRADIENT_SUM_H_

#include <cstdint>
#include <vector>

#include "kernels/ops.h"
#include "parallel/flat_layout.h"
#include "parallel/gang_mesh.h"
#include "parallel/overlapped_reduction.h"
#include "parallel/rail.h"
#include "tensor/pool.h"

namespace liquid {

enum class GradientSumKind { kExact, kFast };

// Each rank adds up what it computes; then it has the whole sum of the slice that it owns among the
// replicas of its gang: the slice of its number in `layout`. If the sum is sharded, a rank never
// holds more than its slice: each gradient goes to its owners as soon as it is there. Source:
// Rajbhandari et al. 2019, arXiv:1910.02054, section 5.2.
class GradientSum {
 public:
  struct Options {
    GradientSumKind kind = GradientSumKind::kExact;
    bool is_sharded = false;  // without effect on a gang of one replica
    // How many tensor ranks hold each part; the gradient of a part is the sum of what all of them
    // fold.
    std::vector<int> num_holders;
    int slots_per_step = 0;  // contributions in all
  };
  // What a sharded sum sends at a time; the most that it holds beside its slice.
  static constexpr int64_t kBucketElements = int64_t{1} << 20;
  // What a rank's sums take. `keeps`: CombineInGang is called so.
  static int64_t NumBytes(const Options& options, const FlatLayout& layout, bool keeps);

  // `layout`: of the parameters' parts that this rank holds, with a slice for each replica of
  // `mesh`. The sum starts at zero. The arguments must outlive this.
  GradientSum(Options options, const FlatLayout& layout, const GangMesh& mesh, Ops& ops,
              Stream& stream, TensorPool& pool);

  // Adds a slot's gradient of tensor `index`. If the sum is sharded this is collective among the
  // replicas: those that have none of that tensor call FoldNothing meanwhile.
  void Fold(int index, ConstTensorView gradient);
  void FoldNothing(int index);
  // Whether Fold only enqueues, and the same for the same tensor whenever it is called.
  bool only_enqueues() const { return !options_.is_sharded; }
  // Whether Close begins something.
  bool overlaps() const { return is_cut(); }

  // Collective among the replicas. As far as is known nothing more is folded into tensor `index`
  // before CombineInGang, which begins for it now, beside what follows. A guess: Reopen() takes it
  // back.
  void Close(int index);
  // Collective among the replicas. Something may be folded into any tensor.
  void Reopen() { early_.Cancel(); }

  // A scalar of this rank that becomes the sum over ranks: fixed point as the gradients,
  // |value| < 8192. Not finite: as a gradient that is not. Of the ranks of a replica one folds it.
  void FoldScalar(int slot_of_scalar, double value);
  double scalar(int slot_of_scalar) const;  // after the combination
  static constexpr int kNumScalars = 4;

  // Collective in the gang: the sums over all its ranks of the slice that each owns. Failures are
  // latched in the mesh's groups. If others follow (`keeps`), what this rank has folded is left as
  // it is until Clear(), so that a combination that failed can be made again, with more slots or
  // other gangs.
  void CombineInGang(bool keeps);
  // Then the same over several gangs; the first failure of the rail's groups, with which the other
  // one fails as well.
  absl::Status CombineAcross(const Rail& rail);

  // This rank's slice of the combined sums, [layout.slice_size()]: kI64 (exact) or kF32, as AdamW
  // and SumOfSquares take it.
  TensorView slice() const { return combined_; }
  // Not finite or out of range: on any rank, after the combination.
  bool overflowed() const { return combined_scalars_[kNumScalars] != 0; }

  // Zero again.
  void Clear();
  // The same when the update has already cleared the slice.
  void ClearAfterUpdate();

 private:
  void FoldToOwners(int index, const float* gradient);
  void TakeFlag();
  bool is_cut() const { return layout_.num_slices() > 1 && !options_.is_sharded; }
  void ZeroOwn();

  const Options options_;
  const FlatLayout& layout_;
  const GangMesh& mesh_;
  Ops& ops_;
  Stream& stream_;
  TensorPool& pool_;
  const int64_t limit_;                    // of an element of a contribution
  PooledTensor storage_;                   // [layout.total()], sharded: [layout.slice_size()]
  PooledTensor bucket_;                    // [kBucketElements], of a sharded one
  PooledTensor slice_storage_;             // [layout.slice_size()], when it is not all of storage_
  OverlappedReduction early_;              // of storage_ into slice_storage_, if it is cut
  TensorView combined_;                    // of one of them
  PooledTensor flag_;                      // int32
  int64_t scalars_[kNumScalars + 1] = {};  // the last one counts ranks with something not finite
  int64_t combined_scalars_[kNumScalars + 1] = {};
};

}  // namespace liquid

#endif  // LIQUID_PARALLEL_GRADIENT_SUM_H_
