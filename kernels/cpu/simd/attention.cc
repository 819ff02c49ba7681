#include "kernels/cpu/simd/functions.h"
#include "kernels/cpu/simd/small_product.h"
#include "kernels/cpu/simd/transpose.h"
#include "kernels/cpu/simd/vector.h"

namespace liquid::LIQUID_ISA {
namespace {

constexpr int64_t kBlock = kAttentionBlock;
constexpr float kInfinity = __builtin_inff();

// Hands out the pieces of a tile's workspace.
class Workspace {
 public:
  explicit Workspace(float* begin) : next_(begin) {}
  float* Take(int64_t count) {
    float* taken = next_;
    next_ += count;
    return taken;
  }

 private:
  float* next_;
};

// Which keys the queries of a tile see, by lane. Queries beyond the tile's last see none.
struct Visibility {
  int32_t first[kBlock];
  int32_t last[kBlock];
  int32_t lowest_first;
  int32_t highest_first;
  int32_t lowest_last;
  int32_t highest_last;

  Visibility(const int32_t* first_keys, int64_t begin, int64_t count, int64_t offset) {
    for (int64_t r = 0; r < kBlock; ++r) {
      first[r] = r < count ? first_keys[begin + r] : INT32_MAX;
      last[r] = r < count ? static_cast<int32_t>(begin + r + offset) : -1;
    }
    lowest_first = highest_first = first[0];
    for (int64_t r = 1; r < kBlock; ++r) {
      if (first[r] < lowest_first) lowest_first = first[r];
      if (first[r] > highest_first) highest_first = first[r];
    }
    lowest_last = last[0];
    highest_last = last[count - 1];
    if (count < kBlock) lowest_last = -1;
  }

