#include "kernels/cpu/sgemm.h"

#include <dnnl.h>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace liquid {

void Sgemm(float* out, int64_t out_stride, const Operand& a, const Operand& b,
           const ProductShape& shape, bool accumulate) {
  const dnnl_status_t status = dnnl_sgemm(
      a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', shape.rows, shape.columns, shape.inner,
      1.0f, a.data, a.stride, b.data, b.stride, accumulate ? 1.0f : 0.0f, out, out_stride);
  LIQUID_CHECK(status == dnnl_success, "dnnl_sgemm: status ", status);
}

std::string ProductLibrary() {
  const dnnl_version_t* version = dnnl_version();
  return absl::StrCat("oneDNN ", version->major, ".", version->minor, ".", version->patch);
}

}  // namespace liquid
