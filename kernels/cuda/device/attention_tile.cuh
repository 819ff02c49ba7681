// What the tensor-core kernels of attention share: a block keeps some rows in shared memory, lets
// the others stream past them, and multiplies both, bf16 with float32 sums.
#ifndef LIQUID_KERNELS_CUDA_DEVICE_ATTENTION_TILE_CUH_
#define LIQUID_KERNELS_CUDA_DEVICE_ATTENTION_TILE_CUH_

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <climits>
#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device/attention_mask.cuh"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/ptx.cuh"
#include "kernels/cuda/device/warp.cuh"

namespace liquid::cuda {

inline constexpr float kLog2E = 1.4426950408889634f;
inline constexpr float kLn2 = 0.6931471805599453f;

// Rows of up to `width` columns, wider ones in more slices: each warp has `parts` times 16 of the
// `rows` that stay and one slice of the columns. `others` rows stream past at a time. Sizes are
// such that a block fits into 99 KiB of shared memory, which every device from sm_80 on has, and a
// thread into its registers.
//
// Shared memory, at 128 bytes a clock, is what limits: a load of a matrix of others takes 4 clocks,
// and feeds 2 products of each part, of which a multiprocessor does one in 1 to 2 clocks. Hence two
// parts wherever the registers for their sums are there.
template <int width, int rows, int others, int parts, int slices>
struct AttentionTile {
  static constexpr int kWidth = width;
  static constexpr int kRows = rows;
  static constexpr int kOthers = others;
  static constexpr int kParts = parts;
  static constexpr int kSlices = slices;
  static constexpr int kSliceWidth = width / slices;
  static constexpr int kWarpRows = 16 * parts;
  static constexpr int kWarps = rows / kWarpRows * slices;
  static constexpr int kThreads = kWarps * kWarp;
  // 16 bytes more than the row: eight rows of an 8x8 matrix then lie in different banks.
  static constexpr int kStride = width + 8;
  static constexpr int kRowsElements = kRows * kStride;
  static constexpr int kOthersElements = kOthers * kStride;

  // A warp's product with the others, and its sums over them.
  using Product = float[parts][others / 8][4];
  using Sums = float[parts][kSliceWidth / 8][4];

  // With room for `kept` operands that stay, `streamed` tiles of others, and for `products` to be
  // summed over slices.
  static constexpr size_t SharedBytes(int kept, int streamed, int products) {
    const size_t exchange =
        slices == 1 ? 0
                    : sizeof(float) * static_cast<size_t>(kWarps * products * kWarpRows * kOthers);
    return sizeof(__nv_bfloat16) *
               static_cast<size_t>(kept * kRowsElements + streamed * kOthersElements) +
           exchange;
  }
};

// Where a warp of a tile works. A matrix of 16 rows and 8 columns lies over a warp as float[4]: a
// lane has columns column, column + 1 of row, then of row + 8.
template <typename Tile>
struct WarpPlace {
  int first_row;     // of the warp's among those that stay
  int first_column;  // of the slice
  int row;
  int column;

  __device__ WarpPlace() {
    const int thread = ptx::ReadThread();
    const int warp = thread / kWarp;
    const int lane = thread % kWarp;
    first_row = warp / Tile::kSlices * Tile::kWarpRows;
    first_column = warp % Tile::kSlices * Tile::kSliceWidth;
    row = lane / 4;
    column = lane % 4 * 2;
  }
};

// How a block's dynamic shared memory is divided.
template <typename Tile, int kKept, int kStreamed>
struct TileMemory {
  __nv_bfloat16* rows;    // the operands that stay, one after the other
  __nv_bfloat16* others;  // the tiles that stream past
  float4* exchange;

