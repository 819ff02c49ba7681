#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel_for.h"

namespace liquid {

void CpuOps::Embedding(TensorView out, const int32_t* ids, ConstTensorView table) {
  const int64_t width = table.shape.back();
  LIQUID_CHECK(out.shape.back() == width);
  float* out_data = out.f32();
  const float* table_data = table.f32();
  const int64_t vocabulary = table.shape[0];
  ParallelForRanges(out.NumRows(), 32, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      LIQUID_CHECK(ids[n] >= kElsewhere && ids[n] < vocabulary, "id ", ids[n]);
      if (ids[n] == kElsewhere) {
        std::fill_n(out_data + n * width, width, 0.0f);
        continue;
      }
      std::copy_n(table_data + ids[n] * width, width, out_data + n * width);
    }
  });
}

void CpuOps::EmbeddingBackward(TensorView dtable, const int32_t* ids, ConstTensorView dout) {
  const int64_t width = dtable.shape.back();
  LIQUID_CHECK(dout.shape.back() == width);
  float* dtable_data = dtable.f32();
  const float* dout_data = dout.f32();
  const int64_t rows = dout.NumRows();
  const int64_t vocabulary = dtable.shape[0];
  // By columns: rows of equal ids stay in order and no two threads write one
  // element.
  ParallelForRanges(width, 64, [&](int64_t begin, int64_t end) {
    for (int64_t n = 0; n < rows; ++n) {
      LIQUID_CHECK(ids[n] >= kElsewhere && ids[n] < vocabulary, "id ", ids[n]);
      if (ids[n] == kElsewhere) continue;
      float* to = dtable_data + ids[n] * width;
      const float* from = dout_data + n * width;
      for (int64_t d = begin; d < end; ++d) to[d] += from[d];
    }
  });
}

}  // namespace liquid
