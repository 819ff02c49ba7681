// What the tensor-core kernels of attention share: a block keeps some rows in shared memory, lets
// the others stream past them, and multiplies both, bf16 with float32 sums.
#ifndef LIQUID_KERNELS_CUDA_DEVICE_ATTENTION_TILE_CUH_
#define LIQUID_KERNELS_CUDA_DEVICE_ATTENTION_TILE_CUH_

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device/attention_mask.cuh"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/ptx.cuh"
#include "kernels/cuda/device/warp.cuh"

namespace liquid::cuda {

inline constexpr float kLog2E = 1.4426950408889634f;
inline constexpr float kLn2 = 0.6931471805599453f;

// Rows of up to `width` columns, wider ones in more slices: each warp has 16 of the `rows` that
// stay and one slice of the columns. `others` rows stream past at a time; with two stages, the next
// ones arrive meanwhile. Sizes are such that a block fits into 99 KiB of shared memory, which every
// device from sm_80 on has, and a thread into its registers.
template <int width, int rows, int others, int slices, int stages>
struct AttentionTile {
  static constexpr int kWidth = width;
  static constexpr int kRows = rows;
  static constexpr int kOthers = others;
  static constexpr int kSlices = slices;
  static constexpr int kStages = stages;
  static constexpr int kSliceWidth = width / slices;
  static constexpr int kWarps = rows / 16 * slices;
  static constexpr int kThreads = kWarps * kWarp;
  // 16 bytes more than the row: eight rows of an 8x8 matrix then lie in different banks.
  static constexpr int kStride = width + 8;
  static constexpr int kRowsElements = kRows * kStride;
  static constexpr int kOthersElements = kOthers * kStride;

  // With `kept` operands that stay, two that stream, and `products` that are summed over slices.
  static constexpr size_t SharedBytes(int kept, int products) {
    const size_t exchange =
        slices == 1 ? 0 : sizeof(float) * static_cast<size_t>(kWarps * products * 16 * kOthers);
    return sizeof(__nv_bfloat16) *
               static_cast<size_t>(kept * kRowsElements + 2 * kStages * kOthersElements) +
           exchange;
  }
};

// Where a warp of a tile works. A matrix of 16 rows and 8 columns lies over a warp as float[4]: a
// lane has columns column, column + 1 of row, then of row + 8.
template <typename Tile>
struct WarpPlace {
  int first_row;     // of the 16 among those that stay
  int first_column;  // of the slice
  int row;
  int column;

  __device__ WarpPlace() {
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    first_row = warp / Tile::kSlices * 16;
    first_column = warp % Tile::kSlices * Tile::kSliceWidth;
    row = lane / 4;
    column = lane % 4 * 2;
  }
};

// How a block's dynamic shared memory is divided.
template <typename Tile, int kKept>
struct TileMemory {
  __nv_bfloat16* rows;    // the operands that stay, one after the other
  __nv_bfloat16* others;  // the pairs that stream past, by stage
  float4* exchange;

  __device__ TileMemory()
      : rows(reinterpret_cast<__nv_bfloat16*>(dynamic_shared)),
        others(rows + kKept * Tile::kRowsElements),
        exchange(reinterpret_cast<float4*>(others + 2 * Tile::kStages * Tile::kOthersElements)) {}
};

// A block whose rows are queries of one head: which, and the keys that any of them sees. The tiles
// with most keys come first, so that blocks end together.
template <typename Tile>
struct QueryBlock {
  int64_t head;   // among those of all rows of the batch
  int64_t begin;  // of the queries
  int count;
  const int32_t* starts;
  int first_key;  // at a multiple of the keys that stream past at a time
  int end_key;
  int64_t query_at;  // in q, of the first query
  int64_t query_stride;
  int64_t key_at;  // in k, of key 0
  int64_t key_stride;

  __device__ QueryBlock(const int32_t* document_start, const AttentionShape& s) {
    const int64_t tiles = (s.queries + Tile::kRows - 1) / Tile::kRows;
    head = blockIdx.x % (s.batch * s.heads);
    const int64_t b = head / s.heads;
    const int64_t h = head % s.heads;
    begin = (tiles - 1 - blockIdx.x / (s.batch * s.heads)) * Tile::kRows;
    count = static_cast<int>(min(int64_t{Tile::kRows}, s.queries - begin));
    starts = StartsOfRow(document_start, b, s);
    // Documents begin, and windows move, from left to right.
    first_key = KeysSeenBy(begin, starts, s).first / Tile::kOthers * Tile::kOthers;
    end_key = KeysSeenBy(begin + count - 1, starts, s).last + 1;
    query_at = ((b * s.queries + begin) * s.heads + h) * s.width;
    query_stride = s.heads * s.width;
    key_at = (b * s.keys * s.groups + h / (s.heads / s.groups)) * s.width;
    key_stride = s.groups * s.width;
  }
};

// Begins to copy `count` rows of `width` columns, a multiple of 8, and clears the rest of the tile.
template <typename Tile, int kRows>
__device__ __forceinline__ void LoadRows(__nv_bfloat16* to, const __nv_bfloat16* from,
                                         int64_t stride, int count, int width) {
  constexpr int kVector = 8;
  constexpr int kVectors = Tile::kWidth / kVector;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kVectors; i += Tile::kThreads) {
    const int row = i / kVectors;
    const int column = i % kVectors * kVector;
    __nv_bfloat16* at = to + row * Tile::kStride + column;
    if (row < count && column < width) {
      ptx::CopyAsync16(at, from + row * stride + column);
    } else {
      *reinterpret_cast<uint4*>(at) = uint4{0, 0, 0, 0};
    }
  }
}