  __device__ TileMemory()
      : rows(reinterpret_cast<__nv_bfloat16*>(dynamic_shared)),
        others(rows + kKept * Tile::kRowsElements),
        exchange(reinterpret_cast<float4*>(others + kStreamed * Tile::kOthersElements)) {}
};

// ---- For launchers ----

// A block for each tile of `rows` rows of each head: the heads of a tile, which share keys, begin
// together. Invalid arguments if a device has no such grid.
template <typename Tile>
cudaError_t GridOf(dim3& grid, int64_t heads, int64_t rows, const AttentionShape& s) {
  constexpr int64_t kLargest = 65535;  // of y and z
  const int64_t tiles = (rows + Tile::kRows - 1) / Tile::kRows;
  if (heads > INT_MAX || s.batch > kLargest || tiles > kLargest) return cudaErrorInvalidValue;
  grid = dim3(static_cast<unsigned>(heads), static_cast<unsigned>(s.batch),
              static_cast<unsigned>(tiles));
  return cudaSuccess;
}

// ---- For kernels ----

// A block whose rows are queries of one head: which, and the keys that any of them sees. The tiles
// with most keys come first, so that blocks end together.
template <typename Tile>
struct QueryBlock {
  int head;   // among those of all rows of the batch
  int begin;  // of the queries
  int count;
  const int32_t* starts;
  int first_key;  // at a multiple of the keys that stream past at a time
  int end_key;
  int64_t query_at;  // in q, of the first query
  int64_t key_at;    // in k, of key 0
  int query_stride;
  int key_stride;

  // REQUIRES: a grid of GridOf(shape.heads, shape.queries).
  __device__ QueryBlock(const int32_t* document_start, const AttentionShape& s) {
    const int3 place = ptx::ReadBlock();  // head, row of the batch, tiles behind
    const int h = place.x;
    const int b = place.y;
    const int queries = static_cast<int>(s.queries);
    const int heads = static_cast<int>(s.heads);
    const int groups = static_cast<int>(s.groups);
    head = b * heads + h;
    begin = ((queries - 1) / Tile::kRows - place.z) * Tile::kRows;
    count = min(Tile::kRows, queries - begin);
    starts = StartsOfRow(document_start, b, s);
    // Documents begin, and windows move, from left to right.
    first_key = KeysSeenBy(begin, starts, s).first / Tile::kOthers * Tile::kOthers;
    end_key = KeysSeenBy(begin + count - 1, starts, s).last + 1;
    query_at = ((b * s.queries + begin) * s.heads + h) * s.width;
    key_at = (b * s.keys * s.groups + h / (heads / groups)) * s.width;
    query_stride = heads * static_cast<int>(s.width);
    key_stride = groups * static_cast<int>(s.width);
  }
};

// Begins to copy `count` rows of `width` columns, a multiple of 8, and to clear the rest of the
// tile. A thread stays in its columns, so that a copy costs it little more than two additions.
template <typename Tile, int kRows>
__device__ __forceinline__ void LoadRows(__nv_bfloat16* to, const __nv_bfloat16* from, int stride,
                                         int count, int width) {
  constexpr int kVector = 8;
  constexpr int kThreadsOfRow =  // a power of two
      Tile::kWidth <= 32    ? 4
      : Tile::kWidth <= 64  ? 8
      : Tile::kWidth <= 128 ? 16
                            : Tile::kWidth / 8;
  constexpr int kStep = Tile::kThreads / kThreadsOfRow;
  static_assert(Tile::kThreads % kThreadsOfRow == 0 && kRows % kStep == 0);
  const int thread = ptx::ReadThread();
  const int first = thread / kThreadsOfRow;
  const int column = thread % kThreadsOfRow * kVector;
  if (column >= Tile::kWidth) return;
  const bool is_in = column < width;
  from += int64_t{first} * stride + column;
  to += first * Tile::kStride + column;
#pragma unroll
  for (int row = 0; row < kRows; row += kStep) {
    ptx::CopyAsync16(to + row * Tile::kStride, from, is_in && first + row < count);
    from = ptx::Opaque(from + kStep * stride);
  }
}

// A lane's part of the address of what LoadMatrix4 takes: four matrices as a left operand of
// 16 rows and columns, or as 16 rows of the transposed right operand.
template <typename Tile>
__device__ __forceinline__ int LaneOfLeft() {
  const int lane = ptx::ReadThread() % kWarp;
  return lane % 16 * Tile::kStride + lane / 16 * 8;
}
template <typename Tile>
__device__ __forceinline__ int LaneOfRight() {
  const int lane = ptx::ReadThread() % kWarp;
  return (lane / 16 * 8 + lane % 8) * Tile::kStride + lane / 8 % 2 * 8;
}

// products += left right over 16 of the columns that are summed over; the right operand is 16 rows
// of others, by two matrices for each 8 of them.
template <int kParts, int kPieces>
__device__ __forceinline__ void MultiplyPieces(float (&products)[kParts][kPieces][4],
                                               const unsigned (&left)[kParts][4],
                                               const unsigned (&right)[4], int piece) {
#pragma unroll
  for (int p = 0; p < kParts; ++p) {
    ptx::MmaBf16(products[p][piece], left[p], {right[0], right[1]});
    ptx::MmaBf16(products[p][piece + 1], left[p], {right[2], right[3]});
  }
}

// product += rows others^T over the columns of a slice, both in shared memory.
template <typename Tile>
__device__ __forceinline__ void MultiplyTransposed(typename Tile::Product& product,
                                                   const __nv_bfloat16* rows,
                                                   const __nv_bfloat16* others) {
  const __nv_bfloat16* const row = rows + LaneOfLeft<Tile>();
  const __nv_bfloat16* const other = others + LaneOfRight<Tile>();
#pragma unroll
  for (int c = 0; c < Tile::kSliceWidth; c += 16) {
    unsigned left[Tile::kParts][4];
#pragma unroll
    for (int p = 0; p < Tile::kParts; ++p) {
      ptx::LoadMatrix4(left[p], row + p * 16 * Tile::kStride + c);
    }
#pragma unroll
    for (int n = 0; n < Tile::kOthers; n += 16) {
      unsigned right[4];
      ptx::LoadMatrix4(right, other + n * Tile::kStride + c);
      MultiplyPieces(product, left, right, n / 8);
    }
  }
}

// Rows that stay in registers, as left operands. For warps of one part.
template <typename Tile>
struct KeptRows {
  unsigned at[Tile::kSliceWidth / 16][1][4];