  int64_t FirstBlock() const { return lowest_first / kBlock; }
  int64_t EndBlock() const { return highest_last / kBlock + 1; }
  bool SeesAllOf(int64_t block) const {
    return highest_first <= block * kBlock && lowest_last >= (block + 1) * kBlock - 1;
  }
};

inline I LoadInts(const int32_t* p) {
  I v;
  __builtin_memcpy(&v, p, sizeof(v));
  return v;
}

// Sets the scores that a query may not see to -infinity.
void MaskScores(float* scores, const Visibility& visibility, int64_t block) {
  for (int64_t i = 0; i < kBlock; i += kLanes) {
    const I first = LoadInts(visibility.first + i);
    const I last = LoadInts(visibility.last + i);
    for (int64_t j = 0; j < kBlock; ++j) {
      const I key = I{} + static_cast<int32_t>(block * kBlock + j);
      float* at = scores + j * kBlock + i;
      Store(at, (key >= first) & (key <= last) ? Load(at) : Set(-kInfinity));
    }
  }
}

// The step of the online softmax: scores become e^(score - top); tops and sums of the queries are
// brought up to date, and factors tell what their earlier sums are to be multiplied by.
void SoftmaxStep(float* scores, float* tops, float* sums, float* factors) {
  for (int64_t i = 0; i < kBlock; i += kLanes) {
    const F old_top = Load(tops + i);
    F top = old_top;
    for (int64_t j = 0; j < kBlock; ++j) top = Maximum(top, Load(scores + j * kBlock + i));
    // Where nothing was seen yet any finite shift makes all terms zero.
    const F shift = top == Set(-kInfinity) ? F{} : top;
    const F factor = Exp(old_top - shift);
    F sum = Load(sums + i) * factor;
    for (int64_t j = 0; j < kBlock; ++j) {
      float* at = scores + j * kBlock + i;
      const F term = Exp(Load(at) - shift);
      Store(at, term);
      sum += term;
    }
    Store(tops + i, top);
    Store(sums + i, sum);
    Store(factors + i, factor);
  }
}

// out [64,padded] = the rows of x, with zeros around them.
template <typename T>
void CopyRows(float* out, int64_t padded, const T* x, int64_t stride, int64_t count,
              int64_t width) {
  for (int64_t i = 0; i < kBlock * padded; i += kLanes) Store(out + i, F{});
  for (int64_t r = 0; r < count; ++r) {
    ForVectors(width, [&](int64_t c, auto lanes) {
      lanes.Store(out + r * padded + c, lanes.Load(x + r * stride + c));
    });
  }
}

// columns [width,64] = scale * rows^T, rows [64,padded].
void ScaledColumns(float* columns, const float* rows, int64_t padded, int64_t width, float scale) {
  TransposeBlock(columns, kBlock, rows, padded, kBlock, width);
  for (int64_t i = 0; i < width * kBlock; i += kLanes)
    Store(columns + i, Load(columns + i) * scale);
}

// delta [64] = the row-wise dot products of dout and out.
template <typename T>
void RowDots(float* delta, const AttentionGradientTile<T>& tile, int64_t width) {
  for (int64_t i = 0; i < kBlock; i += kLanes) Store(delta + i, F{});
  for (int64_t r = 0; r < tile.count; ++r) {
    const int64_t row = r * tile.stride;
    F sum = {};
    ForVectors(width, [&](int64_t c, auto lanes) {
      sum += lanes.Load(tile.dout + row + c) * lanes.Load(tile.out + row + c);
    });
    delta[r] = SumOfLanes(sum);
  }
}

// From scores and dp, the gradients of the probabilities, to probabilities and gradients of the
// scores: p = e^(score - lse), ds = p (dp - delta) scale.
void SoftmaxGradient(float* p, float* ds, const float* lse, const float* delta, float scale) {
  for (int64_t i = 0; i < kBlock; i += kLanes) {
    const F shift = Load(lse + i);
    const F mean = Load(delta + i);
    for (int64_t at = i; at < kBlock * kBlock; at += kBlock) {
      const F probability = Exp(Load(p + at) - shift);
      Store(p + at, probability);
      Store(ds + at, probability * (Load(ds + at) - mean) * scale);
    }
  }
}

template <typename T>
void Attention(const AttentionTile<T>& tile, const AttentionKeys& keys, float* workspace) {
  const int64_t padded = PaddedWidth(keys.width);
  Workspace space(workspace);
  float* scores = space.Take(kBlock * kBlock);
  float* out = space.Take(kBlock * padded);
  float* rows = space.Take(kBlock * padded);
  float* columns = space.Take(kBlock * padded);
  float* tops = space.Take(kBlock);
  float* sums = space.Take(kBlock);
  float* factors = space.Take(kBlock);
  CopyRows(rows, padded, tile.q, tile.stride, tile.count, keys.width);
  ScaledColumns(columns, rows, padded, keys.width, keys.scale);
  for (int64_t i = 0; i < kBlock; i += kLanes) {
    Store(tops + i, Set(-kInfinity));
    Store(sums + i, F{});
  }
  const Visibility visibility(keys.first, tile.begin, tile.count, tile.offset);
  for (int64_t block = visibility.FirstBlock(); block < visibility.EndBlock(); ++block) {
    const int64_t at = block * kBlock * padded;
    SmallProduct(scores, kBlock, {keys.k + at, padded, 1}, columns, kBlock, kBlock, kBlock,
                 keys.width, false);
    if (!visibility.SeesAllOf(block)) MaskScores(scores, visibility, block);
    SoftmaxStep(scores, tops, sums, factors);
    const bool is_first = block == visibility.FirstBlock();
    for (int64_t r = 0; r < tile.count && !is_first; ++r) {
      if (factors[r] == 1.0f) continue;
      float* row = out + r * padded;
      for (int64_t c = 0; c < padded; c += kLanes) Store(row + c, Load(row + c) * factors[r]);
    }
    SmallProduct(out, padded, {scores, 1, kBlock}, keys.v + at, padded, tile.count, padded, kBlock,
                 !is_first);
  }
  for (int64_t r = 0; r < tile.count; ++r) {
    const float inverse = 1.0f / sums[r];
    ForVectors(keys.width, [&](int64_t c, auto lanes) {
      lanes.Store(tile.out + r * tile.stride + c, lanes.Load(out + r * padded + c) * inverse);
    });
    tile.lse[r] = tops[r] + __builtin_logf(sums[r]);
  }
}

template <typename T>
void AttentionBackward(const AttentionGradientTile<T>& tile, const AttentionKeys& keys,
                       float* workspace) {
  const int64_t padded = PaddedWidth(keys.width);
  Workspace space(workspace);
  float* p = space.Take(kBlock * kBlock);
  float* ds = space.Take(kBlock * kBlock);
  float* dq = space.Take(kBlock * padded);
  float* q = space.Take(kBlock * padded);
  float* dout = space.Take(kBlock * padded);
  float* q_columns = space.Take(kBlock * padded);
  float* dout_columns = space.Take(kBlock * padded);
  float* lse = space.Take(kBlock);
  float* delta = space.Take(kBlock);
  CopyRows(q, padded, tile.q, tile.stride, tile.count, keys.width);
  CopyRows(dout, padded, tile.dout, tile.stride, tile.count, keys.width);
  ScaledColumns(q_columns, q, padded, keys.width, keys.scale);
  TransposeBlock(dout_columns, kBlock, dout, padded, kBlock, keys.width);
  RowDots(delta, tile, keys.width);
  for (int64_t r = 0; r < kBlock; ++r) lse[r] = r < tile.count ? tile.lse[r] : 0;
  const Visibility visibility(keys.first, tile.begin, tile.count, 0);
  for (int64_t block = visibility.FirstBlock(); block < visibility.EndBlock(); ++block) {
    const int64_t at = block * kBlock * padded;
    SmallProduct(p, kBlock, {keys.k + at, padded, 1}, q_columns, kBlock, kBlock, kBlock, keys.width,
                 false);
    SmallProduct(ds, kBlock, {keys.v + at, padded, 1}, dout_columns, kBlock, kBlock, kBlock,
                 keys.width, false);
    if (!visibility.SeesAllOf(block)) MaskScores(p, visibility, block);
    SoftmaxGradient(p, ds, lse, delta, keys.scale);
    SmallProduct(tile.dv + at, padded, {p, kBlock, 1}, dout, padded, kBlock, padded, tile.count,
                 true);
    SmallProduct(tile.dk + at, padded, {ds, kBlock, 1}, q, padded, kBlock, padded, tile.count,
                 true);
    SmallProduct(dq, padded, {ds, 1, kBlock}, keys.k + at, padded, tile.count, padded, kBlock,
                 block > visibility.FirstBlock());
  }
  for (int64_t r = 0; r < tile.count; ++r) {
    ForVectors(keys.width, [&](int64_t c, auto lanes) {
      lanes.Store(tile.dq + r * tile.stride + c, lanes.Load(dq + r * padded + c));
    });
  }
}

}  // namespace

template <typename T>
void SetAttention(LoopsOver<T>& loops) {
  loops.attention = Attention<T>;
  loops.attention_backward = AttentionBackward<T>;
}
template void SetAttention(LoopsOver<float>&);
template void SetAttention(LoopsOver<BFloat16>&);

}  // namespace liquid::LIQUID_ISA
