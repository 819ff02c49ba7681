// The functions behind SimdLoops (kernels/cpu/simd/loops.h), of one instruction set.
#ifndef LIQUID_KERNELS_CPU_SIMD_FUNCTIONS_H_
#define LIQUID_KERNELS_CPU_SIMD_FUNCTIONS_H_

#include "kernels/cpu/simd/loops.h"

namespace liquid::LIQUID_ISA {

// Each sets those loops that its file has; for float and BFloat16.
template <typename T>
void SetElementwise(LoopsOver<T>& loops);  // kernels/cpu/simd/elementwise.cc
template <typename T>
void SetConvolutions(LoopsOver<T>& loops);  // kernels/cpu/simd/convolution.cc
template <typename T>
void SetActivations(LoopsOver<T>& loops);  // kernels/cpu/simd/activation.cc
template <typename T>
void SetNorms(LoopsOver<T>& loops);  // kernels/cpu/simd/norm.cc
template <typename T>
void SetAttention(LoopsOver<T>& loops);  // kernels/cpu/simd/attention.cc

// kernels/cpu/simd/elementwise.cc
void Transpose(float* out, int64_t out_stride, const float* in, int64_t in_stride, int64_t rows,
               int64_t columns);

// kernels/cpu/simd/cross_entropy.cc
float SoftmaxTerms(float* x, float* top, int64_t count);
void SoftCap(float* x, float cap, int64_t count);
void CappedGradients(float* x, float top, float factor, float cap, int64_t count);

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
