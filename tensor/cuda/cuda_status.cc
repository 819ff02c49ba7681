#include "tensor/cuda/cuda_status.h"

#include "absl/strings/str_cat.h"

namespace liquid {

absl::Status FromCuda(cudaError_t code, std::string_view what) {
  if (code == cudaSuccess) return absl::OkStatus();
  const std::string text =
      absl::StrCat(absl::string_view(what.data(), what.size()), ": ", cudaGetErrorString(code),
                   " (", cudaGetErrorName(code), ")");
  switch (code) {
    case cudaErrorMemoryAllocation:
      return absl::ResourceExhaustedError(text);
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorInvalidDevice:
    case cudaErrorSystemNotReady:
    case cudaErrorSystemDriverMismatch:
      return absl::UnavailableError(
          absl::StrCat(text, "; `nvidia-smi` says what driver and devices there are"));
    default:
      return absl::InternalError(text);
  }
}

}  // namespace liquid
