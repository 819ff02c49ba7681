#include "kernels/ops.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cuda/create_cuda_ops.h"

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

AdamWCoefficients CoefficientsOf(const AdamWOptions& options) {
  LIQUID_CHECK(options.step >= 1, options.step);
  const auto step = static_cast<double>(options.step);
  return {.beta1 = options.beta1,
          .beta2 = options.beta2,
          .gradient_scale = options.gradient_scale,
          .decay = 1.0f - options.learning_rate * options.weight_decay,
          .rate = static_cast<float>(double{options.learning_rate} /
                                     (1.0 - std::pow(double{options.beta1}, step))),
          .second_factor =
              static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(double{options.beta2}, step))),
          .epsilon = options.epsilon};
}

std::unique_ptr<Ops> CreateOps(Stream& stream) {
  switch (stream.device().type()) {
    case DeviceType::kCpu:
      return std::make_unique<CpuOps>(stream);
    case DeviceType::kCuda:
      return CreateCudaOps(stream);
  }
  __builtin_unreachable();
}

}  // namespace liquid
