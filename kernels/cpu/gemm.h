// One matrix product on the calling thread.
#ifndef LIQUID_KERNELS_CPU_GEMM_H_
#define LIQUID_KERNELS_CPU_GEMM_H_

#include <cstdint>
#include <string>

#include "tensor/bfloat16.h"

namespace liquid {

// An operand as it lies in memory: row-major with `stride` elements from row to
// row, read as its transpose if `transposed`. T: float or BFloat16.
template <typename T>
struct Operand {
  const T* data;
  int64_t stride;
  bool transposed = false;

  // The part of op(operand) that begins at this row and column of it.
  Operand At(int64_t row, int64_t column) const {
    return {data + (transposed ? column * stride + row : row * stride + column), stride,
            transposed};
  }
};

struct ProductShape {
  int64_t rows;
  int64_t columns;
  int64_t inner;  // terms of each sum
};

// out [rows,columns] = (or, if accumulate, +=) a [rows,inner] b
// [inner,columns]. Inside ParallelFor only: there oneDNN uses one thread, and
// so the order of its sums is a function of the shape.
void Gemm(float* out, int64_t out_stride, const Operand<float>& a, const Operand<float>& b,
          const ProductShape& shape, bool accumulate);
// The same of bfloat16 with sums in float. REQUIRES: HasBFloat16Products().
void Gemm(float* out, int64_t out_stride, const Operand<BFloat16>& a, const Operand<BFloat16>& b,
          const ProductShape& shape, bool accumulate);

// Whether this processor multiplies bfloat16 faster than float (AVX512-BF16).
bool HasBFloat16Products();

// Version of oneDNN: "oneDNN 2.6.0".
std::string ProductLibrary();

}  // namespace liquid

#endif  // LIQUID_KERNELS_CPU_GEMM_H_
