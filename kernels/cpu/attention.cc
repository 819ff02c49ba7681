#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/attention_pack.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/element_type.h"
#include "kernels/cpu/parallel_for.h"

namespace liquid {

void CpuOps::Attention(TensorView out, TensorView lse, ConstTensorView q, ConstTensorView k,
                       ConstTensorView v, const int32_t* document_start, AttentionOptions options) {
  const AttentionShape s(q, k, v, options);
  LIQUID_CHECK(out.shape == q.shape && lse.NumElements() == s.batch * s.heads * s.queries);
  const PackedRows packed_k(scratch_, loops_, k, s);
  const PackedRows packed_v(scratch_, loops_, v, s);
  const PooledTensor first = FirstKeys(scratch_, s, document_start, options);
  const PooledTensor workspace = scratch_.AllocateF32({MaxThreads(), AttentionWorkspace(s.width)});
  float* lse_data = lse.f32();
  WithElementType(q.dtype, [&](auto type) {
    using T = decltype(type);
    T* out_data = DataOf<T>(out);
    const T* q_data = DataOf<T>(q);
    ParallelFor(s.batch * s.heads * s.query_blocks, [&](int64_t task) {
      // The longest tiles, those of the last queries, first: the team ends
      // together.
      const int64_t block = s.query_blocks - 1 - task / (s.batch * s.heads);
      const int64_t b = task / s.heads % s.batch;
      const int64_t h = task % s.heads;
      const int64_t group = b * s.groups + h / (s.heads / s.groups);
      const int64_t begin = block * kAttentionBlock;
      const int64_t at = ((b * s.queries + begin) * s.heads + h) * s.width;
      const AttentionKeys keys = {
          .k = packed_k.OfHead(group),
          .v = packed_v.OfHead(group),
          .first = static_cast<const int32_t*>(first.view().data) + b * s.queries,
          .width = s.width,
          .scale = options.scale};
      const AttentionTile<T> tile = {.out = out_data + at,
                                     .lse = lse_data + (b * s.heads + h) * s.queries + begin,
                                     .q = q_data + at,
                                     .stride = s.heads * s.width,
                                     .begin = begin,
                                     .count = std::min(kAttentionBlock, s.queries - begin),
                                     .offset = options.query_offset};
      loops_.Over(type).attention(
          tile, keys, workspace.view().f32() + ThreadIndex() * AttentionWorkspace(s.width));
    });
  });
}

}  // namespace liquid
