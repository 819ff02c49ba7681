// A product of matrices as cuBLASLt describes it.
#ifndef LIQUID_TESTS_EMULATED_CUDA_CUBLASLT_PROBLEM_H_
#define LIQUID_TESTS_EMULATED_CUDA_CUBLASLT_PROBLEM_H_

#include <cublasLt.h>

#include <cstddef>
#include <cstdint>

namespace liquid::emulated {

// Zero for a type that is not emulated.
size_t BytesOf(cudaDataType type);

struct MatrixLayout {
  cudaDataType type;
  uint64_t rows;
  uint64_t columns;
  int64_t leading;
  cublasLtOrder_t order = CUBLASLT_ORDER_COL;
  int32_t batch_count = 1;
  int64_t batch_stride = 0;

  // Of an element of the b-th matrix, in elements.
  size_t Offset(int b, size_t row, size_t column) const {
    return static_cast<size_t>(b) * batch_stride +
           (order == CUBLASLT_ORDER_COL ? column * leading + row : row * leading + column);
  }
  // From the first element to the end of the last.
  size_t NumBytes() const {
    return (Offset(batch_count - 1, rows - 1, columns - 1) + 1) * BytesOf(type);
  }
  bool operator==(const MatrixLayout&) const = default;
};

struct MatmulDescription {
  cublasComputeType_t compute_type;
  cublasOperation_t transpose_a = CUBLAS_OP_N;
  cublasOperation_t transpose_b = CUBLAS_OP_N;
};

struct Preference {
  uint64_t max_workspace_bytes = 0;
  // Of A, B, C and D. The library takes 256 bytes for granted unless it is told.
  uint32_t alignment[4] = {256, 256, 256, 256};
};

// D = alpha * op(A) * op(B) + beta * C.
struct Problem {
  MatmulDescription description;
  MatrixLayout a, b, c, d;

  size_t NumRows() const { return d.rows; }
  size_t NumColumns() const { return d.columns; }
  size_t NumProducts() const { return description.transpose_a == CUBLAS_OP_N ? a.columns : a.rows; }
  // What the library would refuse, in words; null if nothing.
  const char* WhatIsWrong() const;
  // Equal for problems that one algorithm serves.
  uint64_t Fingerprint() const;
};

struct Operands {
  const void* a;
  const void* b;
  const void* c;
  void* d;
  float alpha;
  float beta;
};

// Sums in the order of the products, in float, for every element alike; rounds once.
void Multiply(const Problem& problem, const Operands& operands);

}  // namespace liquid::emulated

#endif  // LIQUID_TESTS_EMULATED_CUDA_CUBLASLT_PROBLEM_H_
