// Sums over the rows of a matrix, in an order that its shape fixes: chunks of
// rows are summed on their own, by any thread, and the chunks' sums are then
// added in order.
#ifndef LIQUID_KERNELS_CPU_ROW_SUMS_H_
#define LIQUID_KERNELS_CPU_ROW_SUMS_H_

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/parallel_for.h"
#include "kernels/cpu/simd/loops.h"
#include "tensor/pool.h"

namespace liquid {

class RowSums {
 public:
  RowSums(TensorPool& scratch, int64_t rows, int64_t width)
      : rows_(rows),
        width_(width),
        num_chunks_((rows + kChunkRows - 1) / kChunkRows),
        partials_(scratch.AllocateF32({num_chunks_ + 1, width})) {}

  int64_t num_chunks() const { return num_chunks_; }
  int64_t FirstRow(int64_t chunk) const { return chunk * kChunkRows; }
  int64_t NumRows(int64_t chunk) const { return std::min(kChunkRows, rows_ - FirstRow(chunk)); }
  // [width]: the caller stores the chunk's sum here.
  float* Partial(int64_t chunk) const { return partials_.view().f32() + chunk * width_; }

  // out [width] += the sums of all chunks, which must have been stored.
  void AddTo(float* out, const SimdLoops& loops) const {
    float* total = Partial(num_chunks_);
    ParallelForRanges(width_, kColumns, [&](int64_t begin, int64_t end) {
      loops.over_f32.sum_rows(total + begin, Partial(0) + begin, num_chunks_, end - begin, width_);
      loops.over_f32.add(out + begin, out + begin, total + begin, end - begin);
    });
  }

 private:
  static constexpr int64_t kChunkRows = 64;
  static constexpr int64_t kColumns = 256;

  int64_t rows_;
  int64_t width_;
  int64_t num_chunks_;
  PooledTensor partials_;
};

}  // namespace liquid

#endif  // LIQUID_KERNELS_CPU_ROW_SUMS_H_
