// Where tensors lie in one flat array that is cut into equal slices, one for each rank of a group:
// so a reduction, an update and a gather work on the slice that a rank owns.
#ifndef LIQUID_PARALLEL_FLAT_LAYOUT_H_
#define LIQUID_PARALLEL_FLAT_LAYOUT_H_

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "tensor/tensor.h"

namespace liquid {

// Immutable. Offsets and sizes are in elements.
class FlatLayout {
 public:
  // Tensors and slices begin at multiples of it, so that no chunk of a norm (kNormChunk) is in two.
  static constexpr int64_t kGrain = 1024;

  struct Tensor {
    int64_t size;      // of this rank's part
    int64_t reserved;  // the largest of any rank's: offsets are the same on all
  };
  FlatLayout(absl::Span<const Tensor> tensors, int num_slices);

  int num_tensors() const { return static_cast<int>(sizes_.size()); }
  int num_slices() const { return num_slices_; }
  int64_t total() const { return total_; }
  int64_t slice_size() const { return total_ / num_slices_; }
  int64_t offset(int tensor) const { return offsets_[static_cast<size_t>(tensor)]; }
  int64_t size(int tensor) const { return sizes_[static_cast<size_t>(tensor)]; }

  // Calls `visit` for each tensor of which elements [begin, end) lie in slice `slice`, where the
  // first of them has `offset_in_slice`.
  void ForEachInSlice(
      int slice,
      absl::FunctionRef<void(int tensor, int64_t begin, int64_t end, int64_t offset_in_slice)>
          visit) const;

  // The other way: calls `visit` for each slice in which elements [begin, end) of `tensor` lie.
  void ForEachSliceOf(
      int tensor,
      absl::FunctionRef<void(int slice, int64_t begin, int64_t end, int64_t offset_in_slice)> visit)
      const;

 private:
  const int num_slices_;
  std::vector<int64_t> sizes_;
  std::vector<int64_t> offsets_;
  int64_t total_ = 0;
};

// Elements [begin, end) of `flat`, as [end - begin].
TensorView Elements(const TensorView& flat, int64_t begin, int64_t end);

}  // namespace liquid

#endif  // LIQUID_PARALLEL_FLAT_LAYOUT_H_
