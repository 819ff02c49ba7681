// The inner step of attention: one head's tile of queries against the keys that it sees.
//
// Scores are held transposed, [64 keys, 64 queries]: a vector runs over queries, so that no softmax
// sum crosses lanes. Keys and values are packed first (kernels/cpu/attention_pack.h) into
// [blocks,64,Kp], Kp = K rounded up to 16, with zeros beyond the last row and column, so that the
// products need no special cases.
#ifndef LIQUID_KERNELS_CPU_SIMD_ATTENTION_TILE_H_
#define LIQUID_KERNELS_CPU_SIMD_ATTENTION_TILE_H_

#include <stdint.h>

namespace liquid {

inline constexpr int64_t kAttentionBlock = 64;

constexpr int64_t PaddedWidth(int64_t width) { return (width + 15) / 16 * 16; }

// Floats of workspace for one tile.
constexpr int64_t AttentionWorkspace(int64_t width) {
  return kAttentionBlock * (2 * kAttentionBlock + 5 * PaddedWidth(width) + 5);
}

// What all tiles of one batch row and key/value head share.
struct AttentionKeys {
  const float* k;        // [blocks,64,Kp]
  const float* v;        // [blocks,64,Kp]
  const int32_t* first;  // by query: the first key it sees; the last is its own index
  int64_t width;         // K
  float scale;
};

// Queries begin .. begin+count-1 of a head, count <= 64; query t sees keys up to t + offset.
// Pointers are to the tile's first row; rows of q, out and alike are `stride` elements apart.
template <typename T>  // float or BFloat16
struct AttentionTile {
  T* out;
  float* lse;
  const T* q;
  int64_t stride;
  int64_t begin;
  int64_t count;
  int64_t offset;
};

template <typename T>
struct AttentionGradientTile {
  T* dq;
  float* dk;  // [blocks*64,Kp] of the whole head: +=
  float* dv;
  const T* dout;
  const T* out;
  const float* lse;
  const T* q;
  int64_t stride;
  int64_t begin;
  int64_t count;
};

}  // namespace liquid

#endif  // LIQUID_KERNELS_CPU_SIMD_ATTENTION_TILE_H_
