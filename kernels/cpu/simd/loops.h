// The inner loops of CpuOps, compiled for several instruction sets and chosen at run time.
#ifndef LIQUID_KERNELS_CPU_SIMD_LOOPS_H_
#define LIQUID_KERNELS_CPU_SIMD_LOOPS_H_

#include <stdint.h>

#include "kernels/cpu/simd/attention_tile.h"

namespace liquid {

struct AdamWCoefficients {
  float beta1;
  float beta2;
  float gradient_scale;
  float decay;          // 1 - learning_rate * weight_decay
  float rate;           // learning_rate / (1 - beta1^step)
  float second_factor;  // 1 / sqrt(1 - beta2^step)
  float epsilon;
};

// `gelu` chooses between GELU (tanh) and SiLU. Counts are elements; "rows" are of `width` floats.
struct SimdLoops {
  const char* isa;

  void (*add)(float* out, const float* a, const float* b, int64_t count);
  void (*scale)(float* out, const float* x, float factor, int64_t count);
  void (*rotate)(float* out, const float* x, const float* cos, const float* sin, float sign,
                 int64_t heads, int64_t width);

  void (*activate)(float* out, const float* x, int64_t count, bool gelu);
  void (*activate_backward)(float* dx, const float* dout, const float* x, int64_t count, bool gelu);
  void (*gated_activate)(float* out, const float* gate, const float* up, int64_t count, bool gelu);
  void (*gated_activate_backward)(float* dgate, float* dup, const float* dout, const float* gate,
                                  const float* up, int64_t count, bool gelu);

  void (*rms_norm)(float* out, float* rstd, const float* x, const float* weight, float eps,
                   float offset, int64_t rows, int64_t width);
  // dweight [width] = the sum over these rows; likewise dbias.
  void (*rms_norm_backward)(float* dx, float* dweight, const float* dout, const float* x,
                            const float* weight, const float* rstd, float offset, int64_t rows,
                            int64_t width);
  void (*layer_norm)(float* out, float* mean, float* rstd, const float* x, const float* weight,
                     const float* bias, float eps, int64_t rows, int64_t width);
  void (*layer_norm_backward)(float* dx, float* dweight, float* dbias, const float* dout,
                              const float* x, const float* weight, const float* mean,
                              const float* rstd, int64_t rows, int64_t width);
  // out [width] = the sum of the rows, which are `stride` apart.
  void (*sum_rows)(float* out, const float* x, int64_t rows, int64_t width, int64_t stride);

  // out [columns,rows] = the transpose of in [rows,columns]; rows are a stride apart.
  void (*transpose)(float* out, int64_t out_stride, const float* in, int64_t in_stride,
                    int64_t rows, int64_t columns);

  // x becomes e^(x - top), top its maximum, which is stored; the result is their sum.
  float (*softmax_terms)(float* x, float* top, int64_t count);

  // kernels/cpu/simd/attention_tile.h
  void (*attention)(const AttentionTile& tile, const AttentionKeys& keys, float* workspace);
  void (*attention_backward)(const AttentionGradientTile& tile, const AttentionKeys& keys,
                             float* workspace);

  // Returns whether an element was clamped or not finite.
  bool (*accumulate_fixed)(int64_t* sum, const float* gradient, int64_t limit, int64_t count);
  bool (*accumulate_float)(float* sum, const float* gradient, int64_t count);
  double (*sum_of_squares_fixed)(const int64_t* x, int64_t count);
  double (*sum_of_squares_float)(const float* x, int64_t count);
  void (*adamw_fixed)(float* weight, float* exp_avg, float* exp_avg_sq, int64_t* sum,
                      const AdamWCoefficients& c, int64_t count);
  void (*adamw_float)(float* weight, float* exp_avg, float* exp_avg_sq, float* sum,
                      const AdamWCoefficients& c, int64_t count);
};

// The loops for each instruction set that this machine has, best first; null beyond the last.
// LIQUID_CHECK fails on a machine without AVX2 and FMA.
const SimdLoops* SimdLoopsAt(int index);

}  // namespace liquid

#endif  // LIQUID_KERNELS_CPU_SIMD_LOOPS_H_
