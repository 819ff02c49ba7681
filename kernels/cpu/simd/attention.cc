#include "kernels/cpu/simd/functions.h"
#include "kernels/cpu/simd/small_product.h"
#include "kernels/cpu/simd/vector.h"

namespace liquid::LIQUID_ISA {
namespace {

constexpr int64_t kBlock = kAttentionBlock;
constexpr int64_t kBlockVectors = kBlock / kLanes;
constexpr float kInfinity = __builtin_inff();

// The blocks of keys that some query of the tile sees.
struct BlockRange {
  int64_t begin;
  int64_t end;
};

BlockRange VisibleBlocks(const int32_t* first, int64_t begin, int64_t count, int64_t offset) {
  int64_t lowest = begin + offset;
  for (int64_t r = 0; r < count; ++r) lowest = Min(lowest, first[begin + r]);
  return {lowest / kBlock, (begin + count - 1 + offset) / kBlock + 1};
}

// Sets the scores of keys that row `query` may not see to -infinity.
void MaskRow(float* scores, int64_t first_key, int64_t last_key, int64_t block) {
  const int64_t base = block * kBlock;
  for (int64_t j = 0; j < Min(kBlock, first_key - base); ++j) scores[j] = -kInfinity;
  for (int64_t j = Max(0, last_key + 1 - base); j < kBlock; ++j) scores[j] = -kInfinity;
}

// One row's step of the online softmax: scores become e^(scale * score - top); `out` and `sum`
// are brought to the new top.
void SoftmaxStep(float* scores, float scale, float* top, float* sum, float* out, int64_t width) {
  F row[kBlockVectors];
  F maxima = Set(-kInfinity);
  for (int64_t v = 0; v < kBlockVectors; ++v) {
    row[v] = Load(scores + v * kLanes) * scale;
    maxima = Maximum(maxima, row[v]);
  }
  const float old_top = *top;
  const float block_top = MaximumOfLanes(maxima);
  const float new_top = block_top > old_top ? block_top : old_top;
  // Nothing seen yet: any finite shift makes all terms zero.
  const float shift = new_top == -kInfinity ? 0 : new_top;
  F sums = {};
  for (int64_t v = 0; v < kBlockVectors; ++v) {
    const F p = Exp(row[v] - shift);
    Store(scores + v * kLanes, p);
    sums += p;
  }
  if (new_top != old_top) {
    const float factor = Exp(Set(old_top - shift))[0];
    *sum *= factor;
    for (int64_t c = 0; c < width; c += kLanes) Store(out + c, Load(out + c) * factor);
    *top = new_top;
  }
  *sum += SumOfLanes(sums);
}

void CopyRows(float* out, int64_t padded, const float* x, int64_t stride, int64_t count,
              int64_t width) {
  for (int64_t r = 0; r < count; ++r) {
    ForVectors(width, [&](int64_t c, auto lanes) {
      Store(out + r * padded + c, lanes.Load(x + r * stride + c));
    });
  }
}

}  // namespace

void PackAttentionBlock(const AttentionBlock& packed, const float* rows, int64_t stride,
                        int64_t count, int64_t width) {
  const int64_t padded = PaddedWidth(width);
  if (packed.rows != nullptr) {
    for (int64_t i = 0; i < kBlock * padded; i += kLanes) Store(packed.rows + i, F{});
    CopyRows(packed.rows, padded, rows, stride, count, width);
  }
  if (packed.columns == nullptr) return;
  for (int64_t c = 0; c < width; ++c) {
    float* to = packed.columns + c * kBlock;
    for (int64_t j = 0; j < count; ++j) to[j] = rows[j * stride + c];
    for (int64_t j = count; j < kBlock; ++j) to[j] = 0;
  }
}

void Attention(const AttentionTile& tile, const AttentionKeys& keys, float* workspace) {
  const int64_t padded = PaddedWidth(keys.width);
  float* scores = workspace;
  float* out = scores + kBlock * kBlock;
  float* tops = out + kBlock * padded;
  float* sums = tops + kBlock;
  for (int64_t i = 0; i < kBlock * padded; i += kLanes) Store(out + i, F{});
  for (int64_t r = 0; r < kBlock; ++r) {
    tops[r] = -kInfinity;
    sums[r] = 0;
  }
  const BlockRange blocks = VisibleBlocks(keys.first, tile.begin, tile.count, tile.offset);
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    SmallProduct(scores, kBlock, {tile.q, tile.stride, 1},
                 keys.k_columns + block * keys.width * kBlock, kBlock, tile.count, kBlock,
                 keys.width, false);
    for (int64_t r = 0; r < tile.count; ++r) {
      const int64_t query = tile.begin + r;
      MaskRow(scores + r * kBlock, keys.first[query], query + tile.offset, block);
      SoftmaxStep(scores + r * kBlock, keys.scale, tops + r, sums + r, out + r * padded, padded);
    }
    SmallProduct(out, padded, {scores, kBlock, 1}, keys.v_rows + block * kBlock * padded, padded,
                 tile.count, padded, kBlock, true);
  }
  for (int64_t r = 0; r < tile.count; ++r) {
    const float inverse = 1.0f / sums[r];
    ForVectors(keys.width, [&](int64_t c, auto lanes) {
      lanes.Store(tile.out + r * tile.stride + c, Load(out + r * padded + c) * inverse);
    });
    tile.lse[r] = tops[r] + __builtin_logf(sums[r]);
  }
}

