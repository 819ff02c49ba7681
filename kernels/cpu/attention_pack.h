// Keys and values of attention in the form that the tiles need
// (kernels/cpu/simd/attention_tile.h).
#ifndef LIQUID_KERNELS_CPU_ATTENTION_PACK_H_
#define LIQUID_KERNELS_CPU_ATTENTION_PACK_H_

#include <cstdint>

#include "kernels/cpu/simd/loops.h"
#include "kernels/ops.h"
#include "tensor/pool.h"

namespace liquid {

// The extents of one call of attention, checked against each other.
struct AttentionShape {
  AttentionShape(const ConstTensorView& q, const ConstTensorView& k, const ConstTensorView& v,
                 const AttentionOptions& options);

  int64_t batch;
  int64_t queries;
  int64_t keys;
  int64_t heads;
  int64_t groups;  // key/value heads
  int64_t width;
  int64_t query_blocks;
  int64_t key_blocks;
};

// [B,G,Tk,K] packed as `columns` [B,G,blocks,K,64] or as `rows`
// [B,G,blocks,64,Kp].
class PackedRows {
 public:
  enum Form { kColumns = 1, kRows = 2, kBoth = 3 };

  // x [B,Tk,G,K] is read once, here.
  PackedRows(TensorPool& scratch, const SimdLoops& loops, const ConstTensorView& x,
             const AttentionShape& shape, Form form);

  // Those of one batch row and head; null if not asked for.
  const float* Columns(int64_t head) const;
  const float* Rows(int64_t head) const;

 private:
  int64_t column_floats_;  // per head
  int64_t row_floats_;
  PooledTensor columns_;
  PooledTensor rows_;
};

// first [B,Tq] (int32): the first key that each query sees.
PooledTensor FirstKeys(TensorPool& scratch, const AttentionShape& shape,
                       const int32_t* document_start, const AttentionOptions& options);

}  // namespace liquid

#endif  // LIQUID_KERNELS_CPU_ATTENTION_PACK_H_
