#include <climits>

#include "kernels/cuda/device/attention_mask.cuh"
#include "kernels/cuda/device/attention_paths.h"
#include "kernels/cuda/device/attention_tile.cuh"
#include "kernels/cuda/device/launch.cuh"

namespace liquid::cuda {
namespace {

// One block: dq of kRows queries of one head. With p = e^(score - lse), dp = dout v^T:
//   ds = p (dp - delta),  dq = scale ds k
template <typename Tile>
__global__ __launch_bounds__(Tile::kThreads, Tile::kWidth <= 128 ? 3 : 2) void QueryGradientKernel(
    __nv_bfloat16* __restrict__ dq, const float* __restrict__ delta,
    const __nv_bfloat16* __restrict__ dout, const __nv_bfloat16* __restrict__ q,
    const __nv_bfloat16* __restrict__ k, const __nv_bfloat16* __restrict__ v,
    const float* __restrict__ lse, const int32_t* __restrict__ document_start, AttentionShape s) {
  const TileMemory<Tile, /*kKept=*/2> memory;
  const WarpPlace<Tile> place;

  const QueryBlock<Tile> block(document_start, s);
  const int width = static_cast<int>(s.width);
  SeenKeys seen[2];
  float row_lse[2] = {};
  float row_delta[2] = {};
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int64_t query = block.begin + place.first_row + place.row + r * 8;
    seen[r] = KeysSeenBy(query, block.starts, s);
    if (query >= s.queries) continue;
    row_lse[r] = lse[block.head * s.queries + query] * kLog2E;
    row_delta[r] = delta[block.head * s.queries + query];
  }
  const auto load_keys = [&](int key, int stage) {
    const int64_t at = block.key_at + key * block.key_stride;
    LoadOthers<Tile>(memory.others + 2 * stage * Tile::kOthersElements, k + at, v + at,
                     block.key_stride, block.end_key - key, width);
  };
  LoadRows<Tile, Tile::kRows>(memory.rows, q + block.query_at, block.query_stride, block.count,
                              width);
  LoadRows<Tile, Tile::kRows>(memory.rows + Tile::kRowsElements, dout + block.query_at,
                              block.query_stride, block.count, width);
  load_keys(block.first_key, 0);

  const __nv_bfloat16* const queries =
      memory.rows + place.first_row * Tile::kStride + place.first_column;
  const float score_scale = s.scale * kLog2E;
  float sums[Tile::kSliceWidth / 8][4] = {};
  int stage = 0;
  for (int key = block.first_key; key < block.end_key; key += Tile::kOthers) {
    ptx::CopyAsyncWait<0>();
    __syncthreads();
    const bool more = key + Tile::kOthers < block.end_key;
    if (Tile::kStages == 2 && more) load_keys(key + Tile::kOthers, 1 - stage);
    const __nv_bfloat16* const keys =
        memory.others + 2 * stage * Tile::kOthersElements + place.first_column;
    float products[2][Tile::kOthers / 8][4] = {};  // scores, dp
    MultiplyTransposed<Tile>(products[0], queries, keys);
    MultiplyTransposed<Tile>(products[1], queries + Tile::kRowsElements,
                             keys + Tile::kOthersElements);
    SumOverSlices<Tile>(products, memory.exchange);
#pragma unroll
    for (int n = 0; n < Tile::kOthers / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int r = i / 2;
        const bool sees = seen[r].Has(key + n * 8 + place.column + i % 2);
        const float p = sees ? exp2f(products[0][n][i] * score_scale - row_lse[r]) : 0.0f;
        products[1][n][i] = p * (products[1][n][i] - row_delta[r]);
      }
    }
    Multiply<Tile>(sums, products[1], keys);
    if constexpr (Tile::kStages == 1) {
      __syncthreads();
      if (more) load_keys(key + Tile::kOthers, 0);
    } else {
      stage = 1 - stage;
    }
  }
  StoreRows<Tile>(dq + block.query_at + place.first_row * block.query_stride, block.query_stride,
                  sums, {s.scale, s.scale}, block.count - place.first_row, width, place);
}

// What the keys' gradients need to know of a query beside its rows.
struct QueryScalars {
  float lse;
  float delta;
  int first_key;
};

