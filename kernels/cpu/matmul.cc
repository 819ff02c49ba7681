#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/cpu/sgemm.h"

namespace liquid {
namespace {

// The result is cut into tiles by its shape alone; their sizes were measured
// (bench/results/kernels_cpu_*.md). So was this: with many rows a transposed right operand is
// faster transposed by us, once, than packed by oneDNN for each tile.
constexpr int64_t kTileColumns = 192;
constexpr int64_t kTileRows = 256;
constexpr int64_t kLeastRowsToPack = 192;
constexpr int64_t kLeastTiles = 12;  // fewer leave threads idle: divisible by 2, 3, 4
constexpr int64_t kLeastTileRows = 96;

int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The length of the parts if `extent` is cut into about `parts` equal ones, in
// whole vectors.
int64_t PartLength(int64_t extent, int64_t parts) {
  return CeilDivide(CeilDivide(extent, parts), 16) * 16;
}

// panels [tiles,K,tile_columns] = the transpose of b [N,K], tile by tile.
void PackPanels(float* panels, const Operand& b, int64_t n, int64_t k, int64_t tile_columns,
                const SimdLoops& loops) {
  constexpr int64_t kSlice = 128;  // of K
  const int64_t slices = CeilDivide(k, kSlice);
  ParallelFor(CeilDivide(n, tile_columns) * slices, [&](int64_t task) {
    const int64_t column = task / slices * tile_columns;
    const int64_t at = task % slices * kSlice;
    loops.transpose(panels + column * k + at * tile_columns, tile_columns,
                    b.data + column * b.stride + at, b.stride, std::min(tile_columns, n - column),
                    std::min(kSlice, k - at));
  });
}

}  // namespace

void CpuOps::MatMul(TensorView out, ConstTensorView a, ConstTensorView b, MatMulOptions options) {
  LIQUID_CHECK(out.shape.rank() == 2 && a.shape.rank() == 2 && b.shape.rank() == 2);
  const int64_t m = out.shape[0];
  const int64_t n = out.shape[1];
  const int64_t k = a.shape[options.transpose_a ? 0 : 1];
  LIQUID_CHECK(a.shape[options.transpose_a ? 1 : 0] == m, a.shape.ToString());
  LIQUID_CHECK(b.shape[options.transpose_b ? 1 : 0] == k, b.shape.ToString());
  LIQUID_CHECK(b.shape[options.transpose_b ? 0 : 1] == n, b.shape.ToString());
  if (m == 0 || n == 0) return;
  const Operand left = {a.f32(), a.shape[1], options.transpose_a};
  const Operand right = {b.f32(), b.shape[1], options.transpose_b};
  float* data = out.f32();
  int64_t row_tiles = CeilDivide(m, kTileRows);
  int64_t column_tiles = CeilDivide(n, kTileColumns);
  const int64_t more = CeilDivide(kLeastTiles, row_tiles * column_tiles);
  row_tiles = std::min(row_tiles * more, std::max(row_tiles, m / kLeastTileRows));
  const int64_t tile_rows = PartLength(m, row_tiles);
  const int64_t tile_columns = PartLength(n, column_tiles);
  row_tiles = CeilDivide(m, tile_rows);
  column_tiles = CeilDivide(n, tile_columns);
  const bool pack = options.transpose_b && m >= kLeastRowsToPack;
  const PooledTensor panels =
      pack ? scratch_.AllocateF32({column_tiles, k, tile_columns}) : PooledTensor();
  if (pack) PackPanels(panels.view().f32(), right, n, k, tile_columns, loops_);
  ParallelFor(row_tiles * column_tiles, [&](int64_t tile) {
    const int64_t row = tile / column_tiles * tile_rows;
    const int64_t column = tile % column_tiles * tile_columns;
    const Operand panel =
        pack ? Operand{panels.view().f32() + column * k, tile_columns} : right.At(0, column);
    Sgemm(data + row * n + column, n, left.At(row, 0), panel,
          {std::min(tile_rows, m - row), std::min(tile_columns, n - column), k},
          options.accumulate);
  });
}

}  // namespace liquid
