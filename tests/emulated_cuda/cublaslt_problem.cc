#include "tests/emulated_cuda/cublaslt_problem.h"

namespace liquid::emulated {

size_t BytesOf(cudaDataType type) { return type == CUDA_R_32F ? 4 : type == CUDA_R_16BF ? 2 : 0; }

const char* Problem::WhatIsWrong() const {
  const auto rows_of = [](const MatrixLayout& x, cublasOperation_t operation) {
    return operation == CUBLAS_OP_N ? x.rows : x.columns;
  };
  const auto columns_of = [](const MatrixLayout& x, cublasOperation_t operation) {
    return operation == CUBLAS_OP_N ? x.columns : x.rows;
  };
  const cublasOperation_t op_a = description.transpose_a;
  const cublasOperation_t op_b = description.transpose_b;
  if (columns_of(a, op_a) != rows_of(b, op_b) || d.rows != rows_of(a, op_a) ||
      d.columns != columns_of(b, op_b) || c.rows != d.rows || c.columns != d.columns) {
    return "the shapes of the matrices do not agree";
  }
  for (const MatrixLayout* x : {&a, &b, &c, &d}) {
    const uint64_t inner = x->order == CUBLASLT_ORDER_COL ? x->rows : x->columns;
    if (x->leading < static_cast<int64_t>(inner)) return "a leading dimension is too small";
    if (x->batch_count != d.batch_count) return "the batch counts differ";
    if (x->rows == 0 || x->columns == 0) return "a matrix is empty";
  }
  if (a.type != b.type) return "the types of A and B differ";
  if (c.type != d.type) return "the types of C and D differ";
  if (a.type == CUDA_R_32F && d.type != CUDA_R_32F) return "float times float is float";
  if (a.type != CUDA_R_32F && description.compute_type == CUBLAS_COMPUTE_32F_FAST_TF32) {
    return "TF32 is for float";
  }
  return nullptr;
}

uint64_t Problem::Fingerprint() const {
  // The structs have padding, so field by field.
  uint64_t hash = 0;
  const auto add = [&hash](auto value) {
    hash = (hash ^ static_cast<uint64_t>(value)) * 0x9e3779b97f4a7c15;
    hash ^= hash >> 29;
  };
  add(description.compute_type);
  add(description.transpose_a);
  add(description.transpose_b);
  for (const MatrixLayout* x : {&a, &b, &c, &d}) {
    add(x->type);
    add(x->rows);
    add(x->columns);
    add(x->leading);
    add(x->order);
    add(x->batch_count);
    add(x->batch_stride);
  }
  return hash;
}

}  // namespace liquid::emulated