// From scores and dp, transposed, to p and ds. Rows begin with `key`, columns with `query`.
template <typename Tile>
__device__ __forceinline__ void GradientsOfScores(float (&products)[2][Tile::kOthers / 8][4],
                                                  const QueryScalars (&scalars)[Tile::kOthers],
                                                  float score_scale, int key, int query,
                                                  const WarpPlace<Tile>& place) {
#pragma unroll
  for (int n = 0; n < Tile::kOthers / 8; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int column = n * 8 + place.column + i % 2;
      const int row_key = key + place.row + i / 2 * 8;
      const QueryScalars scalar = scalars[column];
      const bool sees = scalar.first_key <= row_key && row_key <= query + column;
      const float p = sees ? exp2f(products[0][n][i] * score_scale - scalar.lse) : 0.0f;
      products[0][n][i] = p;
      products[1][n][i] = p * (products[1][n][i] - scalar.delta);
    }
  }
}

// One block: dk and dv of kRows keys of one key/value head.
//   dv = p^T dout,  dk = scale ds^T q
template <typename Tile>
__global__ __launch_bounds__(Tile::kThreads, 2) void KeyGradientKernel(
    __nv_bfloat16* __restrict__ dk, __nv_bfloat16* __restrict__ dv, const float* __restrict__ delta,
    const __nv_bfloat16* __restrict__ dout, const __nv_bfloat16* __restrict__ q,
    const __nv_bfloat16* __restrict__ k, const __nv_bfloat16* __restrict__ v,
    const float* __restrict__ lse, const int32_t* __restrict__ document_start, AttentionShape s) {
  __shared__ QueryScalars scalars[Tile::kStages][Tile::kOthers];
  const TileMemory<Tile, /*kKept=*/2> memory;
  const WarpPlace<Tile> place;
  const int thread = static_cast<int>(threadIdx.x);

  const int64_t b = blockIdx.x % (s.batch * s.groups) / s.groups;
  const int64_t g = blockIdx.x % s.groups;
  const int begin = static_cast<int>(blockIdx.x / (s.batch * s.groups) * Tile::kRows);
  const int count = static_cast<int>(min(int64_t{Tile::kRows}, s.keys - begin));
  const int width = static_cast<int>(s.width);
  const int group_heads = static_cast<int>(s.heads / s.groups);
  const int64_t first_head = g * group_heads;

  const int32_t* const starts = StartsOfRow(document_start, b, s);
  const SeeingQueries seeing(starts, begin + count - 1, s);
  const int64_t query_stride = s.heads * s.width;
  const auto load_queries = [&](int head, int query, int to_stage) {
    const int64_t at = ((b * s.queries + query) * s.heads + first_head + head) * s.width;
    const int left = static_cast<int>(min(int64_t{Tile::kOthers}, s.queries - query));
    LoadOthers<Tile>(memory.others + 2 * to_stage * Tile::kOthersElements, q + at, dout + at,
                     query_stride, left, width);
  };
  const auto scalars_of = [&](int head, int query) -> QueryScalars {
    if (query >= s.queries) return {0, 0, INT_MAX};
    const int64_t at = (b * s.heads + first_head + head) * s.queries + query;
    return {lse[at] * kLog2E, delta[at], KeysSeenBy(query, starts, s).first};
  };
  const int64_t key_at = ((b * s.keys + begin) * s.groups + g) * s.width;
  const int64_t key_stride = s.groups * s.width;
  LoadRows<Tile, Tile::kRows>(memory.rows, k + key_at, key_stride, count, width);
  LoadRows<Tile, Tile::kRows>(memory.rows + Tile::kRowsElements, v + key_at, key_stride, count,
                              width);
  load_queries(0, begin, 0);
  if (thread < Tile::kOthers) scalars[0][thread] = scalars_of(0, begin + thread);

  const __nv_bfloat16* const keys =
      memory.rows + place.first_row * Tile::kStride + place.first_column;
  const float score_scale = s.scale * kLog2E;
  float key_sums[Tile::kSliceWidth / 8][4] = {};
  float value_sums[Tile::kSliceWidth / 8][4] = {};
  int stage = 0;
  int head = 0;  // of the group
  int query = begin;
  while (head < group_heads) {
    ptx::CopyAsyncWait<0>();
    __syncthreads();
    const bool same_head = seeing.Has(query + Tile::kOthers);
    const int next_head = same_head ? head : head + 1;
    const int next_query = same_head ? query + Tile::kOthers : begin;
    const int next_stage = Tile::kStages - 1 - stage;
    const bool more = next_head < group_heads;
    // The next scalars are on their way while this step computes.
    QueryScalars next_scalars = {};
    if (more && thread < Tile::kOthers) next_scalars = scalars_of(next_head, next_query + thread);
    if (Tile::kStages == 2 && more) load_queries(next_head, next_query, next_stage);

    const __nv_bfloat16* const queries =
        memory.others + 2 * stage * Tile::kOthersElements + place.first_column;
    float products[2][Tile::kOthers / 8][4] = {};  // scores, dp; transposed
    MultiplyTransposed<Tile>(products[0], keys, queries);
    MultiplyTransposed<Tile>(products[1], keys + Tile::kRowsElements,
                             queries + Tile::kOthersElements);
    SumOverSlices<Tile>(products, memory.exchange);
    GradientsOfScores<Tile>(products, scalars[stage], score_scale, begin + place.first_row, query,
                            place);
    Multiply<Tile>(value_sums, products[0], queries + Tile::kOthersElements);
    Multiply<Tile>(key_sums, products[1], queries);

    if constexpr (Tile::kStages == 1) {
      __syncthreads();
      if (more) load_queries(next_head, next_query, next_stage);
    }
    if (more && thread < Tile::kOthers) scalars[next_stage][thread] = next_scalars;
    head = next_head;
    query = next_query;
    stage = next_stage;
  }
  const int64_t to = key_at + place.first_row * key_stride;
  StoreRows<Tile>(dk + to, key_stride, key_sums, {s.scale, s.scale}, count - place.first_row, width,
                  place);
  StoreRows<Tile>(dv + to, key_stride, value_sums, {1.0f, 1.0f}, count - place.first_row, width,
                  place);
}

