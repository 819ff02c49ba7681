#include "kernels/cpu/gemm.h"

#include <dnnl.h>

#include "absl/strings/str_cat.h"
#include "base/check.h"

// oneDNN exports it as it does dnnl_sgemm, but its headers leave it out.
extern "C" dnnl_status_t dnnl_gemm_bf16bf16f32(char transpose_a, char transpose_b, dnnl_dim_t m,
                                               dnnl_dim_t n, dnnl_dim_t k, float alpha,
                                               const liquid::BFloat16* a, dnnl_dim_t stride_a,
                                               const liquid::BFloat16* b, dnnl_dim_t stride_b,
                                               float beta, float* c, dnnl_dim_t stride_c);

namespace liquid {

void Gemm(float* out, int64_t out_stride, const Operand<float>& a, const Operand<float>& b,
          const ProductShape& shape, bool accumulate) {
  const dnnl_status_t status = dnnl_sgemm(
      a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', shape.rows, shape.columns, shape.inner,
      1.0f, a.data, a.stride, b.data, b.stride, accumulate ? 1.0f : 0.0f, out, out_stride);
  LIQUID_CHECK(status == dnnl_success, "dnnl_sgemm: status ", status);
}

void Gemm(float* out, int64_t out_stride, const Operand<BFloat16>& a, const Operand<BFloat16>& b,
          const ProductShape& shape, bool accumulate) {
  const dnnl_status_t status = dnnl_gemm_bf16bf16f32(
      a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', shape.rows, shape.columns, shape.inner,
      1.0f, a.data, a.stride, b.data, b.stride, accumulate ? 1.0f : 0.0f, out, out_stride);
  LIQUID_CHECK(status == dnnl_success, "dnnl_gemm_bf16bf16f32: status ", status);
}

bool HasBFloat16Products() {
  // What oneDNN goes by: the processor's, unless its environment variable says less.
  const int isa = dnnl_get_effective_cpu_isa();
  return (isa & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
}

std::string ProductLibrary() {
  const dnnl_version_t* version = dnnl_version();
  return absl::StrCat("oneDNN ", version->major, ".", version->minor, ".", version->patch);
}

}  // namespace liquid
