#include <climits>
#include <type_traits>

#include "kernels/cuda/device/attention_mask.cuh"
#include "kernels/cuda/device/attention_paths.h"
#include "kernels/cuda/device/attention_tile.cuh"
#include "kernels/cuda/device/launch.cuh"

namespace liquid::cuda {
namespace {

// What both kernels need to know of a query beside its rows. Its lse is in units of log 2.
struct __align__(8) QueryScalars {
  float lse;
  float delta;
};

// sums += ds others, with ds from scores and dp. `scalars` are those of the block's rows.
template <typename Tile>
__device__ __forceinline__ void AddQueryGradients(typename Tile::Sums& sums,
                                                  typename Tile::Product& scores,
                                                  typename Tile::Product& gradients,
                                                  const QueryScalars* scalars, float score_scale,
                                                  const __nv_bfloat16* others) {
  const WarpPlace<Tile> place;
  const QueryScalars* const of_rows = scalars + place.first_row + place.row;
#pragma unroll
  for (int n = 0; n < Tile::kOthers / 8; ++n) {
#pragma unroll
    for (int i = 0; i < 4 * Tile::kParts; ++i) {
      const QueryScalars scalar = of_rows[i / 2 * 8];
      const float p = ptx::Exp2(fmaf(scores[i / 4][n][i % 4], score_scale, -scalar.lse));
      float& gradient = gradients[i / 4][n][i % 4];
      gradient = p * (gradient - scalar.delta);
    }
    if (n % 2 == 1) MultiplySixteen<Tile>(sums, gradients, n - 1, others);
  }
}

// The gradient of a block's queries, from its sums.
template <typename Tile>
__device__ __forceinline__ void StoreGradient(__nv_bfloat16* dq, const typename Tile::Sums& sums,
                                              float scale, const int32_t* document_start,
                                              const AttentionShape& s) {
  const QueryBlock<Tile> block(document_start, s);
  const WarpPlace<Tile> place;
  float factors[Tile::kParts][2];
#pragma unroll
  for (int i = 0; i < 2 * Tile::kParts; ++i) factors[i / 2][i % 2] = scale;
  StoreRows<Tile>(dq + block.query_at + int64_t{place.first_row} * block.query_stride,
                  block.query_stride, sums, factors, block.count - place.first_row,
                  static_cast<int>(s.width), place);
}

// One block: dq of kRows queries of one head. With p = e^(score - lse), dp = dout v^T:
//   ds = p (dp - delta),  dq = scale ds k
// The next keys arrive during all of a step, the next values during the last product.
template <typename Tile>
__global__ __launch_bounds__(Tile::kThreads, 2) void QueryGradientKernel(
    __nv_bfloat16* __restrict__ dq, const float* __restrict__ delta,
    const __nv_bfloat16* __restrict__ dout, const __nv_bfloat16* __restrict__ q,
    const __nv_bfloat16* __restrict__ k, const __nv_bfloat16* __restrict__ v,
    const float* __restrict__ lse, const int32_t* __restrict__ document_start, AttentionShape s,
    float score_scale) {
  __shared__ QueryScalars scalars[Tile::kRows];
  const TileMemory<Tile, /*kKept=*/2, /*kStreamed=*/3> memory;
  const auto keys_at = [&](int key) {  // two tiles take turns
    return memory.others + key / Tile::kOthers % 2 * Tile::kOthersElements;
  };
  __nv_bfloat16* const values = memory.others + 2 * Tile::kOthersElements;
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
  LoadRows<Tile, Tile::kRows>(memory.rows + Tile::kRowsElements, dout + block.query_at,
                              block.query_stride, block.count, static_cast<int>(s.width));
  load(keys_at(block.first_key), k, block.first_key);
  load(values, v, block.first_key);
  for (int row = static_cast<int>(threadIdx.x); row < Tile::kRows; row += Tile::kThreads) {
    const int64_t at = block.head * s.queries + block.begin + row;
    scalars[row] = row < block.count ? QueryScalars{lse[at] * kLog2E, delta[at]} : QueryScalars{};
  }

  const int first_element = place.first_row * Tile::kStride + place.first_column;
  typename Tile::Sums sums = {};
  for (int key = block.first_key; key < block.end_key; key += Tile::kOthers) {
    ptx::CopyAsyncWait<0>();
    __syncthreads();  // keys and values are here, and all warps are through with the keys before
    const bool more = key + Tile::kOthers < block.end_key;
    if (more) load(keys_at(key + Tile::kOthers), k, key + Tile::kOthers);
    // Warps that share rows go together, so that they meet in SumOverSlices.
    const bool sees = view.HasSomeOf(key, Tile::kOthers);
    float products[2][Tile::kParts][Tile::kOthers / 8][4] = {};  // scores, dp
    if (sees || Tile::kSlices > 1) {
      MultiplyTransposed<Tile>(products[0], memory.rows + first_element,
                               keys_at(key) + place.first_column);
      MultiplyTransposed<Tile>(products[1], memory.rows + Tile::kRowsElements + first_element,
                               values + place.first_column);
      SumOverSlices<Tile>(products, memory.exchange);
    }
    __syncthreads();  // all warps are through with the values
    if (more) load(values, v, key + Tile::kOthers);
    if (!sees) continue;
    if (!view.HasAllOf(key, Tile::kOthers)) Mask<Tile>(products[0], key, document_start, s);
    AddQueryGradients<Tile>(sums, products[0], products[1], scalars, score_scale,
                            keys_at(key) + place.first_column);
  }
  StoreGradient<Tile>(dq, sums, s.scale, document_start, s);
}

// From scores and dp, transposed, to p and ds. Rows begin with `key`, columns with `query`, whose
// scalars and first keys are given.
template <typename Tile, int kPieces>
__device__ __forceinline__ void GradientsOfKeys(float (&products)[2][1][kPieces][4],
                                                const QueryScalars* scalars, const int* first_keys,
                                                bool sees_all, float score_scale, int key,
                                                int query) {
  const WarpPlace<Tile> place;
#pragma unroll
  for (int n = 0; n < kPieces; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int column = n * 8 + place.column + i % 2;
      const int row_key = key + place.row + i / 2 * 8;
      const QueryScalars scalar = scalars[column];
      float& score = products[0][0][n][i];
      float& gradient = products[1][0][n][i];
      score = ptx::Exp2(fmaf(score, score_scale, -scalar.lse));
      if (!sees_all && !(first_keys[column] <= row_key && row_key <= query + column)) score = 0.0f;
      gradient = score * (gradient - scalar.delta);
    }
  }
}

// A block whose rows are keys of one key/value head: which. Those with most queries come first.
template <typename Tile>
struct KeyBlock {
  int batch_row;
  int group;
  int begin;
  int count;
  int64_t key_at;  // in k, of the first key
  int key_stride;