template <typename Tile, typename... Arguments>
cudaError_t LaunchQueryGradient(cudaStream_t stream, const AttentionShape& s,
                                Arguments... arguments) {
  const int64_t blocks = (s.queries + Tile::kRows - 1) / Tile::kRows * s.batch * s.heads;
  if (blocks > INT_MAX) return cudaErrorInvalidValue;
  return Launch(stream, dim3(static_cast<unsigned>(blocks)), Tile::kThreads,
                Tile::SharedBytes(/*kept=*/2, /*products=*/2), QueryGradientKernel<Tile>,
                arguments..., s);
}
template <typename Tile, typename... Arguments>
cudaError_t LaunchKeyGradient(cudaStream_t stream, const AttentionShape& s,
                              Arguments... arguments) {
  const int64_t blocks = (s.keys + Tile::kRows - 1) / Tile::kRows * s.batch * s.groups;
  if (blocks > INT_MAX) return cudaErrorInvalidValue;
  return Launch(stream, dim3(static_cast<unsigned>(blocks)), Tile::kThreads,
                Tile::SharedBytes(/*kept=*/2, /*products=*/2), KeyGradientKernel<Tile>,
                arguments..., s);
}

}  // namespace

cudaError_t AttentionBackwardByTiles(cudaStream_t stream, void* dq, void* dk, void* dv,
                                     const float* delta, const void* dout, const void* q,
                                     const void* k, const void* v, const float* lse,
                                     const int32_t* document_start, const AttentionShape& shape) {
  const auto* const dout_rows = static_cast<const __nv_bfloat16*>(dout);
  const auto* const q_rows = static_cast<const __nv_bfloat16*>(q);
  const auto* const k_rows = static_cast<const __nv_bfloat16*>(k);
  const auto* const v_rows = static_cast<const __nv_bfloat16*>(v);
  const auto launch = [&](auto query_tile, auto key_tile) {
    const cudaError_t code = LaunchQueryGradient<decltype(query_tile)>(
        stream, shape, static_cast<__nv_bfloat16*>(dq), delta, dout_rows, q_rows, k_rows, v_rows,
        lse, document_start);
    if (code != cudaSuccess) return code;
    return LaunchKeyGradient<decltype(key_tile)>(stream, shape, static_cast<__nv_bfloat16*>(dk),
                                                 static_cast<__nv_bfloat16*>(dv), delta, dout_rows,
                                                 q_rows, k_rows, v_rows, lse, document_start);
  };
  const auto launch_both = [&](auto tile) { return launch(tile, tile); };
  if (shape.width <= 32) return launch_both(AttentionTile<32, 64, 64, 1, 2>());
  if (shape.width <= 64) return launch_both(AttentionTile<64, 64, 64, 1, 2>());
  if (shape.width <= 96) return launch_both(AttentionTile<96, 64, 32, 1, 2>());
  if (shape.width <= 128) {
    return launch(AttentionTile<128, 64, 32, 1, 2>(), AttentionTile<128, 64, 16, 1, 2>());
  }
  if (shape.width <= 256) return launch_both(AttentionTile<256, 32, 16, 2, 2>());
  if (shape.width <= 512) return launch_both(AttentionTile<512, 16, 16, 4, 1>());
  return cudaErrorInvalidValue;
}

}  // namespace liquid::cuda
