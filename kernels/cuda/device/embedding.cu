#include "kernels/cuda/device/embedding.h"

#include <algorithm>
#include <utility>

#include "kernels/cuda/device/eight.cuh"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/warp.cuh"

namespace liquid::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;

// Rows as `units` of whatever size the addresses allow.
template <typename Unit>
__global__ void __launch_bounds__(kThreads)
    EmbeddingKernel(Unit* out, const int32_t* ids, const Unit* table, int64_t units,
                    int64_t vocabulary) {
  const int64_t token = blockIdx.x;
  const int64_t id = ids[token];
  if (id < kElsewhere || id >= vocabulary) __trap();
  for (int64_t i = threadIdx.x; i < units; i += blockDim.x) {
    out[token * units + i] = id == kElsewhere ? Unit{} : table[id * units + i];
  }
}

// ---- Backward: tokens are sorted by id, stably, then a warp walks over each run of equal ids.
// ----

// A radix sort, least digits first. `order` holds tokens; null: 0, 1, 2, ... Tokens whose row is
// elsewhere come last.
constexpr int kDigitBits = 8;
constexpr int kDigits = 1 << kDigitBits;
static_assert(kDigits == kThreads, "a thread has a digit");
constexpr int kSteps = 8;
constexpr int kTile = kThreads * kSteps;  // tokens of a block
static_assert(kDigits == kSortDigits && kTile == kSortTile);

constexpr int kRowsAtOnce = 4;  // of a run

__device__ __forceinline__ int DigitOf(int32_t id, int vocabulary, int shift) {
  return ((id == kElsewhere ? vocabulary : id) >> shift) & (kDigits - 1);
}

// counts [tiles,kDigits]
__global__ void __launch_bounds__(kThreads)
    CountDigitsKernel(int32_t* counts, const int32_t* ids, const int32_t* order, int tokens,
                      int vocabulary, int shift) {
  __shared__ int here[kDigits];
  here[threadIdx.x] = 0;
  __syncthreads();
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    const int64_t i = int64_t{blockIdx.x} * kTile + step * kThreads + threadIdx.x;
    if (i < tokens) {
      const int32_t id = ids[order == nullptr ? i : order[i]];
      if (id < kElsewhere || id >= vocabulary) __trap();
      atomicAdd(&here[DigitOf(id, vocabulary, shift)], 1);
    }
  }
  __syncthreads();
  counts[int64_t{blockIdx.x} * kDigits + threadIdx.x] = here[threadIdx.x];
}

// The sum of `value` over the threads before this one. `scratch` [kWarps].
__device__ __forceinline__ int SumBefore(int value, int* scratch) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  int sum = value;
#pragma unroll
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const int before = __shfl_up_sync(kAllLanes, sum, distance);
    if (lane >= distance) sum += before;
  }
  if (lane == kWarp - 1) scratch[warp] = sum;
  __syncthreads();
  for (int w = 0; w < warp; ++w) sum += scratch[w];
  return sum - value;
}

// sorted = the tokens of `order` by their digits, stably. Each warp of a block has a run of a tile.
__global__ void __launch_bounds__(kThreads)
    SortByDigitKernel(int32_t* sorted, const int32_t* counts, const int32_t* ids,
                      const int32_t* order, int tokens, int vocabulary, int shift) {
  __shared__ int places[kWarps][kDigits];  // of the next token with a digit, for each warp
  __shared__ int scratch[kWarps];
  const int digit = static_cast<int>(threadIdx.x);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) places[w][digit] = 0;
  __syncthreads();
  int token[kSteps];
  int token_digit[kSteps];
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    const int64_t i = int64_t{blockIdx.x} * kTile + (warp * kSteps + step) * kWarp + lane;
    token[step] = 0;
    token_digit[step] = kDigits;  // no token
    if (i < tokens) {
      token[step] = order == nullptr ? static_cast<int>(i) : order[i];
      token_digit[step] = DigitOf(ids[token[step]], vocabulary, shift);
      atomicAdd(&places[warp][token_digit[step]], 1);
    }
  }
  int all = 0;  // tokens with `digit`
  int before = 0;
  for (unsigned tile = 0; tile < gridDim.x; ++tile) {
    const int count = counts[int64_t{tile} * kDigits + digit];
    all += count;
    if (tile < blockIdx.x) before += count;
  }
  int place = SumBefore(all, scratch) + before;  // its barrier: `places` are counted, too
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
    const int count = places[w][digit];
    places[w][digit] = place;
    place += count;
  }
  __syncthreads();
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    const int d = token_digit[step];
    const unsigned equals = __match_any_sync(kAllLanes, d);
    const int rank = __popc(equals & ((1u << lane) - 1));
    const bool is_token = d < kDigits;
    const int first = is_token ? places[warp][d] : 0;
    __syncwarp();
    if (is_token && rank == 0) places[warp][d] = first + __popc(equals);
    __syncwarp();
    if (is_token) sorted[first + rank] = token[step];
  }
}