  // REQUIRES: a grid of GridOf(shape.groups, shape.keys).
  __device__ explicit KeyBlock(const AttentionShape& s) {
    const int3 place = ptx::ReadBlock();
    group = place.x;
    batch_row = place.y;
    begin = place.z * Tile::kRows;
    count = min(Tile::kRows, static_cast<int>(s.keys) - begin);
    key_at = ((batch_row * s.keys + begin) * s.groups + group) * s.width;
    key_stride = static_cast<int>(s.groups * s.width);
  }
};

// dk and dv from their sums.
template <typename Tile>
__device__ __forceinline__ void StoreGradients(__nv_bfloat16* dk, __nv_bfloat16* dv,
                                               const typename Tile::Sums& key_sums,
                                               const typename Tile::Sums& value_sums,
                                               const AttentionShape& s) {
  const KeyBlock<Tile> block(s);
  const WarpPlace<Tile> place;
  const int64_t at = block.key_at + int64_t{place.first_row} * block.key_stride;
  const int count = block.count - place.first_row;
  const int width = static_cast<int>(s.width);
  StoreRows<Tile>(dk + at, block.key_stride, key_sums, {{s.scale, s.scale}}, count, width, place);
  StoreRows<Tile>(dv + at, block.key_stride, value_sums, {{1.0f, 1.0f}}, count, width, place);
}

// What a stage's queries add to a warp's sums, 8 kPieces of them at a time.
template <typename Tile, int kPieces>
__device__ __forceinline__ void AddPortions(typename Tile::Sums& key_sums,
                                            typename Tile::Sums& value_sums,
                                            const KeptRows<Tile> (&kept)[2],
                                            const QueryScalars* scalars, const int* first_keys,
                                            const __nv_bfloat16* queries, float4* exchange,
                                            float score_scale, int key, int query) {
  constexpr int kPortion = 8 * kPieces;
  // Warps that share rows meet in SumOverSlices, once in a stage.
  static_assert(Tile::kSlices == 1 || Tile::kOthers == kPortion);
  constexpr int kLastRow = Tile::kWarpRows - 1;
#pragma unroll 1
  for (int at = 0; at < Tile::kOthers; at += kPortion) {
    const int last = at + kPortion - 1;
    const bool sees = key <= query + last && first_keys[at] <= key + kLastRow;
    if (!sees && Tile::kSlices == 1) continue;
    const bool sees_all = key + kLastRow <= query + at && first_keys[last] <= key;
    const __nv_bfloat16* const portion = queries + at * Tile::kStride;
    float products[2][1][kPieces][4] = {};  // scores, dp; transposed
    MultiplyTransposed<Tile>(products, kept, portion);
    SumOverSlices<Tile>(products, exchange);
    GradientsOfKeys<Tile>(products, scalars + at, first_keys + at, sees_all, score_scale, key,
                          query + at);
    Multiply<Tile>(value_sums, products[0], portion + Tile::kOthersElements);
    Multiply<Tile>(key_sums, products[1], portion);
  }
}

// The queries that a block of keys has at a time: kOthers of one of the group's heads. What it
// takes to find them is worked out at each step, for want of registers.
struct QueryStep {
  int head;  // among all
  int query;
};

// Whether the block has queries of this head behind those of the step.
template <typename Tile>
__device__ __forceinline__ bool HasMoreOfHead(QueryStep step, const int32_t* document_start,
                                              const AttentionShape& s) {
  const KeyBlock<Tile> block(s);
  const SeeingQueries seeing(StartsOfRow(document_start, block.batch_row, s),
                             block.begin + block.count - 1, s);
  return seeing.Has(step.query + Tile::kOthers);
}

// Begins to copy their rows of q and dout.
template <typename Tile>
__device__ __forceinline__ void LoadQueries(__nv_bfloat16* to, const __nv_bfloat16* q,
                                            const __nv_bfloat16* dout, QueryStep step,
                                            const AttentionShape& s) {
  const KeyBlock<Tile> block(s);
  const int64_t at = ((block.batch_row * s.queries + step.query) * s.heads + step.head) * s.width;
  const int stride = static_cast<int>(s.heads * s.width);
  const int left = static_cast<int>(s.queries) - step.query;
  const int width = static_cast<int>(s.width);
  LoadRows<Tile, Tile::kOthers>(to, q + at, stride, left, width);
  LoadRows<Tile, Tile::kOthers>(to + Tile::kOthersElements, dout + at, stride, left, width);
  ptx::CopyAsyncCommit();
}

// What else is to be known of this thread's query, if it has one.
struct QueryFacts {
  QueryScalars scalars;
  int first_key;  // that it sees
};
template <typename Tile>
__device__ __forceinline__ QueryFacts LoadFacts(const float* lse, const float* delta,
                                                const int32_t* document_start, QueryStep step,
                                                const AttentionShape& s) {
  const KeyBlock<Tile> block(s);
  const int thread = ptx::ReadThread();
  const int query = step.query + thread;
  if (thread >= Tile::kOthers || query >= s.queries) return {{0, 0}, INT_MAX};
  const int64_t at = (block.batch_row * s.heads + step.head) * s.queries + query;
  const int32_t* const starts = StartsOfRow(document_start, block.batch_row, s);
  return {{lse[at] * kLog2E, delta[at]}, KeysSeenBy(query, starts, s).first};
}

// Keys and values of a block, into registers by way of shared memory, which is free again after.
template <typename Tile>
__device__ __forceinline__ void LoadKept(KeptRows<Tile> (&kept)[2], __nv_bfloat16* memory,
                                         const __nv_bfloat16* k, const __nv_bfloat16* v,
                                         const AttentionShape& s) {
  const KeyBlock<Tile> block(s);
  const WarpPlace<Tile> place;
  const __nv_bfloat16* const from[2] = {k + block.key_at, v + block.key_at};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    LoadRows<Tile, Tile::kRows>(memory + i * Tile::kRowsElements, from[i], block.key_stride,
                                block.count, static_cast<int>(s.width));
  }
  ptx::CopyAsyncCommit();
  ptx::CopyAsyncWait<0>();
  __syncthreads();
  const __nv_bfloat16* const rows = memory + place.first_row * Tile::kStride + place.first_column;
#pragma unroll
  for (int i = 0; i < 2; ++i) kept[i].Load(rows + i * Tile::kRowsElements);
  __syncthreads();
}

