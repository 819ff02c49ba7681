#include "kernels/ops.h"

#include "kernels/cpu/cpu_ops.h"

namespace liquid {

std::unique_ptr<Ops> CreateOps(Stream& stream) {
  switch (stream.device().type()) {
    case DeviceType::kCpu:
      return std::make_unique<CpuOps>(stream);
  }
  __builtin_unreachable();
}

}  // namespace liquid
