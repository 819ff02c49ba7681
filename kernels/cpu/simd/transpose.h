// Transposition in squares of registers.
#ifndef LIQUID_KERNELS_CPU_SIMD_TRANSPOSE_H_
#define LIQUID_KERNELS_CPU_SIMD_TRANSPOSE_H_

#include "kernels/cpu/simd/vector.h"

namespace liquid::LIQUID_ISA {
namespace {

// Swaps, between rows that are `kStep` apart, the lanes that belong to the other.
template <int kStep>
inline __attribute__((always_inline)) void ExchangeLanes(F* rows) {
  I low;
  I high;
#pragma GCC unroll 16
  for (int j = 0; j < kLanes; ++j) {
    const bool other = (j & kStep) != 0;
    low[j] = static_cast<int32_t>(other ? kLanes + j - kStep : j);
    high[j] = static_cast<int32_t>(other ? kLanes + j : j + kStep);
  }
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if ((i & kStep) != 0) continue;
    const F a = rows[i];
    const F b = rows[i + kStep];
    rows[i] = __builtin_shuffle(a, b, low);
    rows[i + kStep] = __builtin_shuffle(a, b, high);
  }
}

inline void TransposeSquare(float* out, int64_t out_stride, const float* in, int64_t in_stride) {
  F rows[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) rows[i] = Load(in + i * in_stride);
  ExchangeLanes<1>(rows);
  ExchangeLanes<2>(rows);
  ExchangeLanes<4>(rows);
  if constexpr (kLanes > 8) ExchangeLanes<8>(rows);
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) Store(out + i * out_stride, rows[i]);
}

// out [columns,rows] = the transpose of in [rows,columns].
inline void TransposeBlock(float* out, int64_t out_stride, const float* in, int64_t in_stride,
                           int64_t rows, int64_t columns) {
  for (int64_t c = 0; c < columns; c += kLanes) {
    for (int64_t r = 0; r < rows; r += kLanes) {
      const float* from = in + r * in_stride + c;
      float* to = out + c * out_stride + r;
      if (r + kLanes <= rows && c + kLanes <= columns) {
        TransposeSquare(to, out_stride, from, in_stride);
        continue;
      }
      for (int64_t i = 0; i < Min(kLanes, rows - r); ++i) {
        for (int64_t j = 0; j < Min(kLanes, columns - c); ++j) {
          to[j * out_stride + i] = from[i * in_stride + j];
        }
      }
    }
  }
}

}  // namespace
}  // namespace liquid::LIQUID_ISA

#endif  // LIQUID_KERNELS_CPU_SIMD_TRANSPOSE_H_
