#include "kernels/ops.h"

#include "absl/strings/str_cat.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/sgemm.h"

namespace liquid {

std::string CpuOps::Recipe() const {
  return absl::StrCat("cpu ", loops_.isa, ", ", ProductLibrary());
}

std::unique_ptr<Ops> CreateOps(Stream& stream) {
  switch (stream.device().type()) {
    case DeviceType::kCpu:
      return std::make_unique<CpuOps>(stream);
  }
  __builtin_unreachable();
}

}  // namespace liquid