// One block: dk and dv of kRows keys of one key/value head.
//   dv = p^T dout,  dk = scale ds^T q
// Keys and values stay in registers. Queries are taken 8 kPieces at a time, for which the registers
// suffice, of the kOthers that arrive at a time.
template <typename Tile, int kPieces>
__global__ __launch_bounds__(Tile::kThreads, 2) void KeyGradientKernel(
    __nv_bfloat16* __restrict__ dk, __nv_bfloat16* __restrict__ dv, const float* __restrict__ delta,
    const __nv_bfloat16* __restrict__ dout, const __nv_bfloat16* __restrict__ q,
    const __nv_bfloat16* __restrict__ k, const __nv_bfloat16* __restrict__ v,
    const float* __restrict__ lse, const int32_t* __restrict__ document_start, AttentionShape s,
    float score_scale) {
  static_assert(Tile::kRows <= 2 * Tile::kOthers && Tile::kOthers <= Tile::kThreads);
  __shared__ __align__(16) QueryScalars scalars[2][Tile::kOthers];
  __shared__ int first_keys[2][Tile::kOthers];
  const TileMemory<Tile, /*kKept=*/0, /*kStreamed=*/4> memory;
  const WarpPlace<Tile> place;
  const KeyBlock<Tile> block(s);
  const auto store_facts = [&](const QueryFacts& facts, int stage) {
    const int thread = ptx::ReadThread();
    if (thread >= Tile::kOthers) return;
    scalars[stage][thread] = facts.scalars;
    first_keys[stage][thread] = facts.first_key;
  };
  KeptRows<Tile> kept[2];
  LoadKept<Tile>(kept, memory.others, k, v, s);

  const int group_heads = static_cast<int>(s.heads) / static_cast<int>(s.groups);
  const int end_head = (block.group + 1) * group_heads;
  QueryStep step{end_head - group_heads, block.begin};
  LoadQueries<Tile>(memory.others, q, dout, step, s);
  store_facts(LoadFacts<Tile>(lse, delta, document_start, step, s), 0);

  const int warp_key = block.begin + place.first_row;
  typename Tile::Sums key_sums = {};
  typename Tile::Sums value_sums = {};
  for (int stage = 0; step.head < end_head; stage = 1 - stage) {
    ptx::CopyAsyncWait<0>();
    __syncthreads();
    const QueryStep next = HasMoreOfHead<Tile>(step, document_start, s)
                               ? QueryStep{step.head, step.query + Tile::kOthers}
                               : QueryStep{step.head + 1, KeyBlock<Tile>(s).begin};
    QueryFacts next_facts = {};  // on their way while this step computes
    if (next.head < end_head) {
      next_facts = LoadFacts<Tile>(lse, delta, document_start, next, s);
      LoadQueries<Tile>(memory.others + 2 * (1 - stage) * Tile::kOthersElements, q, dout, next, s);
    }
    AddPortions<Tile, kPieces>(
        key_sums, value_sums, kept, scalars[stage], first_keys[stage],
        memory.others + 2 * stage * Tile::kOthersElements + place.first_column, memory.exchange,
        score_scale, warp_key, step.query);
    if (next.head < end_head) store_facts(next_facts, 1 - stage);
    step = next;
  }
  StoreGradients<Tile>(dk, dv, key_sums, value_sums, s);
}

