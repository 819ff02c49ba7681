#include <climits>

#include "kernels/cuda/device/attention_mask.cuh"
#include "kernels/cuda/device/attention_paths.h"
#include "kernels/cuda/device/attention_tile.cuh"
#include "kernels/cuda/device/launch.cuh"

namespace liquid::cuda {
namespace {

// What a lane knows of its two rows' online softmax. Scores are in units of log 2.
struct OnlineSoftmax {
  float tops[2] = {-INFINITY, -INFINITY};
  float sums[2] = {0, 0};  // this lane's columns only

  // Scores become 2^(score - top); what was summed of a row so far is to be multiplied by factors.
  template <int kPieces>
  __device__ void Step(float (&scores)[kPieces][4], float (&factors)[2]) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float top = tops[r];
#pragma unroll
      for (int n = 0; n < kPieces; ++n) {
        top = fmaxf(top, fmaxf(scores[n][2 * r], scores[n][2 * r + 1]));
      }
      top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 1));
      top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 2));
      // Where nothing was seen yet any finite shift makes all terms zero.
      const float shift = top == -INFINITY ? 0.0f : top;
      factors[r] = exp2f(tops[r] - shift);
      tops[r] = top;
      sums[r] *= factors[r];
#pragma unroll
      for (int n = 0; n < kPieces; ++n) {
        scores[n][2 * r] = exp2f(scores[n][2 * r] - shift);
        scores[n][2 * r + 1] = exp2f(scores[n][2 * r + 1] - shift);
        sums[r] += scores[n][2 * r] + scores[n][2 * r + 1];
      }
    }
  }

  __device__ float SumOfRow(int r) const {
    float sum = sums[r];
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    sum += __shfl_xor_sync(kAllLanes, sum, 2);
    return sum;
  }
};

// Scales scores, and sets those of unseen keys to -infinity. Columns begin with `key`.
template <typename Tile>
__device__ __forceinline__ void ScaleAndMask(float (&scores)[Tile::kOthers / 8][4], float scale,
                                             int key, const SeenKeys (&seen)[2],
                                             const WarpPlace<Tile>& place) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const bool sees_all = seen[r].Has(key) && seen[r].Has(key + Tile::kOthers - 1);
#pragma unroll
    for (int n = 0; n < Tile::kOthers / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float& score = scores[n][2 * r + i];
        score = sees_all || seen[r].Has(key + n * 8 + place.column + i) ? score * scale : -INFINITY;
      }
    }
  }
}

