#include "kernels/cuda/device/embedding.h"

#include <limits>

#include "base/check.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/element_type.h"

namespace liquid {

static_assert(cuda::kElsewhere == kElsewhere);

void CudaOps::Embedding(TensorView out, const int32_t* ids, ConstTensorView table) {
  const int64_t width = table.shape.back();
  LIQUID_CHECK(out.shape.back() == width);
  Latch(cuda::Embedding(stream_.native(), out.data, ids, table.data, ElementOf(table, out),
                        out.NumRows(), width, table.shape[0]),
        "Embedding");
}

void CudaOps::EmbeddingBackward(TensorView dtable, const int32_t* ids, ConstTensorView dout) {
  const int64_t width = dtable.shape.back();
  LIQUID_CHECK(dout.shape.back() == width);
  const int64_t tokens = dout.NumElements() / width;
  LIQUID_CHECK(tokens <= std::numeric_limits<int32_t>::max());
  LIQUID_CHECK(dtable.dtype == DType::kF32 || dtable.dtype == dout.dtype);
  const PooledTensor workspace =
      scratch_.Allocate(DType::kI32, {cuda::EmbeddingBackwardWorkspace(tokens)});
  Latch(cuda::EmbeddingBackward(stream_.native(), dtable.data, ElementOf(dtable),
                                static_cast<int32_t*>(workspace.view().data), ids, dout.data,
                                ElementOf(dout), tokens, width, dtable.shape[0]),
        "EmbeddingBackward");
}

}  // namespace liquid
