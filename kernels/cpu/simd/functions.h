// The functions behind SimdLoops (kernels/cpu/simd/loops.h), of one instruction set.
#ifndef LIQUID_KERNELS_CPU_SIMD_FUNCTIONS_H_
#define LIQUID_KERNELS_CPU_SIMD_FUNCTIONS_H_

#include "kernels/cpu/simd/loops.h"

namespace liquid::LIQUID_ISA {

// kernels/cpu/simd/elementwise.cc
void Add(float* out, const float* a, const float* b, int64_t count);
void Scale(float* out, const float* x, float factor, int64_t count);
void Rotate(float* out, const float* x, const float* cos, const float* sin, float sign,
            int64_t heads, int64_t width);
void SumRows(float* out, const float* x, int64_t rows, int64_t width, int64_t stride);
void Transpose(float* out, int64_t out_stride, const float* in, int64_t in_stride, int64_t rows,
               int64_t columns);

// kernels/cpu/simd/activation.cc
void Activate(float* out, const float* x, int64_t count, bool gelu);
void ActivateBackward(float* dx, const float* dout, const float* x, int64_t count, bool gelu);
void GatedActivate(float* out, const float* gate, const float* up, int64_t count, bool gelu);
void GatedActivateBackward(float* dgate, float* dup, const float* dout, const float* gate,
                           const float* up, int64_t count, bool gelu);

// kernels/cpu/simd/norm.cc
void RmsNorm(float* out, float* rstd, const float* x, const float* weight, float eps, float offset,
             int64_t rows, int64_t width);
void RmsNormBackward(float* dx, float* dweight, const float* dout, const float* x,
                     const float* weight, const float* rstd, float offset, int64_t rows,
                     int64_t width);
void LayerNorm(float* out, float* mean, float* rstd, const float* x, const float* weight,
               const float* bias, float eps, int64_t rows, int64_t width);
void LayerNormBackward(float* dx, float* dweight, float* dbias, const float* dout, const float* x,
                       const float* weight, const float* mean, const float* rstd, int64_t rows,
                       int64_t width);

// kernels/cpu/simd/cross_entropy.cc
float SoftmaxTerms(float* x, float* top, int64_t count);

// kernels/cpu/simd/attention.cc
void Attention(const AttentionTile& tile, const AttentionKeys& keys, float* workspace);
void AttentionBackward(const AttentionGradientTile& tile, const AttentionKeys& keys,
                       float* workspace);

// kernels/cpu/simd/optimizer.cc
bool AccumulateFixed(int64_t* __restrict sum, const float* __restrict gradient, int64_t limit,
                     int64_t count);
bool AccumulateFloat(float* __restrict sum, const float* __restrict gradient, int64_t count);
double SumOfSquaresFixed(const int64_t* x, int64_t count);
double SumOfSquaresFloat(const float* x, int64_t count);
void AdamWFixed(float* __restrict weight, float* __restrict exp_avg, float* __restrict exp_avg_sq,
                int64_t* __restrict sum, const AdamWCoefficients& c, int64_t count);
void AdamWFloat(float* __restrict weight, float* __restrict exp_avg, float* __restrict exp_avg_sq,
                float* __restrict sum, const AdamWCoefficients& c, int64_t count);

// All of them. kernels/cpu/simd/table.cc
const SimdLoops& Loops();

}  // namespace liquid::LIQUID_ISA

#endif  // LIQUID_KERNELS_CPU_SIMD_FUNCTIONS_H_
