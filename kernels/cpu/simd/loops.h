// The inner loops of CpuOps, compiled for several instruction sets and chosen at run time.
#ifndef LIQUID_KERNELS_CPU_SIMD_LOOPS_H_
#define LIQUID_KERNELS_CPU_SIMD_LOOPS_H_

#include <stdint.h>

#include "kernels/adamw_coefficients.h"
#include "kernels/cpu/simd/attention_tile.h"
#include "tensor/bfloat16.h"

namespace liquid {

// Loops over activations and weights stored as T, float or BFloat16: converted to float when they
// are read, and rounded when they are written. `gelu` chooses between GELU (tanh) and SiLU. Counts
// are elements; "rows" are of `width` elements.
template <typename T>
struct LoopsOver {
  void (*add)(T* out, const T* a, const T* b, int64_t count);
  void (*scale)(T* out, const T* x, float factor, int64_t count);
  void (*accumulate)(T* out, const T* x, int64_t count);  // out += x
  // Between T and float.
  void (*read)(float* out, const T* x, int64_t count);
  void (*add_read)(float* out, const T* x, int64_t count);  // out += x
  void (*write)(T* out, const float* x, float factor, int64_t count);
  void (*add_write)(T* out, const float* x, int64_t count);  // out += x
  void (*rotate)(T* out, const T* x, const float* cos, const float* sin, float sign, int64_t heads,
                 int64_t width);

  // One token of a short convolution over rows b, c, u of `width` each, which lie behind each
  // other; `in`, `din`, `dout`: that token's. taps [W,width], by lag; it sees num_seen tokens,
  // itself first, and is seen by num_seen_by. dtaps += its share.
  void (*short_convolution)(T* out, const T* in, const float* taps, int64_t num_seen,
                            int64_t width);
  void (*short_convolution_backward)(T* din, float* dtaps, const T* dout, const T* in,
                                     const float* taps, int64_t num_seen, int64_t num_seen_by,
                                     int64_t width);

  void (*activate)(T* out, const T* x, int64_t count, bool gelu);
  void (*activate_backward)(T* dx, const T* dout, const T* x, int64_t count, bool gelu);
  void (*gated_activate)(T* out, const T* gate, const T* up, int64_t count, bool gelu);
  void (*gated_activate_backward)(T* dgate, T* dup, const T* dout, const T* gate, const T* up,
                                  int64_t count, bool gelu);

  void (*rms_norm)(T* out, float* rstd, const T* x, const T* weight, float eps, float offset,
                   int64_t rows, int64_t width);
  // dweight [width] = the sum over these rows; likewise dbias.
  void (*rms_norm_backward)(T* dx, float* dweight, const T* dout, const T* x, const T* weight,
                            const float* rstd, float offset, int64_t rows, int64_t width);
  void (*layer_norm)(T* out, float* mean, float* rstd, const T* x, const T* weight, const T* bias,
                     float eps, int64_t rows, int64_t width);
  void (*layer_norm_backward)(T* dx, float* dweight, float* dbias, const T* dout, const T* x,
                              const T* weight, const float* mean, const float* rstd, int64_t rows,
                              int64_t width);
  // out [width] = the sum of the rows, which are `stride` apart.
  void (*sum_rows)(float* out, const T* x, int64_t rows, int64_t width, int64_t stride);

  // kernels/cpu/simd/attention_tile.h
  void (*attention)(const AttentionTile<T>& tile, const AttentionKeys& keys, float* workspace);
  void (*attention_backward)(const AttentionGradientTile<T>& tile, const AttentionKeys& keys,
                             float* workspace);
};

struct SimdLoops {
  const char* isa;

  LoopsOver<float> over_f32;
  LoopsOver<BFloat16> over_bf16;
  const LoopsOver<float>& Over(float) const { return over_f32; }
  const LoopsOver<BFloat16>& Over(BFloat16) const { return over_bf16; }

  // out [columns,rows] = the transpose of in [rows,columns]; rows are a stride apart.
  void (*transpose)(float* out, int64_t out_stride, const float* in, int64_t in_stride,
                    int64_t rows, int64_t columns);

  // x becomes e^(x - top), top its maximum, which is stored; the result is their sum.
  float (*softmax_terms)(float* x, float* top, int64_t count);
  // x becomes cap tanh(x / cap).
  void (*soft_cap)(float* x, float cap, int64_t count);
  // Capped logits become factor e^(x - top), times the slope of the cap there.
  void (*capped_gradients)(float* x, float top, float factor, float cap, int64_t count);

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
