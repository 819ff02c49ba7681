#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/cpu/attention_pack.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/element_type.h"
#include "kernels/cpu/parallel_for.h"

namespace liquid {
namespace {

// Adds up the gradients [parts,blocks*64,Kp] of the tasks that shared a
// key/value head, in order, into a row of `out` [B,T,G,K].
// `parts` has them at this row; they are summed there.
template <typename T>
void StoreKeyGradient(T* out, float* parts, int64_t num_parts, const AttentionShape& s,
                      const SimdLoops& loops) {
  const int64_t part_floats = s.key_blocks * kAttentionBlock * PaddedWidth(s.width);
  for (int64_t part = 1; part < num_parts; ++part) {
    loops.over_f32.add(parts, parts, parts + part * part_floats, s.width);
  }
  loops.Over(T()).write(out, parts, 1.0f, s.width);
}

}  // namespace

// A task owns the keys' gradients of some heads of one key/value head: all of
// them, or one each where there are few key/value heads; and the queries'
// gradients of its heads.
void CpuOps::AttentionBackward(TensorView dq, TensorView dk, TensorView dv, ConstTensorView dout,
                               ConstTensorView q, ConstTensorView k, ConstTensorView v,
                               ConstTensorView out, ConstTensorView lse,
                               const int32_t* document_start, AttentionOptions options) {
  const AttentionShape s(q, k, v, options);
  LIQUID_CHECK(s.queries == s.keys && options.query_offset == 0);
  LIQUID_CHECK(dq.shape == q.shape && dk.shape == k.shape && dv.shape == v.shape &&
               dout.shape == q.shape && out.shape == q.shape);
  LIQUID_CHECK(lse.NumElements() == s.batch * s.heads * s.queries);
  const PackedRows packed_k(scratch_, loops_, k, s);
  const PackedRows packed_v(scratch_, loops_, v, s);
  const PooledTensor first = FirstKeys(scratch_, s, document_start, options);
  const PooledTensor workspace = scratch_.AllocateF32({MaxThreads(), AttentionWorkspace(s.width)});

  const int64_t group_heads = s.heads / s.groups;
  const int64_t parts = s.KeyGradientParts();
  const int64_t tasks = s.batch * s.groups * parts;
  const int64_t key_floats = s.HeadFloats();
  const PooledTensor key_gradients = scratch_.AllocateF32({2, tasks, key_floats});
  float* dk_parts = key_gradients.view().f32();
  float* dv_parts = dk_parts + tasks * key_floats;
  const int64_t stride = s.heads * s.width;
  WithElementType(q.dtype, [&](auto type) {
    using T = decltype(type);
    ParallelFor(tasks, [&](int64_t task) {
      const int64_t group = task / parts;
      const int64_t b = group / s.groups;
      const int64_t first_head = group % s.groups * group_heads + task % parts;
      const AttentionKeys keys = {
          .k = packed_k.OfHead(group),
          .v = packed_v.OfHead(group),
          .first = static_cast<const int32_t*>(first.view().data) + b * s.queries,
          .width = s.width,
          .scale = options.scale};
      AttentionGradientTile<T> tile = {};
      tile.dk = dk_parts + task * key_floats;
      tile.dv = dv_parts + task * key_floats;
      tile.stride = stride;
      std::memset(tile.dk, 0, static_cast<size_t>(key_floats) * sizeof(float));
      std::memset(tile.dv, 0, static_cast<size_t>(key_floats) * sizeof(float));
      for (int64_t h = first_head; h < first_head + group_heads / parts; ++h) {
        for (int64_t begin = 0; begin < s.queries; begin += kAttentionBlock) {
          const int64_t at = ((b * s.queries + begin) * s.heads + h) * s.width;
          tile.dq = DataOf<T>(dq) + at;
          tile.dout = DataOf<T>(dout) + at;
          tile.out = DataOf<T>(out) + at;
          tile.lse = lse.f32() + (b * s.heads + h) * s.queries + begin;
          tile.q = DataOf<T>(q) + at;
          tile.begin = begin;
          tile.count = std::min(kAttentionBlock, s.queries - begin);
          loops_.Over(type).attention_backward(
              tile, keys, workspace.view().f32() + ThreadIndex() * AttentionWorkspace(s.width));
        }
      }
    });
    ParallelFor(s.batch * s.groups * s.key_blocks, [&](int64_t task) {
      const int64_t group = task / s.key_blocks;
      const int64_t begin = task % s.key_blocks * kAttentionBlock;
      const int64_t at = group * parts * key_floats;
      for (int64_t row = begin; row < std::min(s.keys, begin + kAttentionBlock); ++row) {
        const int64_t from = at + row * PaddedWidth(s.width);
        const int64_t to =
            ((group / s.groups * s.keys + row) * s.groups + group % s.groups) * s.width;
        StoreKeyGradient(DataOf<T>(dk) + to, dk_parts + from, parts, s, loops_);
        StoreKeyGradient(DataOf<T>(dv) + to, dv_parts + from, parts, s, loops_);
      }
    });
  });
}

}  // namespace liquid
