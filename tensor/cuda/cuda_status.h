// What CUDA's error codes mean to us.
#ifndef LIQUID_TENSOR_CUDA_CUDA_STATUS_H_
#define LIQUID_TENSOR_CUDA_CUDA_STATUS_H_

#include <cuda_runtime_api.h>

#include <string_view>

#include "absl/status/status.h"

namespace liquid {

// "<what>: <CUDA's text>": ResourceExhausted where memory is short, Unavailable where there is no
// driver or no device, Internal otherwise.
absl::Status FromCuda(cudaError_t code, std::string_view what);

}  // namespace liquid

#endif  // LIQUID_TENSOR_CUDA_CUDA_STATUS_H_
