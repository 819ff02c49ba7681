// Transposition in squares of registers.
#ifndef LIQUID_KERNELS_CPU_SIMD_TRANSPOSE_H_
#define LIQUID_KERNELS_CPU_SIMD_TRANSPOSE_H_

#include <cstddef>
#include <utility>

#include "kernels/cpu/simd/vector.h"

namespace liquid::LIQUID_ISA {
namespace {

// Lane by lane, in places without the bit kStep from `a`, in the others from `b`: the lanes whose
// own number has that bit (kHigh), or those that lack it.
template <int kStep, bool kHigh, size_t... kPlace>
inline __attribute__((always_inline)) F TakeLanes(F a, F b, std::index_sequence<kPlace...>) {
  return __builtin_shufflevector(a, b,
                                 ((kPlace & kStep) != 0 ? kLanes + kPlace - (kHigh ? 0 : kStep)
                                                        : kPlace + (kHigh ? kStep : 0))...);
}

// Swaps, between rows that are `kStep` apart, the lanes that belong to the other.
template <int kStep>
inline __attribute__((always_inline)) void ExchangeLanes(F* rows) {
  constexpr std::make_index_sequence<kLanes> kPlaces;
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if ((i & kStep) != 0) continue;
    const F a = rows[i];
    const F b = rows[i + kStep];
    rows[i] = TakeLanes<kStep, false>(a, b, kPlaces);
    rows[i + kStep] = TakeLanes<kStep, true>(a, b, kPlaces);
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
