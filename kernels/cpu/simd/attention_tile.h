// The inner step of attention: one head's tile of queries against the keys that it sees.
//
// Keys and values are packed first (kernels/cpu/attention_pack.h), in blocks of 64 rows with zeros
// beyond the last row or column, so that the products below need no special cases:
//   columns [blocks,K,64], each block transposed;  rows [blocks,64,Kp], Kp = K rounded up to 16.
#ifndef LIQUID_KERNELS_CPU_SIMD_ATTENTION_TILE_H_
#define LIQUID_KERNELS_CPU_SIMD_ATTENTION_TILE_H_

#include <stdint.h>

namespace liquid {

inline constexpr int64_t kAttentionBlock = 64;

constexpr int64_t PaddedWidth(int64_t width) { return (width + 15) / 16 * 16; }

// Floats of workspace for one tile.
constexpr int64_t AttentionWorkspace(int64_t width) {
  return 2 * kAttentionBlock * kAttentionBlock + 3 * kAttentionBlock * PaddedWidth(width) +
         2 * kAttentionBlock;
}

// Where one block of rows is packed to; null: not needed in this form.
struct AttentionBlock {
  float* columns;
  float* rows;
};

// What all tiles of one batch row and key/value head share.
struct AttentionKeys {
  const float* k_columns;
  const float* k_rows;     // backward only
  const float* v_columns;  // backward only
  const float* v_rows;     // forward only
  const int32_t* first;    // by query: the first key it sees; the last is its own index
  int64_t width;           // K
  float scale;
};

// Queries begin .. begin+count-1 of a head, count <= 64; query t sees keys up to t + offset.
// Pointers are to the tile's first row; rows of q, out and alike are `stride` floats apart.
struct AttentionTile {
  float* out;
  float* lse;
  const float* q;
  int64_t stride;
  int64_t begin;
  int64_t count;
  int64_t offset;
};

struct AttentionGradientTile {
  float* dq;
  float* dk;  // [blocks*64,Kp] of the whole head: +=
  float* dv;
  const float* dout;
  const float* out;
  const float* lse;
  const float* q;
  int64_t stride;
  int64_t begin;
  int64_t count;
};

}  // namespace liquid

#endif  // LIQUID_KERNELS_CPU_SIMD_ATTENTION_TILE_H_
