#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/element_type.h"
#include "kernels/cpu/parallel_for.h"

namespace liquid {

void CpuOps::Embedding(TensorView out, const int32_t* ids, ConstTensorView table) {
  const int64_t width = table.shape.back();
  LIQUID_CHECK(out.shape.back() == width);
  const int64_t vocabulary = table.shape[0];
  WithElementType(table.dtype, [&](auto type) {
    using T = decltype(type);
    T* out_data = DataOf<T>(out);
    const T* table_data = DataOf<T>(table);
    ParallelForRanges(out.NumRows(), 32, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        LIQUID_CHECK(ids[n] >= kElsewhere && ids[n] < vocabulary, "id ", ids[n]);
        if (ids[n] == kElsewhere) {
          std::fill_n(out_data + n * width, width, T());
          continue;
        }
        std::copy_n(table_data + ids[n] * width, width, out_data + n * width);
      }
    });
  });
}

namespace {

// `add`(to, from, count): to += from.
template <typename To, typename From>
void AddRows(To* table, const From* rows, const int32_t* ids, int64_t num_rows, int64_t width,
             int64_t vocabulary, void (*add)(To* to, const From* from, int64_t count)) {
  // By columns: rows of equal ids stay in order and no two threads write one element.
  ParallelForRanges(width, 64, [&](int64_t begin, int64_t end) {
    for (int64_t n = 0; n < num_rows; ++n) {
      LIQUID_CHECK(ids[n] >= kElsewhere && ids[n] < vocabulary, "id ", ids[n]);
      if (ids[n] == kElsewhere) continue;
      add(table + ids[n] * width + begin, rows + n * width + begin, end - begin);
    }
  });
}

}  // namespace

void CpuOps::EmbeddingBackward(TensorView dtable, const int32_t* ids, ConstTensorView dout) {
  const int64_t width = dtable.shape.back();
  const int64_t rows = dout.NumRows();
  LIQUID_CHECK(dout.shape.back() == width);
  if (dtable.dtype == dout.dtype) {
    WithElementType(dout.dtype, [&](auto type) {
      using T = decltype(type);
      AddRows(DataOf<T>(dtable), DataOf<T>(dout), ids, rows, width, dtable.shape[0],
              loops_.Over(type).accumulate);
    });
  } else {
    AddRows(dtable.f32(), DataOf<BFloat16>(dout), ids, rows, width, dtable.shape[0],
            loops_.over_bf16.add_read);
  }
}

}  // namespace liquid