// Begins to copy what streams past: rows of one operand, and of another that has them alike.
template <typename Tile>
__device__ __forceinline__ void LoadOthers(__nv_bfloat16* to, const __nv_bfloat16* first,
                                           const __nv_bfloat16* second, int64_t stride, int count,
                                           int width) {
  LoadRows<Tile, Tile::kOthers>(to, first, stride, count, width);
  LoadRows<Tile, Tile::kOthers>(to + Tile::kOthersElements, second, stride, count, width);
  ptx::CopyAsyncCommit();
}

// product [16,kOthers] += rows others^T over the columns of a slice, both in shared memory.
template <typename Tile>
__device__ __forceinline__ void MultiplyTransposed(float (&product)[Tile::kOthers / 8][4],
                                                   const __nv_bfloat16* rows,
                                                   const __nv_bfloat16* others) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const __nv_bfloat16* row = rows + lane % 16 * Tile::kStride + lane / 16 * 8;
  const __nv_bfloat16* other =
      others + (lane / 16 * 8 + lane % 8) * Tile::kStride + lane / 8 % 2 * 8;
#pragma unroll
  for (int c = 0; c < Tile::kSliceWidth; c += 16) {
    unsigned a[4];
    ptx::LoadMatrix4(a, row + c);
#pragma unroll
    for (int n = 0; n < Tile::kOthers; n += 16) {
      unsigned b[4];
      ptx::LoadMatrix4(b, other + n * Tile::kStride + c);
      ptx::MmaBf16(product[n / 8], a, {b[0], b[1]});
      ptx::MmaBf16(product[n / 8 + 1], a, {b[2], b[3]});
    }
  }
}

__device__ __forceinline__ unsigned PackBf16(float low, float high) {
  const __nv_bfloat162_raw pair = __floats2bfloat162_rn(low, high);
  return static_cast<unsigned>(pair.x) | static_cast<unsigned>(pair.y) << 16;
}

// sums [16,kSliceWidth] += weights [16,kOthers] others, the weights rounded to bf16.
template <typename Tile>
__device__ __forceinline__ void Multiply(float (&sums)[Tile::kSliceWidth / 8][4],
                                         const float (&weights)[Tile::kOthers / 8][4],
                                         const __nv_bfloat16* others) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const __nv_bfloat16* other = others + lane % 16 * Tile::kStride + lane / 16 * 8;
#pragma unroll
  for (int n = 0; n < Tile::kOthers; n += 16) {
    const float(&left)[4] = weights[n / 8];
    const float(&right)[4] = weights[n / 8 + 1];
    const unsigned a[4] = {PackBf16(left[0], left[1]), PackBf16(left[2], left[3]),
                           PackBf16(right[0], right[1]), PackBf16(right[2], right[3])};
#pragma unroll
    for (int c = 0; c < Tile::kSliceWidth; c += 16) {
      unsigned b[4];
      ptx::LoadMatrix4Transposed(b, other + n * Tile::kStride + c);
      ptx::MmaBf16(sums[c / 8], a, {b[0], b[1]});
      ptx::MmaBf16(sums[c / 8 + 1], a, {b[2], b[3]});
    }
  }
}

// Products over slices become, in each warp, products over all columns. Calls are to be kept apart
// by a barrier; `exchange` is behind the tiles in shared memory.
template <typename Tile, int kProducts>
__device__ __forceinline__ void SumOverSlices(float (&products)[kProducts][Tile::kOthers / 8][4],
                                              float4* exchange) {
  if constexpr (Tile::kSlices > 1) {
    constexpr int kPieces = Tile::kOthers / 8;
    constexpr int kWarpPieces = kProducts * kPieces * kWarp;
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
    for (int i = 0; i < kProducts * kPieces; ++i) {
      const float(&piece)[4] = products[i / kPieces][i % kPieces];
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
      float(&piece)[4] = products[i / kPieces][i % kPieces];
      piece[0] = sum.x;
      piece[1] = sum.y;
      piece[2] = sum.z;
      piece[3] = sum.w;
    }
  }
}

// Stores the first `count` of a warp's 16 rows, each times its factor. `to` is that of the first
// row and of column 0, of `width` columns.
template <typename Tile>
__device__ __forceinline__ void StoreRows(__nv_bfloat16* to, int64_t stride,
                                          const float (&sums)[Tile::kSliceWidth / 8][4],
                                          const float (&factors)[2], int count, int width,
                                          const WarpPlace<Tile>& place) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = place.row + r * 8;
    if (row >= count) continue;
#pragma unroll
    for (int n = 0; n < Tile::kSliceWidth / 8; ++n) {
      const int column = place.first_column + n * 8 + place.column;
      if (column >= width) continue;
      *reinterpret_cast<__nv_bfloat162*>(to + row * stride + column) =
          __floats2bfloat162_rn(sums[n][2 * r] * factors[r], sums[n][2 * r + 1] * factors[r]);
    }
  }
}

}  // namespace liquid::cuda

#endif  // LIQUID_KERNELS_CUDA_DEVICE_ATTENTION_TILE_CUH_
