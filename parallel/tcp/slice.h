// How a tensor is divided among the processes of a rail that reduce it together.
#ifndef LIQUID_PARALLEL_TCP_SLICE_H_
#define LIQUID_PARALLEL_TCP_SLICE_H_

#include <cstdint>

#include "tensor/tensor.h"

namespace liquid {

// The elements [begin, end) of a tensor of `num_elements` that are rank `rank`'s among `size`: as
// equal as can be in whole cache lines of 64 elements; the last slices may be empty.
struct Slice {
  int64_t begin;
  int64_t end;
};
Slice SliceOf(int64_t num_elements, int rank, int size);
TensorView SliceView(const TensorView& tensor, const Slice& slice);  // as [end - begin]

}  // namespace liquid

#endif  // LIQUID_PARALLEL_TCP_SLICE_H_
