#include "kernels/cpu/attention_pack.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/element_type.h"
#include "kernels/cpu/parallel_for.h"

namespace liquid {
namespace {

int64_t NumBlocks(int64_t rows) { return (rows + kAttentionBlock - 1) / kAttentionBlock; }

}  // namespace

AttentionShape::AttentionShape(const ConstTensorView& q, const ConstTensorView& k,
                               const ConstTensorView& v, const AttentionOptions& options) {
  LIQUID_CHECK(q.shape.rank() == 4 && k.shape.rank() == 4 && v.shape == k.shape, q.shape.ToString(),
               k.shape.ToString(), v.shape.ToString());
  batch = q.shape[0];
  queries = q.shape[1];
  heads = q.shape[2];
  width = q.shape[3];
  keys = k.shape[1];
  groups = k.shape[2];
  LIQUID_CHECK(k.shape[0] == batch && k.shape[3] == width && heads % groups == 0,
               q.shape.ToString(), k.shape.ToString());
  LIQUID_CHECK(options.query_offset >= 0 && options.query_offset + queries <= keys, "offset ",
               options.query_offset, ", ", queries, " queries, ", keys, " keys");
  query_blocks = NumBlocks(queries);
  key_blocks = NumBlocks(keys);
}

PackedRows::PackedRows(TensorPool& scratch, const SimdLoops& loops, const ConstTensorView& x,
                       const AttentionShape& shape)
    : head_floats_(shape.HeadFloats()),
      packed_(scratch.AllocateF32({shape.batch * shape.groups, head_floats_})) {
  const int64_t width = shape.width;
  const int64_t padded = PaddedWidth(width);
  const int64_t stride = shape.groups * width;
  WithElementType(x.dtype, [&](auto type) {
    using T = decltype(type);
    const T* data = DataOf<T>(x);
    ParallelFor(shape.batch * shape.groups * shape.key_blocks, [&](int64_t task) {
      const int64_t head = task / shape.key_blocks;
      const int64_t begin = task % shape.key_blocks * kAttentionBlock;
      const T* from =
          data + (head / shape.groups * shape.keys + begin) * stride + head % shape.groups * width;
      float* to = packed_.view().f32() + head * head_floats_ + begin * padded;
      const int64_t count = std::min(kAttentionBlock, shape.keys - begin);
      for (int64_t row = 0; row < count; ++row) {
        loops.Over(type).read(to + row * padded, from + row * stride, width);
        std::fill_n(to + row * padded + width, padded - width, 0.0f);
      }
      std::fill_n(to + count * padded, (kAttentionBlock - count) * padded, 0.0f);
    });
  });
}

PooledTensor FirstKeys(TensorPool& scratch, const AttentionShape& shape,
                       const int32_t* document_start, const AttentionOptions& options) {
  PooledTensor first = scratch.Allocate(DType::kI32, {shape.batch, shape.queries});
  auto* data = static_cast<int32_t*>(first.view().data);
  for (int64_t b = 0; b < shape.batch; ++b) {
    for (int64_t t = 0; t < shape.queries; ++t) {
      const auto key = static_cast<int32_t>(t + options.query_offset);
      int32_t lowest = document_start == nullptr ? 0 : document_start[b * shape.keys + key];
      LIQUID_CHECK(lowest >= 0 && lowest <= key, "token ", key, " of document ", lowest);
      if (options.window > 0) lowest = std::max(lowest, key - options.window + 1);
      data[b * shape.queries + t] = lowest;
    }
  }
  return first;
}

}  // namespace liquid
