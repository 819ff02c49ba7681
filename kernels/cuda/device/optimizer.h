// Sums of gradients, their norm, and the update: what they mean is in kernels/ops.h.
#ifndef LIQUID_KERNELS_CUDA_DEVICE_OPTIMIZER_H_
#define LIQUID_KERNELS_CUDA_DEVICE_OPTIMIZER_H_

#include <cstdint>

#include "kernels/adamw_coefficients.h"
#include "kernels/cuda/device/element.h"

namespace liquid::cuda {

// sum [count] += llrint(gradient * 2^50), clamped to +-limit. `bound`: the largest float whose
// fixed point does not exceed `limit`. *flag = 1 if an element was beyond it or not finite.
cudaError_t AccumulateFixed(cudaStream_t stream, int64_t* sum, const float* gradient, int64_t limit,
                            float bound, int32_t* flag, int64_t count);
// A plain sum; *flag = 1 if an element is not finite.
cudaError_t AccumulateFloat(cudaStream_t stream, float* sum, const float* gradient, int32_t* flag,
                            int64_t count);

// Elements of a chunk, which one warp sums: each lane every 32nd, then the lanes by a tree.
inline constexpr int64_t kSquaresChunk = 1024;
// chunks [ceil(count/1024)] = sums of squares of x: floats, or fixed point rounded to floats.
cudaError_t SumOfSquaresFixed(cudaStream_t stream, double* chunks, const int64_t* x, int64_t count);
cudaError_t SumOfSquaresFloat(cudaStream_t stream, double* chunks, const float* x, int64_t count);

// Clears the sums.
cudaError_t AdamWFixed(cudaStream_t stream, float* weight, float* exp_avg, float* exp_avg_sq,
                       int64_t* sum, const AdamWCoefficients& coefficients, int64_t count);
cudaError_t AdamWFloat(cudaStream_t stream, float* weight, float* exp_avg, float* exp_avg_sq,
                       float* sum, const AdamWCoefficients& coefficients, int64_t count);

}  // namespace liquid::cuda

#endif  // LIQUID_KERNELS_CUDA_DEVICE_OPTIMIZER_H_
