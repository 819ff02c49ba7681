#include "kernels/cpu/simd/functions.h"
#include "kernels/cpu/simd/transpose.h"
#include "kernels/cpu/simd/vector.h"

namespace liquid::LIQUID_ISA {
namespace {

template <typename T>
void Add(T* out, const T* a, const T* b, int64_t count) {
  ForVectors(count, [&](int64_t i, auto lanes) {
    lanes.Store(out + i, lanes.Load(a + i) + lanes.Load(b + i));
  });
}

template <typename T>
void Scale(T* out, const T* x, float factor, int64_t count) {
  ForVectors(count,
             [&](int64_t i, auto lanes) { lanes.Store(out + i, lanes.Load(x + i) * factor); });
}

template <typename T>
void Read(float* out, const T* x, int64_t count) {
  ForVectors(count, [&](int64_t i, auto lanes) { lanes.Store(out + i, lanes.Load(x + i)); });
}

template <typename To, typename From>
void Accumulate(To* out, const From* x, int64_t count) {
  ForVectors(count, [&](int64_t i, auto lanes) {
    lanes.Store(out + i, lanes.Load(out + i) + lanes.Load(x + i));
  });
}

template <typename T>
void Write(T* out, const float* x, float factor, int64_t count) {
  ForVectors(count,
             [&](int64_t i, auto lanes) { lanes.Store(out + i, lanes.Load(x + i) * factor); });
}

template <typename T>
void Rotate(T* out, const T* x, const float* cos, const float* sin, float sign, int64_t heads,
            int64_t width) {
  const int64_t half = width / 2;
  for (int64_t head = 0; head < heads; ++head) {
    const T* from = x + head * width;
    T* to = out + head * width;
    ForVectors(half, [&](int64_t i, auto lanes) {
      const F low = lanes.Load(from + i);
      const F high = lanes.Load(from + i + half);
      const F c = lanes.Load(cos + i);
      const F s = lanes.Load(sin + i) * sign;
      lanes.Store(to + i, low * c - high * s);
      lanes.Store(to + i + half, high * c + low * s);
    });
  }
}

template <typename T>
void SumRows(float* out, const T* x, int64_t rows, int64_t width, int64_t stride) {
  ForVectors(width, [&](int64_t i, auto lanes) {
    F sum = {};
    for (int64_t row = 0; row < rows; ++row) sum += lanes.Load(x + row * stride + i);
    lanes.Store(out + i, sum);
  });
}

}  // namespace

template <typename T>
void SetElementwise(LoopsOver<T>& loops) {
  loops.add = Add<T>;
  loops.scale = Scale<T>;
  loops.accumulate = Accumulate<T, T>;
  loops.read = Read<T>;
  loops.add_read = Accumulate<float, T>;
  loops.write = Write<T>;
  loops.add_write = Accumulate<T, float>;
  loops.rotate = Rotate<T>;
  loops.sum_rows = SumRows<T>;
}
template void SetElementwise(LoopsOver<float>&);
template void SetElementwise(LoopsOver<BFloat16>&);

void Transpose(float* out, int64_t out_stride, const float* in, int64_t in_stride, int64_t rows,
               int64_t columns) {
  TransposeBlock(out, out_stride, in, in_stride, rows, columns);
}

}  // namespace liquid::LIQUID_ISA
