#include <dnnl.h>

#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel_for.h"

namespace liquid {
namespace {

constexpr int64_t kTileRows = 256;
constexpr int64_t kTileColumns = 192;

}  // namespace

void CpuOps::MatMul(TensorView out, ConstTensorView a, ConstTensorView b, MatMulOptions options) {
  LIQUID_CHECK(out.shape.rank() == 2 && a.shape.rank() == 2 && b.shape.rank() == 2);
  const int64_t m = out.shape[0];
  const int64_t n = out.shape[1];
  const int64_t k = a.shape[options.transpose_a ? 0 : 1];
  LIQUID_CHECK(a.shape[options.transpose_a ? 1 : 0] == m, a.shape.ToString());
  LIQUID_CHECK(b.shape[options.transpose_b ? 1 : 0] == k, b.shape.ToString());
  LIQUID_CHECK(b.shape[options.transpose_b ? 0 : 1] == n, b.shape.ToString());
  float* out_data = out.f32();
  const float* a_data = a.f32();
  const float* b_data = b.f32();
  const int64_t row_tiles = (m + kTileRows - 1) / kTileRows;
  const int64_t column_tiles = (n + kTileColumns - 1) / kTileColumns;
  ParallelFor(row_tiles * column_tiles, [&](int64_t tile) {
    const int64_t row = tile / column_tiles * kTileRows;
    const int64_t column = tile % column_tiles * kTileColumns;
    const int64_t rows = std::min(kTileRows, m - row);
    const int64_t columns = std::min(kTileColumns, n - column);
    const float* a_tile = a_data + (options.transpose_a ? row : row * k);
    const float* b_tile = b_data + (options.transpose_b ? column * k : column);
    const dnnl_status_t status = dnnl_sgemm(
        options.transpose_a ? 'T' : 'N', options.transpose_b ? 'T' : 'N', rows, columns, k, 1.0f,
        a_tile, options.transpose_a ? m : k, b_tile, options.transpose_b ? k : n,
        options.accumulate ? 1.0f : 0.0f, out_data + row * n + column, n);
    LIQUID_CHECK(status == dnnl_success, "dnnl_sgemm: ", status);
  });
}

}  // namespace liquid