  __device__ __forceinline__ void Load(const __nv_bfloat16* rows) {
    const __nv_bfloat16* const row = rows + LaneOfLeft<Tile>();
#pragma unroll
    for (int c = 0; c < Tile::kSliceWidth / 16; ++c) ptx::LoadMatrix4(at[c][0], row + c * 16);
  }
};

// Two products at a time, of two kept operands with a pair of tiles of others, of which 8 kPieces
// rows are taken: more sums that do not wait for each other.
template <typename Tile, int kPieces>
__device__ __forceinline__ void MultiplyTransposed(float (&products)[2][1][kPieces][4],
                                                   const KeptRows<Tile> (&rows)[2],
                                                   const __nv_bfloat16* others) {
  const __nv_bfloat16* const other = others + LaneOfRight<Tile>();
#pragma unroll
  for (int c = 0; c < Tile::kSliceWidth; c += 16) {
#pragma unroll
    for (int n = 0; n < kPieces; n += 2) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        unsigned right[4];
        ptx::LoadMatrix4(right, other + i * Tile::kOthersElements + n * 8 * Tile::kStride + c);
        MultiplyPieces(products[i], rows[i].at[c / 16], right, n);
      }
    }
  }
}

__device__ __forceinline__ unsigned PackBf16(float low, float high) {
  const __nv_bfloat162_raw pair = __floats2bfloat162_rn(low, high);
  return static_cast<unsigned>(pair.x) | static_cast<unsigned>(pair.y) << 16;
}

// sums += weights others over the columns of a slice, of 16 of the others, beginning with those of
// `piece`. The weights are rounded to bf16.
template <typename Tile, int kPieces>
__device__ __forceinline__ void MultiplySixteen(typename Tile::Sums& sums,
                                                const float (&weights)[Tile::kParts][kPieces][4],
                                                int piece, const __nv_bfloat16* others) {
  const __nv_bfloat16* const other = others + LaneOfLeft<Tile>() + piece * 8 * Tile::kStride;
  unsigned left[Tile::kParts][4];
#pragma unroll
  for (int p = 0; p < Tile::kParts; ++p) {
    const float(&low)[4] = weights[p][piece];
    const float(&high)[4] = weights[p][piece + 1];
    left[p][0] = PackBf16(low[0], low[1]);
    left[p][1] = PackBf16(low[2], low[3]);
    left[p][2] = PackBf16(high[0], high[1]);
    left[p][3] = PackBf16(high[2], high[3]);
  }
#pragma unroll
  for (int c = 0; c < Tile::kSliceWidth; c += 16) {
    unsigned right[4];
    ptx::LoadMatrix4Transposed(right, other + c);
    MultiplyPieces(sums, left, right, c / 8);
  }
}
// The same of all others.
template <typename Tile, int kPieces>
__device__ __forceinline__ void Multiply(typename Tile::Sums& sums,
                                         const float (&weights)[Tile::kParts][kPieces][4],
                                         const __nv_bfloat16* others) {
#pragma unroll
  for (int n = 0; n < kPieces; n += 2) MultiplySixteen<Tile>(sums, weights, n, others);
}

