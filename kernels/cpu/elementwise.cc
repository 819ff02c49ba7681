#include <algorithm>
#include <cstddef>
#include <string>

#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/cpu/row_sums.h"

namespace liquid {
namespace {

constexpr int64_t kGrain = 16384;  // elements of a chunk: 64 KiB

}  // namespace

void CpuOps::AddBias(TensorView inout, ConstTensorView bias) {
  const int64_t width = inout.shape.back();
  LIQUID_CHECK(bias.NumElements() == width);
  float* data = inout.f32();
  const float* bias_data = bias.f32();
  ParallelForRanges(inout.NumRows(), 32, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      loops_.add(data + row * width, data + row * width, bias_data, width);
    }
  });
}

void CpuOps::AddBiasBackward(TensorView dbias, ConstTensorView dout) {
  const int64_t width = dout.shape.back();
  LIQUID_CHECK(dbias.NumElements() == width);
  const float* data = dout.f32();
  const RowSums sums(scratch_, dout.NumRows(), width);
  ParallelFor(sums.num_chunks(), [&](int64_t chunk) {
    loops_.sum_rows(sums.Partial(chunk), data + sums.FirstRow(chunk) * width, sums.NumRows(chunk),
                    width, width);
  });
  sums.AddTo(dbias.f32(), loops_);
}

void CpuOps::Fill(TensorView out, float value) {
  float* data = out.f32();
  ParallelForRanges(out.NumElements(), kGrain, [&](int64_t begin, int64_t end) {
    std::fill(data + begin, data + end, value);
  });
}

void CpuOps::Copy(TensorView out, ConstTensorView x) {
  LIQUID_CHECK(out.NumElements() == x.NumElements());
  const auto each = [&](auto fn) {
    ParallelForRanges(x.NumElements(), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) fn(i);
    });
  };
  if (out.dtype == x.dtype) {
    const int size = SizeOf(x.dtype);
    ParallelForRanges(x.NumElements(), kGrain, [&](int64_t begin, int64_t end) {
      std::copy_n(static_cast<const std::byte*>(x.data) + begin * size, (end - begin) * size,
                  static_cast<std::byte*>(out.data) + begin * size);
    });
  } else if (out.dtype == DType::kF32 && x.dtype == DType::kBF16) {
    const auto* in = static_cast<const BFloat16*>(x.data);
    each([to = out.f32(), in](int64_t i) { to[i] = ToFloat(in[i]); });
  } else if (out.dtype == DType::kBF16 && x.dtype == DType::kF32) {
    auto* to = static_cast<BFloat16*>(out.data);
    each([to, in = x.f32()](int64_t i) { to[i] = ToBFloat16(in[i]); });
  } else if (out.dtype == DType::kF32 && x.dtype == DType::kF16) {
    const auto* in = static_cast<const uint16_t*>(x.data);
    each([to = out.f32(), in](int64_t i) { to[i] = HalfToFloat(in[i]); });
  } else {
    LIQUID_CHECK(false, "no copy from ", std::string(DTypeName(x.dtype)), " to ",
                 std::string(DTypeName(out.dtype)));
  }
}

void CpuOps::Add(TensorView out, ConstTensorView a, ConstTensorView b) {
  LIQUID_CHECK(out.NumElements() == a.NumElements() && a.NumElements() == b.NumElements());
  float* out_data = out.f32();
  const float* a_data = a.f32();
  const float* b_data = b.f32();
  ParallelForRanges(out.NumElements(), kGrain, [&](int64_t begin, int64_t end) {
    loops_.add(out_data + begin, a_data + begin, b_data + begin, end - begin);
  });
}

void CpuOps::Scale(TensorView out, ConstTensorView x, float factor) {
  LIQUID_CHECK(out.NumElements() == x.NumElements());
  float* out_data = out.f32();
  const float* x_data = x.f32();
  ParallelForRanges(out.NumElements(), kGrain, [&](int64_t begin, int64_t end) {
    loops_.scale(out_data + begin, x_data + begin, factor, end - begin);
  });
}

}  // namespace liquid
