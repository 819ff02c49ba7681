#include <cuda_bf16.h>

#include <algorithm>
#include <vector>

#include "tests/emulated_cuda/cublaslt_problem.h"

namespace liquid::emulated {
namespace {

float Load(const void* base, size_t i, cudaDataType type) {
  return type == CUDA_R_32F ? static_cast<const float*>(base)[i]
                            : __bfloat162float(static_cast<const __nv_bfloat16*>(base)[i]);
}

void Store(void* base, size_t i, cudaDataType type, float value) {
  if (type == CUDA_R_32F) {
    static_cast<float*>(base)[i] = value;
  } else {
    static_cast<__nv_bfloat16*>(base)[i] = __float2bfloat16(value);
  }
}

// op(X) of the b-th matrix, dense and column-major.
std::vector<float> Gather(const void* base, const MatrixLayout& layout, int b,
                          cublasOperation_t operation) {
  std::vector<float> values(layout.rows * layout.columns);
  for (size_t column = 0; column < layout.columns; ++column) {
    for (size_t row = 0; row < layout.rows; ++row) {
      const size_t to =
          operation == CUBLAS_OP_N ? column * layout.rows + row : row * layout.columns + column;
      values[to] = Load(base, layout.Offset(b, row, column), layout.type);
    }
  }
  return values;
}

}  // namespace

void Multiply(const Problem& problem, const Operands& operands) {
  const size_t num_rows = problem.NumRows();
  const size_t num_products = problem.NumProducts();
  std::vector<float> sums(num_rows);
  for (int batch = 0; batch < problem.d.batch_count; ++batch) {
    const std::vector<float> a =
        Gather(operands.a, problem.a, batch, problem.description.transpose_a);
    const std::vector<float> b =
        Gather(operands.b, problem.b, batch, problem.description.transpose_b);
    for (size_t column = 0; column < problem.NumColumns(); ++column) {
      std::fill(sums.begin(), sums.end(), 0.0f);
      for (size_t k = 0; k < num_products; ++k) {
        const float factor = b[column * num_products + k];
        const float* const of_a = a.data() + k * num_rows;
        for (size_t row = 0; row < num_rows; ++row) sums[row] += of_a[row] * factor;
      }
      for (size_t row = 0; row < num_rows; ++row) {
        float value = operands.alpha * sums[row];
        if (operands.beta != 0) {
          value += operands.beta *
                   Load(operands.c, problem.c.Offset(batch, row, column), problem.c.type);
        }
        Store(operands.d, problem.d.Offset(batch, row, column), problem.d.type, value);
      }
    }
  }
}

}  // namespace liquid::emulated
