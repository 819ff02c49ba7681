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

  // Floats of the packed keys or values of one head.
  int64_t HeadFloats() const { return key_blocks * kAttentionBlock * PaddedWidth(width); }
  // Tasks of the backward that share a key/value head: one, or one for each query head where there
  // are few.
  int64_t KeyGradientParts() const {
    constexpr int64_t kEnoughTasks = 12;
    return batch * groups >= kEnoughTasks ? 1 : heads / groups;
  }

  int64_t batch;
  int64_t queries;
  int64_t keys;
  int64_t heads;
  int64_t groups;  // key/value heads
  int64_t width;
  int64_t query_blocks;
  int64_t key_blocks;
};

// [B,Tk,G,K] packed as [B,G,blocks,64,Kp], zeros around the rows.
class PackedRows {
 public:
  // x is read once, here.
  PackedRows(TensorPool& scratch, const SimdLoops& loops, const ConstTensorView& x,
             const AttentionShape& shape);

  // Those of one batch row and head, numbered together.
  const float* OfHead(int64_t head) const { return packed_.view().f32() + head * head_floats_; }

 private:
  int64_t head_floats_;
  PooledTensor packed_;
};

// first [B,Tq] (int32): the first key that each query sees.
PooledTensor FirstKeys(TensorPool& scratch, const AttentionShape& shape,
                       const int32_t* document_start, const AttentionOptions& options);

}  // namespace liquid

#endif  // LIQUID_KERNELS_CPU_ATTENTION_PACK_H_
