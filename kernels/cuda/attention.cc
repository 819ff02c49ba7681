#include "kernels/cuda/device/attention.h"

#include "base/check.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/element_type.h"

namespace liquid {
namespace {

// The extents of one call of attention, checked against each other.
cuda::AttentionShape ShapeOf(const ConstTensorView& q, const ConstTensorView& k,
                             const ConstTensorView& v, const AttentionOptions& options) {
  LIQUID_CHECK(q.shape.rank() == 4 && k.shape.rank() == 4 && v.shape == k.shape, q.shape.ToString(),
               k.shape.ToString(), v.shape.ToString());
  const cuda::AttentionShape shape = {.batch = q.shape[0],
                                      .queries = q.shape[1],
                                      .keys = k.shape[1],
                                      .heads = q.shape[2],
                                      .groups = k.shape[2],
                                      .width = q.shape[3],
                                      .scale = options.scale,
                                      .window = options.window,
                                      .query_offset = options.query_offset};
  LIQUID_CHECK(k.shape[0] == shape.batch && k.shape[3] == shape.width &&
                   shape.heads % shape.groups == 0 && shape.width <= cuda::kLargestAttentionWidth,
               q.shape.ToString(), k.shape.ToString());
  LIQUID_CHECK(shape.query_offset >= 0 && shape.query_offset + shape.queries <= shape.keys,
               "offset ", shape.query_offset, ", ", shape.queries, " queries, ", shape.keys,
               " keys");
  return shape;
}

}  // namespace

void CudaOps::Attention(TensorView out, TensorView lse, ConstTensorView q, ConstTensorView k,
                        ConstTensorView v, const int32_t* document_start,
                        AttentionOptions options) {
  const cuda::AttentionShape shape = ShapeOf(q, k, v, options);
  LIQUID_CHECK(out.shape == q.shape &&
               lse.NumElements() == shape.batch * shape.heads * shape.queries);
  Latch(cuda::Attention(stream_.native(), ElementOf(q, k, v, out), out.data, lse.f32(), q.data,
                        k.data, v.data, document_start, shape),
        "Attention");
}

void CudaOps::AttentionBackward(TensorView dq, TensorView dk, TensorView dv, ConstTensorView dout,
                                ConstTensorView q, ConstTensorView k, ConstTensorView v,
                                ConstTensorView out, ConstTensorView lse,
                                const int32_t* document_start, AttentionOptions options) {
  const cuda::AttentionShape shape = ShapeOf(q, k, v, options);
  LIQUID_CHECK(shape.queries == shape.keys && options.query_offset == 0);
  LIQUID_CHECK(dq.shape == q.shape && dk.shape == k.shape && dv.shape == v.shape &&
               dout.shape == q.shape && out.shape == q.shape);
  LIQUID_CHECK(lse.NumElements() == shape.batch * shape.heads * shape.queries);
  const PooledTensor delta = scratch_.AllocateF32({shape.batch, shape.heads, shape.queries});
  Latch(cuda::AttentionBackward(stream_.native(), ElementOf(q, k, v, dq, dk, dv, dout, out),
                                dq.data, dk.data, dv.data, delta.view().f32(), dout.data, q.data,
                                k.data, v.data, out.data, lse.f32(), document_start, shape),
        "AttentionBackward");
}

}  // namespace liquid
