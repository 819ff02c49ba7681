// In the place of cuda_device.cc where CUDA was not found.
#include "tensor/device.h"

namespace liquid {

absl::StatusOr<int> CountCudaDevices() {
  return absl::UnavailableError(
      "this program was built without CUDA: install the CUDA Toolkit 13 and NCCL, and build again");
}

absl::StatusOr<std::unique_ptr<Device>> CreateCudaDevice(int /*ordinal*/) {
  return CountCudaDevices().status();
}

}  // namespace liquid
