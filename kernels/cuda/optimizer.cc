#include "kernels/cuda/device/optimizer.h"

#include <cmath>

#include "base/check.h"
#include "kernels/cuda/cuda_ops.h"

namespace liquid {
namespace {

static_assert(cuda::kSquaresChunk == kNormChunk);

// The largest float whose fixed point does not exceed `limit`.
float LargestWithin(int64_t limit) {
  const double one = std::ldexp(1.0, kFixedPointBits);
  const auto rounded = static_cast<float>(static_cast<double>(limit) / one);
  const bool fits = static_cast<int64_t>(static_cast<double>(rounded) * one) <= limit;
  return fits ? rounded : std::nextafterf(rounded, 0.0f);
}

int64_t* Fixed(const TensorView& sum) { return static_cast<int64_t*>(sum.data); }

}  // namespace

void CudaOps::Accumulate(TensorView sum, ConstTensorView gradient, int64_t limit, int32_t* flag) {
  const int64_t count = sum.NumElements();
  LIQUID_CHECK(gradient.NumElements() == count);
  if (sum.dtype == DType::kI64) {
    Latch(cuda::AccumulateFixed(stream_.native(), Fixed(sum), gradient.f32(), limit,
                                LargestWithin(limit), flag, count),
          "Accumulate");
  } else {
    Latch(cuda::AccumulateFloat(stream_.native(), sum.f32(), gradient.f32(), flag, count),
          "Accumulate");
  }
}

void CudaOps::SumOfSquares(TensorView chunks, ConstTensorView sum) {
  const int64_t count = sum.NumElements();
  LIQUID_CHECK(chunks.dtype == DType::kF64);
  LIQUID_CHECK(chunks.NumElements() == (count + kNormChunk - 1) / kNormChunk);
  auto* out = static_cast<double*>(chunks.data);
  if (sum.dtype == DType::kI64) {
    Latch(cuda::SumOfSquaresFixed(stream_.native(), out, static_cast<const int64_t*>(sum.data),
                                  count),
          "SumOfSquares");
  } else {
    Latch(cuda::SumOfSquaresFloat(stream_.native(), out, sum.f32(), count), "SumOfSquares");
  }
}

void CudaOps::AdamW(TensorView weight, TensorView exp_avg, TensorView exp_avg_sq, TensorView sum,
                    const AdamWOptions& options) {
  const int64_t count = weight.NumElements();
  LIQUID_CHECK(exp_avg.NumElements() == count && exp_avg_sq.NumElements() == count &&
               sum.NumElements() == count);
  const AdamWCoefficients coefficients = CoefficientsOf(options);
  if (sum.dtype == DType::kI64) {
    Latch(cuda::AdamWFixed(stream_.native(), weight.f32(), exp_avg.f32(), exp_avg_sq.f32(),
                           Fixed(sum), coefficients, count),
          "AdamW");
  } else {
    Latch(cuda::AdamWFloat(stream_.native(), weight.f32(), exp_avg.f32(), exp_avg_sq.f32(),
                           sum.f32(), coefficients, count),
          "AdamW");
  }
}

}  // namespace liquid
