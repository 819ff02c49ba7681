// CUDA's error state: one sticky error for the process, the last error of each thread.
#ifndef LIQUID_TESTS_EMULATED_CUDA_STATUS_H_
#define LIQUID_TESTS_EMULATED_CUDA_STATUS_H_

#include <cuda_runtime_api.h>

namespace liquid::emulated {

// After this every call fails, as after a fault on a GPU. The first one stays.
void MakeSticky(cudaError_t code);
cudaError_t StickyError();

// Remembers a failure for cudaGetLastError, and returns it.
cudaError_t Remember(cudaError_t code);

}  // namespace liquid::emulated

#endif  // LIQUID_TESTS_EMULATED_CUDA_STATUS_H_
