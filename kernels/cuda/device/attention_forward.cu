#include "kernels/cuda/device/attention_mask.cuh"
#include "kernels/cuda/device/attention_paths.h"
#include "kernels/cuda/device/attention_tile.cuh"
#include "kernels/cuda/device/launch.cuh"

namespace liquid::cuda {
namespace {

// What a lane knows of two rows' online softmax.
struct OnlineSoftmax {
  float tops[2] = {-INFINITY, -INFINITY};  // of the scores, not scaled
  float sums[2] = {0, 0};                  // this lane's columns only

  float shifts[2];  // scale times the tops, or any number

  // Takes note of scores; what was summed so far is then to be multiplied by factors.
  // REQUIRES: scale > 0.
  template <int kPieces>
  __device__ __forceinline__ void Raise(const float (&scores)[kPieces][4], float scale,
                                        float (&factors)[2]) {
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
      shifts[r] = top == -INFINITY ? 0.0f : top * scale;
      factors[r] = ptx::Exp2(fmaf(tops[r], scale, -shifts[r]));
      tops[r] = top;
      sums[r] *= factors[r];
    }
  }
  // Scores, of which Raise took note, become 2^(scale (score - top)).
  __device__ __forceinline__ void Weigh(float (&scores)[4], float scale) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      scores[i] = ptx::Exp2(fmaf(scores[i], scale, -shifts[i / 2]));
      sums[i / 2] += scores[i];
    }
  }

  __device__ float SumOfRow(int r) const {
    float sum = sums[r];
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    sum += __shfl_xor_sync(kAllLanes, sum, 2);
    return sum;
  }
};

// sums += softmax(scores) values, once what was summed so far is brought to the same shift. Weights
// are computed when their turn comes: the others' products go on meanwhile, and it saves registers.
template <typename Tile>
__device__ __forceinline__ void AddWeighted(typename Tile::Sums& sums,
                                            typename Tile::Product& scores,
                                            OnlineSoftmax (&softmax)[Tile::kParts], float scale,
                                            const __nv_bfloat16* values) {
#pragma unroll
  for (int p = 0; p < Tile::kParts; ++p) {
    float factors[2];
    softmax[p].Raise(scores[p], scale, factors);
#pragma unroll
    for (int n = 0; n < Tile::kSliceWidth / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[p][n][i] *= factors[i / 2];
    }
  }
#pragma unroll
  for (int n = 0; n < Tile::kOthers / 8; n += 2) {
#pragma unroll
    for (int p = 0; p < Tile::kParts; ++p) {
      softmax[p].Weigh(scores[p][n], scale);
      softmax[p].Weigh(scores[p][n + 1], scale);
    }
    MultiplySixteen<Tile>(sums, scores, n, values);
  }
}

template <typename Tile>
__device__ __forceinline__ void StoreResults(__nv_bfloat16* out, float* lse,
                                             const typename Tile::Sums& sums,
                                             const OnlineSoftmax (&softmax)[Tile::kParts],
                                             const int32_t* document_start,
                                             const AttentionShape& s) {
  const QueryBlock<Tile> block(document_start, s);
  const WarpPlace<Tile> place;
  const int count = block.count - place.first_row;
  float* const lse_rows = lse + block.head * s.queries + block.begin + place.first_row;
  float factors[Tile::kParts][2];
#pragma unroll
  for (int i = 0; i < 2 * Tile::kParts; ++i) {
    const OnlineSoftmax& rows = softmax[i / 2];
    const int r = i % 2;
    const int row = place.row + i * 8;
    const float sum = rows.SumOfRow(r);
    factors[i / 2][r] = 1.0f / sum;
    if (place.column != 0 || place.first_column != 0 || row >= count) continue;
    lse_rows[row] = (rows.tops[r] * (s.scale * kLog2E) + log2f(sum)) * kLn2;
  }
  StoreRows<Tile>(out + block.query_at + int64_t{place.first_row} * block.query_stride,
                  block.query_stride, sums, factors, count, static_cast<int>(s.width), place);
}

