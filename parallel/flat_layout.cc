#include "parallel/flat_layout.h"

#include <algorithm>

#include "base/check.h"

namespace liquid {
namespace {

int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace

FlatLayout::FlatLayout(absl::Span<const Tensor> tensors, int num_slices) : num_slices_(num_slices) {
  LIQUID_CHECK(num_slices >= 1, num_slices);
  int64_t end = 0;
  for (const Tensor& tensor : tensors) {
    LIQUID_CHECK(tensor.size >= 0 && tensor.size <= tensor.reserved, tensor.size);
    sizes_.push_back(tensor.size);
    offsets_.push_back(end);
    end += RoundUp(tensor.reserved, kGrain);
  }
  total_ = RoundUp(end, kGrain * num_slices);
}

void FlatLayout::ForEachInSlice(
    int slice, absl::FunctionRef<void(int, int64_t, int64_t, int64_t)> visit) const {
  LIQUID_CHECK(slice >= 0 && slice < num_slices_, "slice ", slice, " of ", num_slices_);
  const int64_t first = slice * slice_size();
  for (int tensor = 0; tensor < num_tensors(); ++tensor) {
    const int64_t begin = std::max<int64_t>(first - offset(tensor), 0);
    const int64_t end = std::min(first + slice_size() - offset(tensor), size(tensor));
    if (begin < end) visit(tensor, begin, end, offset(tensor) + begin - first);
  }
}

void FlatLayout::ForEachSliceOf(
    int tensor, absl::FunctionRef<void(int, int64_t, int64_t, int64_t)> visit) const {
  int64_t begin = 0;
  while (begin < size(tensor)) {
    const int64_t slice = (offset(tensor) + begin) / slice_size();
    const int64_t offset_in_slice = (offset(tensor) + begin) % slice_size();
    const int64_t end = std::min(size(tensor), begin + slice_size() - offset_in_slice);
    visit(static_cast<int>(slice), begin, end, offset_in_slice);
    begin = end;
  }
}

TensorView Elements(const TensorView& flat, int64_t begin, int64_t end) {
  LIQUID_CHECK(begin >= 0 && begin <= end && end <= flat.NumElements(), begin, "..", end);
  return TensorView(static_cast<std::byte*>(flat.data) + begin * SizeOf(flat.dtype), flat.dtype,
                    {end - begin});
}

}  // namespace liquid
