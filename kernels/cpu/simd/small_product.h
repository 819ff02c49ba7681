// Products of small matrices that lie in the nearest caches, for attention.
#ifndef LIQUID_KERNELS_CPU_SIMD_SMALL_PRODUCT_H_
#define LIQUID_KERNELS_CPU_SIMD_SMALL_PRODUCT_H_

#include "kernels/cpu/simd/vector.h"

namespace liquid::LIQUID_ISA {
namespace {

// Registers that a tile of the result may fill: 6 x 4 of 32, or 6 x 2 of 16.
constexpr int kTileRows = 6;
constexpr int kTileVectors = kLanes == 16 ? 4 : 2;

// Element (row, k) of the left matrix, in either order of storage.
struct LeftMatrix {
  const float* data;
  int64_t row_stride;
  int64_t k_stride;
};

template <int kRows, int kVectors>
inline __attribute__((always_inline)) void ProductTile(float* out, int64_t out_stride, LeftMatrix a,
                                                       const float* b, int64_t b_stride,
                                                       int64_t k_count, bool accumulate) {
  F sums[kRows][kVectors] = {};
  for (int64_t k = 0; k < k_count; ++k) {
    F right[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) right[v] = Load(b + k * b_stride + v * kLanes);
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      const F left = Set(a.data[r * a.row_stride + k * a.k_stride]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[r][v] += left * right[v];
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      float* at = out + r * out_stride + v * kLanes;
      Store(at, accumulate ? Load(at) + sums[r][v] : sums[r][v]);
    }
  }
}

template <int kVectors>
void ProductColumns(float* out, int64_t out_stride, LeftMatrix a, const float* b, int64_t b_stride,
                    int64_t rows, int64_t k_count, bool accumulate) {
  int64_t row = 0;
  const auto tile = [&]<int kRows>() {
    const LeftMatrix from = {a.data + row * a.row_stride, a.row_stride, a.k_stride};
    ProductTile<kRows, kVectors>(out + row * out_stride, out_stride, from, b, b_stride, k_count,
                                 accumulate);
    row += kRows;
  };
  while (row + kTileRows <= rows) tile.template operator()<kTileRows>();
  if (row + 4 <= rows) tile.template operator()<4>();
  if (row + 2 <= rows) tile.template operator()<2>();
  if (row < rows) tile.template operator()<1>();
}

// out [rows,columns] = (or, if accumulate, +=) a [rows,k_count] b [k_count,columns];
// columns a multiple of 16.
inline void SmallProduct(float* out, int64_t out_stride, LeftMatrix a, const float* b,
                         int64_t b_stride, int64_t rows, int64_t columns, int64_t k_count,
                         bool accumulate) {
  int64_t column = 0;
  const auto strip = [&]<int kVectors>() {
    ProductColumns<kVectors>(out + column, out_stride, a, b + column, b_stride, rows, k_count,
                             accumulate);
    column += kVectors * kLanes;
  };
  while (column + kTileVectors * kLanes <= columns) strip.template operator()<kTileVectors>();
  if constexpr (kTileVectors > 2) {
    if (column + 2 * kLanes <= columns) strip.template operator()<2>();
  }
  if (column < columns) strip.template operator()<1>();
}

}  // namespace
}  // namespace liquid::LIQUID_ISA

#endif  // LIQUID_KERNELS_CPU_SIMD_SMALL_PRODUCT_H_