// Products over slices become, in each warp, products over all columns. Calls are to be kept apart
// by a barrier; `exchange` is behind the tiles in shared memory.
template <typename Tile, int kProducts, int kPieces>
__device__ __forceinline__ void SumOverSlices(
    float (&products)[kProducts][Tile::kParts][kPieces][4], float4* exchange) {
  if constexpr (Tile::kSlices > 1) {
    static_assert(Tile::kParts == 1);
    constexpr int kWarpPieces = kProducts * kPieces * kWarp;
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
    for (int i = 0; i < kProducts * kPieces; ++i) {
      const float(&piece)[4] = products[i / kPieces][0][i % kPieces];
      exchange[warp * kWarpPieces + i * kWarp + lane] =
          make_float4(piece[0], piece[1], piece[2], piece[3]);
    }
    __syncthreads();
    const float4* slices = exchange + warp / Tile::kSlices * Tile::kSlices * kWarpPieces + lane;
#pragma unroll
    for (int i = 0; i < kProducts * kPieces; ++i) {
      float4 sum = slices[i * kWarp];
#pragma unroll
      for (int slice = 1; slice < Tile::kSlices; ++slice) {
        const float4 term = slices[slice * kWarpPieces + i * kWarp];
        sum = make_float4(sum.x + term.x, sum.y + term.y, sum.z + term.z, sum.w + term.w);
      }
      float(&piece)[4] = products[i / kPieces][0][i % kPieces];
      piece[0] = sum.x;
      piece[1] = sum.y;
      piece[2] = sum.z;
      piece[3] = sum.w;
    }
  }
}

// Sets the scores of unseen keys to -infinity. Columns begin with `key`. Few tiles need it, so that
// what it has to know is worked out here and takes no registers elsewhere.
template <typename Tile>
__device__ __forceinline__ void Mask(typename Tile::Product& scores, int key,
                                     const int32_t* document_start, const AttentionShape& s) {
  const QueryBlock<Tile> block(document_start, s);
  const WarpPlace<Tile> place;
#pragma unroll
  for (int i = 0; i < 2 * Tile::kParts; ++i) {
    const SeenKeys seen =
        KeysSeenBy(block.begin + place.first_row + place.row + i * 8, block.starts, s);
#pragma unroll
    for (int n = 0; n < Tile::kOthers / 8; ++n) {
      float* const pair = &scores[i / 2][n][i % 2 * 2];
      if (!seen.Has(key + n * 8 + place.column)) pair[0] = -INFINITY;
      if (!seen.Has(key + n * 8 + place.column + 1)) pair[1] = -INFINITY;
    }
  }
}

// Stores the first `count` of a warp's rows, each times its factor. `to` is that of the first row
// and of column 0, of `width` columns.
template <typename Tile>
__device__ __forceinline__ void StoreRows(__nv_bfloat16* to, int stride,
                                          const typename Tile::Sums& sums,
                                          const float (&factors)[Tile::kParts][2], int count,
                                          int width, const WarpPlace<Tile>& place) {
#pragma unroll
  for (int i = 0; i < 2 * Tile::kParts; ++i) {
    const int row = place.row + i * 8;
    const int r = i % 2;
    if (row >= count) continue;
    const int column = place.first_column + place.column;
    __nv_bfloat16* const to_row = to + int64_t{row} * stride + column;
#pragma unroll
    for (int n = 0; n < Tile::kSliceWidth / 8; ++n) {
      if (column + n * 8 >= width) break;
      const float(&piece)[4] = sums[i / 2][n];
      *reinterpret_cast<__nv_bfloat162*>(to_row + n * 8) = __floats2bfloat162_rn(
          piece[2 * r] * factors[i / 2][r], piece[2 * r + 1] * factors[i / 2][r]);
    }
  }
}

}  // namespace liquid::cuda

#endif  // LIQUID_KERNELS_CUDA_DEVICE_ATTENTION_TILE_CUH_
