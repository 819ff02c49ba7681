// In the place of the rest of this folder where CUDA was not found.
#include "base/check.h"
#include "kernels/cuda/create_cuda_ops.h"

namespace liquid {

std::unique_ptr<Ops> CreateCudaOps(Stream& /*stream*/) {
  LIQUID_CHECK(false, "a CUDA stream in a program without CUDA");
  return nullptr;
}

}  // namespace liquid
