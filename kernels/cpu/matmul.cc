#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/element_type.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/cpu/product_tiles.h"

namespace liquid {
namespace {

// panels [tiles,K,tile_columns] = the transpose of b [N,K], tile by tile.
void PackPanels(float* panels, const Operand<float>& b, int64_t n, int64_t k, int64_t tile_columns,
                const SimdLoops& loops) {
  constexpr int64_t kSlice = 128;  // of K
  const int64_t slices = ProductTiles::CeilDivide(k, kSlice);
  ParallelFor(ProductTiles::CeilDivide(n, tile_columns) * slices, [&](int64_t task) {
    const int64_t column = task / slices * tile_columns;
    const int64_t at = task % slices * kSlice;
    loops.transpose(panels + column * k + at * tile_columns, tile_columns,
                    b.data + column * b.stride + at, b.stride, std::min(tile_columns, n - column),
                    std::min(kSlice, k - at));
  });
}

// A transposed right operand in panels; nothing if it is to be used as it is.
PooledTensor PackIfFaster(TensorPool& scratch, const Operand<float>& right, int64_t m, int64_t n,
                          int64_t k, const ProductTiles& tiles, const SimdLoops& loops) {
  if (!right.transposed || m < ProductTiles::kLeastRowsToPack) return PooledTensor();
  PooledTensor panels = scratch.AllocateF32({tiles.column_tiles, k, tiles.tile_columns});
  PackPanels(panels.view().f32(), right, n, k, tiles.tile_columns, loops);
  return panels;
}
PooledTensor PackIfFaster(TensorPool&, const Operand<BFloat16>&, int64_t, int64_t, int64_t,
                          const ProductTiles&, const SimdLoops&) {
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
  const ProductTiles tiles(m, n);
  const PooledTensor panels = PackIfFaster(scratch_, right, m, n, k, tiles, loops_);
  const bool is_rounded = out.dtype == DType::kBF16;
  const int64_t tile_size = is_rounded ? tiles.tile_size() : 0;
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
