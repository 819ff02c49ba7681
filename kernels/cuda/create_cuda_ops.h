// The door to CudaOps for code that is built without CUDA as well.
#ifndef LIQUID_KERNELS_CUDA_CREATE_CUDA_OPS_H_
#define LIQUID_KERNELS_CUDA_CREATE_CUDA_OPS_H_

#include <memory>

#include "kernels/ops.h"

namespace liquid {

// REQUIRES: stream.device().type() == kCuda, of which there is none without CUDA.
std::unique_ptr<Ops> CreateCudaOps(Stream& stream);

}  // namespace liquid

#endif  // LIQUID_KERNELS_CUDA_CREATE_CUDA_OPS_H_
