#include "kernels/ops.h"

#include "absl/strings/str_cat.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/gemm.h"

namespace liquid {

CpuOps::CpuOps(Stream& stream, const SimdLoops& loops)
    : loops_(loops),
      has_bf16_products_(&loops == SimdLoopsAt(0) && HasBFloat16Products()),
      scratch_(stream.device()) {}

std::string CpuOps::Recipe(DType dtype) const {
  std::string recipe = absl::StrCat("cpu ", loops_.isa, ", ", ProductLibrary());
  if (dtype == DType::kBF16) {
    absl::StrAppend(&recipe, ", bf16 products ",
                    has_bf16_products_ ? "by AVX512-BF16" : "of converted fp32");
  }
  return recipe;
}

std::unique_ptr<Ops> CreateOps(Stream& stream) {
  switch (stream.device().type()) {
    case DeviceType::kCpu:
      return std::make_unique<CpuOps>(stream);
  }
  __builtin_unreachable();
}

}  // namespace liquid
