// Vectors of the width that this file is compiled for, and what the loops in this folder share.
//
// The .cc files of this folder are compiled once per instruction set (kernels/CMakeLists.txt), each
// time with LIQUID_VECTOR_BYTES and LIQUID_ISA, the namespace, set accordingly; kernels/cpu/simd/
// loops.h chooses at run time. So that no function compiled for a newer machine can be linked into
// code for an older one, they include nothing that has inline functions of its own.
#ifndef LIQUID_KERNELS_CPU_SIMD_VECTOR_H_
#define LIQUID_KERNELS_CPU_SIMD_VECTOR_H_

#include <stddef.h>
#include <stdint.h>

#include "tensor/bfloat16.h"

namespace liquid::LIQUID_ISA {
namespace {

using F = float __attribute__((vector_size(LIQUID_VECTOR_BYTES)));
using I = int32_t __attribute__((vector_size(LIQUID_VECTOR_BYTES)));
using U = uint32_t __attribute__((vector_size(LIQUID_VECTOR_BYTES)));
using H = uint16_t __attribute__((vector_size(LIQUID_VECTOR_BYTES / 2)));
using D = double __attribute__((vector_size(LIQUID_VECTOR_BYTES)));
constexpr int64_t kLanes = LIQUID_VECTOR_BYTES / 4;
constexpr int64_t kDoubleLanes = LIQUID_VECTOR_BYTES / 8;

inline int64_t Min(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t Max(int64_t a, int64_t b) { return a > b ? a : b; }

inline F Load(const float* p) {
  F v;
  __builtin_memcpy(&v, p, sizeof(v));
  return v;
}
inline void Store(float* p, F v) { __builtin_memcpy(p, &v, sizeof(v)); }

// bfloat16 in memory, float in registers. Rounds to nearest, ties to even; NaN stays NaN.
inline F Widen(H v) { return reinterpret_cast<F>(__builtin_convertvector(v, U) << 16); }
inline H Narrow(F v) {
  const U bits = reinterpret_cast<U>(v);
  const U rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
  return __builtin_convertvector(v == v ? rounded : (bits >> 16) | 0x40u, H);
}
inline F Load(const BFloat16* p) {
  H v;
  __builtin_memcpy(&v, p, sizeof(v));
  return Widen(v);
}
inline void Store(BFloat16* p, F v) {
  const H narrow = Narrow(v);
  __builtin_memcpy(p, &narrow, sizeof(narrow));
}
inline F Set(float x) { return x - F{}; }  // x + F{} would be an addition: it changes -0
inline F Maximum(F a, F b) { return a > b ? a : b; }
inline F Minimum(F a, F b) { return a < b ? a : b; }

// How a loop touches memory: whole vectors, then a last one of which `count` lanes exist; the
// others read as zero.
struct WholeVector {
  F Load(const float* p) const { return LIQUID_ISA::Load(p); }
  void Store(float* p, F v) const { LIQUID_ISA::Store(p, v); }
  F Load(const BFloat16* p) const { return LIQUID_ISA::Load(p); }
  void Store(BFloat16* p, F v) const { LIQUID_ISA::Store(p, v); }
  F Masked(float x) const { return Set(x); }  // x in the lanes that exist, 0 in the others
};
struct PartOfVector {
  int64_t count;
  F Load(const float* p) const {
    F v = {};
    __builtin_memcpy(&v, p, static_cast<size_t>(count) * sizeof(float));
    return v;
  }
  void Store(float* p, F v) const {
    __builtin_memcpy(p, &v, static_cast<size_t>(count) * sizeof(float));
  }
  F Load(const BFloat16* p) const {
    H v = {};
    __builtin_memcpy(&v, p, static_cast<size_t>(count) * sizeof(BFloat16));
    return Widen(v);
  }
  void Store(BFloat16* p, F v) const {
    const H narrow = Narrow(v);
    __builtin_memcpy(p, &narrow, static_cast<size_t>(count) * sizeof(BFloat16));
  }
  F Masked(float x) const {
    F v = {};
    for (int64_t i = 0; i < count; ++i) v[i] = x;
    return v;
  }
};

// Calls fn(i, lanes) for the vectors that start at element i of `count`.
template <typename Fn>
inline __attribute__((always_inline)) void ForVectors(int64_t count, const Fn& fn) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) fn(i, WholeVector{});
  if (i < count) fn(i, PartOfVector{count - i});
}

// The lanes added or compared pairwise, always in the same order.
inline float SumOfLanes(F v) {
  float lanes[kLanes];
  Store(lanes, v);
  for (int64_t width = kLanes / 2; width > 0; width /= 2) {
    for (int64_t i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}
inline float MaximumOfLanes(F v) {
  float lanes[kLanes];
  Store(lanes, v);
  for (int64_t width = kLanes / 2; width > 0; width /= 2) {
    for (int64_t i = 0; i < width; ++i) {
      lanes[i] = lanes[i] > lanes[i + width] ? lanes[i] : lanes[i + width];
    }
  }
  return lanes[0];
}

// e^x within 2 units in the last place; 0 below -87.3, about 3e38 above 88.7.
// x = n ln 2 + r with |r| <= ln(2)/2; the polynomial for e^r is that of Moshier's Cephes library.
inline F Exp(F x) {
  constexpr float kLowest = -87.33f;
  constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23: adding it leaves round(x) in the low bits
  const F bounded = Minimum(Maximum(x, Set(kLowest)), Set(88.72f));
  const F shifted = bounded * 1.44269504088896341f + kRounder;
  const F n = shifted - kRounder;
  const F r = bounded - n * 0.693359375f - n * -2.12194440e-4f;
  F p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const I scaled = reinterpret_cast<I>(p) + (reinterpret_cast<I>(shifted) << 23);
  return x < Set(kLowest) ? F{} : reinterpret_cast<F>(scaled);
}

}  // namespace
}  // namespace liquid::LIQUID_ISA

#endif  // LIQUID_KERNELS_CPU_SIMD_VECTOR_H_