template <typename Tile, typename... Arguments>
cudaError_t LaunchQueryGradient(cudaStream_t stream, const AttentionShape& s,
                                Arguments... arguments) {
  dim3 grid;
  const cudaError_t code = GridOf<Tile>(grid, s.heads, s.queries, s);
  if (code != cudaSuccess) return code;
  return Launch(stream, grid, Tile::kThreads,
                Tile::SharedBytes(/*kept=*/2, /*streamed=*/3, /*products=*/2),
                QueryGradientKernel<Tile>, arguments..., s, s.scale * kLog2E);
}
template <typename Tile, int kPieces, typename... Arguments>
cudaError_t LaunchKeyGradient(cudaStream_t stream, const AttentionShape& s,
                              Arguments... arguments) {
  dim3 grid;
  const cudaError_t code = GridOf<Tile>(grid, s.groups, s.keys, s);
  if (code != cudaSuccess) return code;
  return Launch(stream, grid, Tile::kThreads,
                Tile::SharedBytes(/*kept=*/0, /*streamed=*/4, /*products=*/2),
                KeyGradientKernel<Tile, kPieces>, arguments..., s, s.scale * kLog2E);
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
  const auto launch = [&](auto query_tile, auto key_tile, auto pieces) {
    const cudaError_t code = LaunchQueryGradient<decltype(query_tile)>(
        stream, shape, static_cast<__nv_bfloat16*>(dq), delta, dout_rows, q_rows, k_rows, v_rows,
        lse, document_start);
    if (code != cudaSuccess) return code;
    return LaunchKeyGradient<decltype(key_tile), pieces.value>(
        stream, shape, static_cast<__nv_bfloat16*>(dk), static_cast<__nv_bfloat16*>(dv), delta,
        dout_rows, q_rows, k_rows, v_rows, lse, document_start);
  };
  if (shape.width <= 32) {
    return launch(AttentionTile<32, 128, 32, 2, 1>(), AttentionTile<32, 64, 64, 1, 1>(),
                  std::integral_constant<int, 4>());
  }
  if (shape.width <= 64) {
    return launch(AttentionTile<64, 128, 32, 2, 1>(), AttentionTile<64, 64, 64, 1, 1>(),
                  std::integral_constant<int, 4>());
  }
  if (shape.width <= 96) {
    return launch(AttentionTile<96, 128, 32, 2, 1>(), AttentionTile<96, 64, 64, 1, 1>(),
                  std::integral_constant<int, 4>());
  }
  if (shape.width <= 128) {
    return launch(AttentionTile<128, 128, 32, 2, 1>(), AttentionTile<128, 64, 64, 1, 1>(),
                  std::integral_constant<int, 2>());
  }
  if (shape.width <= 256) {
    return launch(AttentionTile<256, 32, 16, 1, 2>(), AttentionTile<256, 32, 16, 1, 2>(),
                  std::integral_constant<int, 2>());
  }
  if (shape.width <= 512) {
    return launch(AttentionTile<512, 16, 16, 1, 4>(), AttentionTile<512, 16, 16, 1, 4>(),
                  std::integral_constant<int, 2>());
  }
  return cudaErrorInvalidValue;
}

}  // namespace liquid::cuda