void AttentionBackward(const AttentionGradientTile& tile, const AttentionKeys& keys,
                       float* workspace) {
  const int64_t padded = PaddedWidth(keys.width);
  float* p = workspace;
  float* ds = p + kBlock * kBlock;
  float* dq = ds + kBlock * kBlock;
  float* q = dq + kBlock * padded;
  float* dout = q + kBlock * padded;
  float* delta = dout + kBlock * padded;
  for (int64_t i = 0; i < 3 * kBlock * padded; i += kLanes) Store(dq + i, F{});
  CopyRows(q, padded, tile.q, tile.stride, tile.count, keys.width);
  CopyRows(dout, padded, tile.dout, tile.stride, tile.count, keys.width);
  for (int64_t r = 0; r < tile.count; ++r) {
    F sum = {};
    ForVectors(keys.width, [&](int64_t c, auto lanes) {
      sum +=
          lanes.Load(tile.dout + r * tile.stride + c) * lanes.Load(tile.out + r * tile.stride + c);
    });
    delta[r] = SumOfLanes(sum);
  }
  const BlockRange blocks = VisibleBlocks(keys.first, tile.begin, tile.count, 0);
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    SmallProduct(p, kBlock, {q, padded, 1}, keys.k_columns + block * keys.width * kBlock, kBlock,
                 tile.count, kBlock, keys.width, false);
    SmallProduct(ds, kBlock, {dout, padded, 1}, keys.v_columns + block * keys.width * kBlock,
                 kBlock, tile.count, kBlock, keys.width, false);
    for (int64_t r = 0; r < tile.count; ++r) {
      float* p_row = p + r * kBlock;
      float* ds_row = ds + r * kBlock;
      MaskRow(p_row, keys.first[tile.begin + r], tile.begin + r, block);
      for (int64_t j = 0; j < kBlock; j += kLanes) {
        const F probability = Exp(Load(p_row + j) * keys.scale - tile.lse[r]);
        Store(p_row + j, probability);
        Store(ds_row + j, probability * (Load(ds_row + j) - delta[r]) * keys.scale);
      }
    }
    const int64_t at = block * kBlock * padded;
    SmallProduct(tile.dv + at, padded, {p, 1, kBlock}, dout, padded, kBlock, padded, tile.count,
                 true);
    SmallProduct(tile.dk + at, padded, {ds, 1, kBlock}, q, padded, kBlock, padded, tile.count,
                 true);
    SmallProduct(dq, padded, {ds, kBlock, 1}, keys.k_rows + at, padded, tile.count, padded, kBlock,
                 true);
  }
  for (int64_t r = 0; r < tile.count; ++r) {
    ForVectors(keys.width, [&](int64_t c, auto lanes) {
      lanes.Store(tile.dq + r * tile.stride + c, Load(dq + r * padded + c));
    });
  }
}

}  // namespace liquid::LIQUID_ISA