// sum += kRows rows of a matrix [..,width], from a column on: those that lanes first, first + 1,
// ... name, in this order. All are on their way before the first is added.
template <int kRows, bool kAligned, typename From>
__device__ __forceinline__ void AddRows(float (&sum)[kEight], const From* from, int row, int first,
                                        int width, int count) {
  float values[kRows][kEight];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const int64_t at = int64_t{__shfl_sync(kAllLanes, row, first + r)} * width;
    LoadEight(values[r], from + at, count, kAligned);
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
#pragma unroll
    for (int j = 0; j < kEight; ++j) sum[j] += values[r][j];
  }
}

// A warp has eight columns per lane of the run that begins at its place in `order`, if one does.
// kAligned: 8 divides the width.
template <bool kAligned, typename To, typename From>
__global__ void __launch_bounds__(kThreads)
    AddRunsKernel(To* dtable, const int32_t* ids, const int32_t* order, const From* dout,
                  int tokens, int width) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t first = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  if (first >= tokens) return;
  const int32_t id = ids[order[first]];
  if (id == kElsewhere || (first > 0 && ids[order[first - 1]] == id)) return;
  const int my_column = (static_cast<int>(blockIdx.y) * kWarp + lane) * kEight;
  const bool is_column = my_column < width;
  const int column = is_column ? my_column : 0;  // lanes without columns read what another does
  const int count = kAligned ? kEight : width - column;
  To* const to = dtable + int64_t{id} * width + column;
  const From* const from = dout + column;
  float sum[kEight] = {};
  if (is_column) LoadEight(sum, to, count, kAligned);
  int length = kWarp;
  for (int64_t at = first; length == kWarp; at += kWarp) {
    const int token = at + lane < tokens ? order[at + lane] : -1;
    const unsigned others = __ballot_sync(kAllLanes, token < 0 || ids[token] != id);
    length = others == 0 ? kWarp : __ffs(static_cast<int>(others)) - 1;
    int i = 0;
    for (; i + kRowsAtOnce <= length; i += kRowsAtOnce) {
      AddRows<kRowsAtOnce, kAligned>(sum, from, token, i, width, count);
    }
    for (; i < length; ++i) AddRows<1, kAligned>(sum, from, token, i, width, count);
  }
  if (is_column) StoreEight(to, sum, count, kAligned);
}

}  // namespace

cudaError_t Embedding(cudaStream_t stream, void* out, const int32_t* ids, const void* table,
                      Element element, int64_t tokens, int64_t width, int64_t vocabulary) {
  if (tokens == 0 || width == 0) return cudaSuccess;
  const int64_t bytes = width * (element == Element::kBF16 ? 2 : 4);
  const auto copy = [&](auto unit) {
    using Unit = decltype(unit);
    const int64_t units = bytes / static_cast<int64_t>(sizeof(Unit));
    const int threads =
        static_cast<int>(std::min<int64_t>(kThreads, CeilDivide(units, kWarp) * kWarp));
    return Launch(stream, dim3(static_cast<unsigned>(tokens)), threads, 0, EmbeddingKernel<Unit>,
                  static_cast<Unit*>(out), ids, static_cast<const Unit*>(table), units, vocabulary);
  };
  if (bytes % 16 == 0 && AreAligned(out, table)) return copy(uint4());
  return element == Element::kBF16 ? copy(uint16_t()) : copy(uint32_t());
}

cudaError_t EmbeddingBackward(cudaStream_t stream, void* dtable, Element dtable_element,
                              int32_t* workspace, const int32_t* ids, const void* dout,
                              Element element, int64_t tokens, int64_t width, int64_t vocabulary) {
  if (tokens == 0 || width == 0) return cudaSuccess;
  const auto num_tokens = static_cast<int>(tokens);
  const dim3 tiles(static_cast<unsigned>(CeilDivide(tokens, kTile)));
  int32_t* sorted = workspace;
  int32_t* spare = workspace + tokens;
  int32_t* const counts = workspace + 2 * tokens;
  const int32_t* order = nullptr;
  for (int shift = 0; shift == 0 || (vocabulary >> shift) > 0; shift += kDigitBits) {
    cudaError_t code = Launch(stream, tiles, kThreads, 0, CountDigitsKernel, counts, ids, order,
                              num_tokens, static_cast<int>(vocabulary), shift);
    if (code != cudaSuccess) return code;
    code = Launch(stream, tiles, kThreads, 0, SortByDigitKernel, sorted, counts, ids, order,
                  num_tokens, static_cast<int>(vocabulary), shift);
    if (code != cudaSuccess) return code;
    order = sorted;
    std::swap(sorted, spare);
  }
  const dim3 grid(static_cast<unsigned>(CeilDivide(tokens, kWarps)),
                  static_cast<unsigned>(CeilDivide(width, kWarp * kEight)));
  const bool aligned = width % kEight == 0 && AreAligned(dtable, dout);
  const auto add = [&](auto to, auto from) {
    using To = decltype(to);
    using From = decltype(from);
    return Launch(stream, grid, kThreads, 0,
                  aligned ? AddRunsKernel<true, To, From> : AddRunsKernel<false, To, From>,
                  static_cast<To*>(dtable), ids, order, static_cast<const From*>(dout), num_tokens,
                  static_cast<int>(width));
  };
  return WithElement(element, [&](auto from) {
    return dtable_element == element ? add(from, from) : add(float(), from);
  });
}

}  // namespace liquid::cuda
