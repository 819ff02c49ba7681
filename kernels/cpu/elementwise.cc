#include <algorithm>
#include <cstddef>
#include <string>

#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/element_type.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/cpu/row_sums.h"

namespace liquid {
namespace {

constexpr int64_t kGrain = 16384;  // elements of a chunk

}  // namespace

void CpuOps::AddBias(TensorView inout, ConstTensorView bias) {
  const int64_t width = inout.shape.back();
  LIQUID_CHECK(bias.NumElements() == width);
  WithElementType(inout.dtype, [&](auto type) {
    using T = decltype(type);
    T* data = DataOf<T>(inout);
    const T* bias_data = DataOf<T>(bias);
    ParallelForRanges(inout.NumRows(), 32, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        loops_.Over(type).add(data + row * width, data + row * width, bias_data, width);
      }
    });
  });
}

void CpuOps::AddBiasBackward(TensorView dbias, ConstTensorView dout) {
  const int64_t width = dout.shape.back();
  LIQUID_CHECK(dbias.NumElements() == width);
  const RowSums sums(scratch_, dout.NumRows(), width);
  WithElementType(dout.dtype, [&](auto type) {
    using T = decltype(type);
    const T* data = DataOf<T>(dout);
    ParallelFor(sums.num_chunks(), [&](int64_t chunk) {
      loops_.Over(type).sum_rows(sums.Partial(chunk), data + sums.FirstRow(chunk) * width,
                                 sums.NumRows(chunk), width, width);
    });
  });
  sums.AddTo(dbias.f32(), loops_);
}

void CpuOps::Fill(TensorView out, float value) {
  WithElementType(out.dtype, [&](auto type) {
    using T = decltype(type);
    T* data = DataOf<T>(out);
    T element;
    loops_.Over(type).write(&element, &value, 1.0f, 1);
    ParallelForRanges(out.NumElements(), kGrain, [&](int64_t begin, int64_t end) {
      std::fill(data + begin, data + end, element);
    });
  });
}

void CpuOps::Copy(TensorView out, ConstTensorView x) {
  LIQUID_CHECK(out.NumElements() == x.NumElements());
  const auto each = [&](auto fn) { ParallelForRanges(x.NumElements(), kGrain, fn); };
  if (out.dtype == x.dtype) {
    const int size = SizeOf(x.dtype);
    each([&](int64_t begin, int64_t end) {
      std::copy_n(static_cast<const std::byte*>(x.data) + begin * size, (end - begin) * size,
                  static_cast<std::byte*>(out.data) + begin * size);
    });
  } else if (out.dtype == DType::kF32 && x.dtype == DType::kBF16) {
    each([&, to = out.f32(), in = DataOf<BFloat16>(x)](int64_t begin, int64_t end) {
      loops_.over_bf16.read(to + begin, in + begin, end - begin);
    });
  } else if (out.dtype == DType::kBF16 && x.dtype == DType::kF32) {
    each([&, to = DataOf<BFloat16>(out), in = x.f32()](int64_t begin, int64_t end) {
      loops_.over_bf16.write(to + begin, in + begin, 1.0f, end - begin);
    });
  } else if (out.dtype == DType::kF32 && x.dtype == DType::kF16) {
    const auto* in = static_cast<const uint16_t*>(x.data);
    each([to = out.f32(), in](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = HalfToFloat(in[i]);
    });
  } else {
    LIQUID_CHECK(false, "no copy from ", std::string(DTypeName(x.dtype)), " to ",
                 std::string(DTypeName(out.dtype)));
  }
}

void CpuOps::Add(TensorView out, ConstTensorView a, ConstTensorView b) {
  LIQUID_CHECK(out.NumElements() == a.NumElements() && a.NumElements() == b.NumElements());
  WithElementType(out.dtype, [&](auto type) {
    using T = decltype(type);
    T* out_data = DataOf<T>(out);
    const T* a_data = DataOf<T>(a);
    const T* b_data = DataOf<T>(b);
    ParallelForRanges(out.NumElements(), kGrain, [&](int64_t begin, int64_t end) {
      loops_.Over(type).add(out_data + begin, a_data + begin, b_data + begin, end - begin);
    });
  });
}

void CpuOps::Scale(TensorView out, ConstTensorView x, float factor) {
  LIQUID_CHECK(out.NumElements() == x.NumElements());
  WithElementType(out.dtype, [&](auto type) {
    using T = decltype(type);
    T* out_data = DataOf<T>(out);
    const T* x_data = DataOf<T>(x);
    ParallelForRanges(out.NumElements(), kGrain, [&](int64_t begin, int64_t end) {
      loops_.Over(type).scale(out_data + begin, x_data + begin, factor, end - begin);
    });
  });
}

void CpuOps::ScaleBy(TensorView out, ConstTensorView x, ConstTensorView factor) {
  LIQUID_CHECK(factor.NumElements() == 1 && factor.dtype == x.dtype);
  float value = 0;
  WithElementType(x.dtype, [&](auto type) {
    loops_.Over(type).read(&value, DataOf<decltype(type)>(factor), 1);
  });
  Scale(out, x, value);
}

}  // namespace liquid
