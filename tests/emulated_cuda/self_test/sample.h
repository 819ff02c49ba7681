// A correct kernel that uses most of what there is: the tests' subject, and the control of the
// planted bugs.
#ifndef LIQUID_TESTS_EMULATED_CUDA_SELF_TEST_SAMPLE_H_
#define LIQUID_TESTS_EMULATED_CUDA_SELF_TEST_SAMPLE_H_

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

namespace liquid::emulated {

// c [m,n] = a [m,k] * b [k,n], all row-major; m and n are multiples of 64, k of 32. Tensor cores,
// ldmatrix, and a pipeline of two stages of cp.async.
cudaError_t SampleProduct(cudaStream_t stream, float* c, const __nv_bfloat16* a,
                          const __nv_bfloat16* b, int m, int n, int k);

// sums[i] = the sum of x [rows,columns] over row i, through shuffles and dynamic shared memory.
cudaError_t SampleRowSums(cudaStream_t stream, float* sums, const float* x, int rows, int columns);

// x[i] = value.
cudaError_t SampleFill(cudaStream_t stream, float* x, float value, int count);

}  // namespace liquid::emulated

#endif  // LIQUID_TESTS_EMULATED_CUDA_SELF_TEST_SAMPLE_H_
