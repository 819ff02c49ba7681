#include "parallel/tcp/slice.h"

#include <algorithm>

#include "base/check.h"

namespace liquid {
namespace {

constexpr int64_t kLine = 64;  // elements

}  // namespace

Slice SliceOf(int64_t num_elements, int rank, int size) {
  LIQUID_CHECK(num_elements >= 0 && rank >= 0 && rank < size, "slice ", rank, " of ", size);
  const int64_t num_lines = (num_elements + kLine - 1) / kLine;
  const auto bound = [&](int64_t r) {
    return std::min(num_lines * r / size * kLine, num_elements);
  };
  return {bound(rank), bound(rank + 1)};
}

TensorView SliceView(const TensorView& tensor, const Slice& slice) {
  return TensorView(static_cast<std::byte*>(tensor.data) + slice.begin * SizeOf(tensor.dtype),
                    tensor.dtype, {slice.end - slice.begin});
}

}  // namespace liquid