// One block: kRows queries of one head, all keys that one of them sees. Values arrive while the
// scores are computed, the next keys while the values are summed.
template <typename Tile>
__global__ __launch_bounds__(Tile::kThreads, 2) void AttentionKernel(
    __nv_bfloat16* __restrict__ out, float* __restrict__ lse, const __nv_bfloat16* __restrict__ q,
    const __nv_bfloat16* __restrict__ k, const __nv_bfloat16* __restrict__ v,
    const int32_t* __restrict__ document_start, AttentionShape s, float score_scale) {
  const TileMemory<Tile, /*kKept=*/1, /*kStreamed=*/2> memory;
  __nv_bfloat16* const keys = memory.others;
  __nv_bfloat16* const values = memory.others + Tile::kOthersElements;
  const WarpPlace<Tile> place;
  const QueryBlock<Tile> block(document_start, s);
  const ViewOfQueries view(block.begin + place.first_row, Tile::kWarpRows, block.starts, s);
  const auto load = [&](__nv_bfloat16* to, const __nv_bfloat16* from, int key) {
    LoadRows<Tile, Tile::kOthers>(to, from + block.key_at + int64_t{key} * block.key_stride,
                                  block.key_stride, block.end_key - key, static_cast<int>(s.width));
    ptx::CopyAsyncCommit();
  };
  LoadRows<Tile, Tile::kRows>(memory.rows, q + block.query_at, block.query_stride, block.count,
                              static_cast<int>(s.width));
  load(keys, k, block.first_key);

  OnlineSoftmax softmax[Tile::kParts];
  typename Tile::Sums sums = {};
  for (int key = block.first_key; key < block.end_key; key += Tile::kOthers) {
    ptx::CopyAsyncWait<0>();
    __syncthreads();  // the keys are here, and all warps are through with the values before
    load(values, v, key);
    // Warps that share rows go together, so that they meet in SumOverSlices.
    const bool sees = view.HasSomeOf(key, Tile::kOthers);
    float products[1][Tile::kParts][Tile::kOthers / 8][4] = {};
    typename Tile::Product& scores = products[0];
    if (sees || Tile::kSlices > 1) {
      MultiplyTransposed<Tile>(scores,
                               memory.rows + place.first_row * Tile::kStride + place.first_column,
                               keys + place.first_column);
      SumOverSlices<Tile>(products, memory.exchange);
    }
    ptx::CopyAsyncWait<0>();
    __syncthreads();  // the values are here, and all warps are through with the keys
    if (key + Tile::kOthers < block.end_key) load(keys, k, key + Tile::kOthers);
    if (!sees) continue;
    if (!view.HasAllOf(key, Tile::kOthers)) {
      Mask<Tile>(scores, key, document_start, s);
    }
    AddWeighted<Tile>(sums, scores, softmax, score_scale, values + place.first_column);
  }
  StoreResults<Tile>(out, lse, sums, softmax, document_start, s);
}

template <typename Tile>
cudaError_t LaunchAttention(cudaStream_t stream, __nv_bfloat16* out, float* lse,
                            const __nv_bfloat16* q, const __nv_bfloat16* k, const __nv_bfloat16* v,
                            const int32_t* document_start, const AttentionShape& s) {
  dim3 grid;
  const cudaError_t code = GridOf<Tile>(grid, s.heads, s.queries, s);
  if (code != cudaSuccess) return code;
  return Launch(stream, grid, Tile::kThreads,
                Tile::SharedBytes(/*kept=*/1, /*streamed=*/2, /*products=*/1),
                AttentionKernel<Tile>, out, lse, q, k, v, document_start, s, s.scale * kLog2E);
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
  if (shape.width <= 32) return launch(AttentionTile<32, 128, 64, 2, 1>());
  if (shape.width <= 64) return launch(AttentionTile<64, 128, 64, 2, 1>());
  if (shape.width <= 96) return launch(AttentionTile<96, 128, 64, 2, 1>());
  if (shape.width <= 128) return launch(AttentionTile<128, 128, 48, 2, 1>());
  if (shape.width <= 256) return launch(AttentionTile<256, 64, 32, 1, 1>());
  if (shape.width <= 512) return launch(AttentionTile<512, 32, 16, 1, 2>());
  return cudaErrorInvalidValue;
}

}  // namespace liquid::cuda
