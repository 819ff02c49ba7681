#include "kernels/cuda/cuda_ops.h"

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "kernels/cuda/create_cuda_ops.h"
#include "kernels/cuda/products.h"

namespace liquid {

CudaOps::CudaOps(Stream& stream)
    : stream_(AsCudaStream(stream)),
      scratch_(stream.device()),
      products_(std::make_unique<CudaProducts>(stream_)) {
  LIQUID_CHECK(stream.device().type() == DeviceType::kCuda);
}

CudaOps::~CudaOps() = default;

std::string CudaOps::Recipe(DType /*dtype*/) const {
  int ordinal = 0;
  int major = 0;
  int minor = 0;
  cudaGetDevice(&ordinal);
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, ordinal);
  cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, ordinal);
  return absl::StrCat("cuda sm_", major, minor, ", ", products_->Recipe());
}

int64_t CudaOps::WorkspaceBytes() const {
  return scratch_.allocated_bytes() + CudaProducts::kWorkspaceBytes;
}

std::unique_ptr<Ops> CreateCudaOps(Stream& stream) { return std::make_unique<CudaOps>(stream); }

}  // namespace liquid
