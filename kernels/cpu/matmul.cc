#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/element_type.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/parallel_for.h"

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
void PackPanels(float* panels, const Operand<float>& b, int64_t n, int64_t k, int64_t tile_columns,
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

// How a result is cut.
struct Tiles {
  Tiles(int64_t m, int64_t n) {
    row_tiles = CeilDivide(m, kTileRows);
    column_tiles = CeilDivide(n, kTileColumns);
    const int64_t more = CeilDivide(kLeastTiles, row_tiles * column_tiles);
    row_tiles = std::min(row_tiles * more, std::max(row_tiles, m / kLeastTileRows));
    tile_rows = PartLength(m, row_tiles);
    tile_columns = PartLength(n, column_tiles);
    row_tiles = CeilDivide(m, tile_rows);
    column_tiles = CeilDivide(n, tile_columns);
  }

  int64_t row_tiles;
  int64_t column_tiles;
  int64_t tile_rows;
  int64_t tile_columns;
};

// A transposed right operand in panels; nothing if it is to be used as it is.
PooledTensor PackIfFaster(TensorPool& scratch, const Operand<float>& right, int64_t m, int64_t n,
                          int64_t k, const Tiles& tiles, const SimdLoops& loops) {
  if (!right.transposed || m < kLeastRowsToPack) return PooledTensor();
  PooledTensor panels = scratch.AllocateF32({tiles.column_tiles, k, tiles.tile_columns});
  PackPanels(panels.view().f32(), right, n, k, tiles.tile_columns, loops);
  return panels;
}
PooledTensor PackIfFaster(TensorPool&, const Operand<BFloat16>&, int64_t, int64_t, int64_t,
                          const Tiles&, const SimdLoops&) {
  return PooledTensor();
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
  if (a.dtype == DType::kF32) return Product<float>(out, a, b, options);
  if (has_bf16_products_) return Product<BFloat16>(out, a, b, options);
  const PooledTensor left = scratch_.AllocateF32(a.shape);
  const PooledTensor right = scratch_.AllocateF32(b.shape);
  Copy(left.view(), a);
  Copy(right.view(), b);
  Product<float>(out, left.view(), right.view(), options);
}

template <typename T>
void CpuOps::Product(const TensorView& out, const ConstTensorView& a, const ConstTensorView& b,
                     MatMulOptions options) {
  const int64_t m = out.shape[0];
  const int64_t n = out.shape[1];
  const int64_t k = a.shape[options.transpose_a ? 0 : 1];
  const Operand<T> left = {DataOf<T>(a), a.shape[1], options.transpose_a};
  const Operand<T> right = {DataOf<T>(b), b.shape[1], options.transpose_b};
  const Tiles tiles(m, n);
  const PooledTensor panels = PackIfFaster(scratch_, right, m, n, k, tiles, loops_);
  const bool is_rounded = out.dtype == DType::kBF16;
  const int64_t tile_size = is_rounded ? tiles.tile_rows * tiles.tile_columns : 0;
  const PooledTensor sums = scratch_.AllocateF32({MaxThreads(), tile_size});
  ParallelFor(tiles.row_tiles * tiles.column_tiles, [&](int64_t tile) {
    const int64_t row = tile / tiles.column_tiles * tiles.tile_rows;
    const int64_t column = tile % tiles.column_tiles * tiles.tile_columns;
    Operand<T> panel = right.At(0, column);
    if (panels) {
      panel = {static_cast<const T*>(panels.view().data) + column * k, tiles.tile_columns};
    }
    const ProductShape shape = {std::min(tiles.tile_rows, m - row),
                                std::min(tiles.tile_columns, n - column), k};
    if (!is_rounded) {
      float* to = out.f32() + row * n + column;
      return Gemm(to, n, left.At(row, 0), panel, shape, options.accumulate);
    }
    float* sum = sums.view().f32() + ThreadIndex() * tile_size;
    Gemm(sum, tiles.tile_columns, left.At(row, 0), panel, shape, false);
    for (int64_t r = 0; r < shape.rows; ++r) {
      BFloat16* to = DataOf<BFloat16>(out) + (row + r) * n + column;
      const float* from = sum + r * tiles.tile_columns;
      if (options.accumulate) {
        loops_.over_bf16.add_write(to, from, shape.columns);
      } else {
        loops_.over_bf16.write(to, from, 1.0f, shape.columns);
      }
    }
  });
}

}  // namespace liquid