// One block: kRows queries of one head, all keys that one of them sees.
template <typename Tile>
__global__ __launch_bounds__(Tile::kThreads, Tile::kWidth <= 128 ? 3 : 2) void AttentionKernel(
    __nv_bfloat16* __restrict__ out, float* __restrict__ lse, const __nv_bfloat16* __restrict__ q,
    const __nv_bfloat16* __restrict__ k, const __nv_bfloat16* __restrict__ v,
    const int32_t* __restrict__ document_start, AttentionShape s) {
  const TileMemory<Tile, /*kKept=*/1> memory;
  const WarpPlace<Tile> place;

  const QueryBlock<Tile> block(document_start, s);
  const int width = static_cast<int>(s.width);
  const int64_t first_query = block.begin + place.first_row;
  const SeenKeys seen[2] = {KeysSeenBy(first_query + place.row, block.starts, s),
                            KeysSeenBy(first_query + place.row + 8, block.starts, s)};
  const auto load_keys = [&](int key, int stage) {
    const int64_t at = block.key_at + key * block.key_stride;
    LoadOthers<Tile>(memory.others + 2 * stage * Tile::kOthersElements, k + at, v + at,
                     block.key_stride, block.end_key - key, width);
  };
  LoadRows<Tile, Tile::kRows>(memory.rows, q + block.query_at, block.query_stride, block.count,
                              width);
  load_keys(block.first_key, 0);

  OnlineSoftmax softmax;
  float sums[Tile::kSliceWidth / 8][4] = {};
  int stage = 0;
  for (int key = block.first_key; key < block.end_key; key += Tile::kOthers) {
    ptx::CopyAsyncWait<0>();
    __syncthreads();
    const bool more = key + Tile::kOthers < block.end_key;
    if (Tile::kStages == 2 && more) load_keys(key + Tile::kOthers, 1 - stage);
    const __nv_bfloat16* const keys =
        memory.others + 2 * stage * Tile::kOthersElements + place.first_column;
    float products[1][Tile::kOthers / 8][4] = {};
    float(&scores)[Tile::kOthers / 8][4] = products[0];
    MultiplyTransposed<Tile>(
        scores, memory.rows + place.first_row * Tile::kStride + place.first_column, keys);
    SumOverSlices<Tile>(products, memory.exchange);
    ScaleAndMask<Tile>(scores, s.scale * kLog2E, key, seen, place);
    float factors[2];
    softmax.Step(scores, factors);
#pragma unroll
    for (int n = 0; n < Tile::kSliceWidth / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[n][i] *= factors[i / 2];
    }
    Multiply<Tile>(sums, scores, keys + Tile::kOthersElements);
    if constexpr (Tile::kStages == 1) {
      __syncthreads();
      if (more) load_keys(key + Tile::kOthers, 0);
    } else {
      stage = 1 - stage;
    }
  }

  const float row_sums[2] = {softmax.SumOfRow(0), softmax.SumOfRow(1)};
  const int warp_count = block.count - place.first_row;
  StoreRows<Tile>(out + block.query_at + place.first_row * block.query_stride, block.query_stride,
                  sums, {1.0f / row_sums[0], 1.0f / row_sums[1]}, warp_count, width, place);
  for (int r = 0; r < 2; ++r) {
    const int row = place.row + r * 8;
    if (place.column != 0 || place.first_column != 0 || row >= warp_count) continue;
    lse[block.head * s.queries + first_query + row] = (softmax.tops[r] + log2f(row_sums[r])) * kLn2;
  }
}

template <typename Tile>
cudaError_t LaunchAttention(cudaStream_t stream, __nv_bfloat16* out, float* lse,
                            const __nv_bfloat16* q, const __nv_bfloat16* k, const __nv_bfloat16* v,
                            const int32_t* document_start, const AttentionShape& s) {
  const int64_t blocks = (s.queries + Tile::kRows - 1) / Tile::kRows * s.batch * s.heads;
  if (blocks > INT_MAX) return cudaErrorInvalidValue;
  return Launch(stream, dim3(static_cast<unsigned>(blocks)), Tile::kThreads,
                Tile::SharedBytes(/*kept=*/1, /*products=*/1), AttentionKernel<Tile>, out, lse, q,
                k, v, document_start, s);
}

}  // namespace

cudaError_t AttentionByTiles(cudaStream_t stream, void* out, float* lse, const void* q,
                             const void* k, const void* v, const int32_t* document_start,
                             const AttentionShape& shape) {
  const auto launch = [&](auto tile) {
    return LaunchAttention<decltype(tile)>(
        stream, static_cast<__nv_bfloat16*>(out), lse, static_cast<const __nv_bfloat16*>(q),
        static_cast<const __nv_bfloat16*>(k), static_cast<const __nv_bfloat16*>(v), document_start,
        shape);
  };
  if (shape.width <= 32) return launch(AttentionTile<32, 64, 64, 1, 2>());
  if (shape.width <= 64) return launch(AttentionTile<64, 64, 64, 1, 2>());
  if (shape.width <= 96) return launch(AttentionTile<96, 64, 32, 1, 2>());
  if (shape.width <= 128) return launch(AttentionTile<128, 64, 32, 1, 2>());
  if (shape.width <= 256) return launch(AttentionTile<256, 64, 16, 1, 2>());
  if (shape.width <= 512) return launch(AttentionTile<512, 32, 16, 2, 1>());
  return cudaErrorInvalidValue;
}

}  // namespace liquid::cuda
