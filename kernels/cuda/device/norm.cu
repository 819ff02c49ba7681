#include "kernels/cuda/device/norm.h"

#include <algorithm>

#include "kernels/cuda/device/eight.cuh"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/warp.cuh"

namespace liquid::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;

constexpr int kHalfWarp = 16;
static_assert(kThreads == kNormThreads);

// A chunk's sums lie in shared memory up to this size, which all devices have.
constexpr int64_t kMostShared = 96 << 10;

// Known to every thread of a team. `scratch` [kWarps].
template <int kTeam>
__device__ __forceinline__ float TeamSum(float value, float* scratch) {
  if constexpr (kTeam == kThreads) {
    return BlockSum<kThreads>(value, scratch);
  } else {
#pragma unroll
    for (int distance = kTeam / 2; distance > 0; distance /= 2) {
      value += __shfl_xor_sync(kAllLanes, value, distance);
    }
    return value;
  }
}

template <int kTeam>
__device__ __forceinline__ int TeamLane() {
  return static_cast<int>(threadIdx.x) % kTeam;
}
template <int kTeam>
__device__ __forceinline__ int Team() {
  return static_cast<int>(threadIdx.x) / kTeam;
}

template <typename T, int kTeam>
__global__ void __launch_bounds__(kThreads)
    RmsNormKernel(T* out, float* rstd, const T* x, const T* weight, float eps, float offset,
                  int64_t rows, int width, bool aligned) {
  __shared__ float scratch[kWarps];
  const int64_t row = int64_t{blockIdx.x} * (kThreads / kTeam) + Team<kTeam>();
  const int end = row < rows ? width : 0;  // teams without a row take part in shuffles
  const int first = TeamLane<kTeam>() * kEight;
  constexpr int kStep = kTeam * kEight;
  const T* from = x + row * width;
  float squares = 0;
  for (int i = first; i < end; i += kStep) {
    float v[kEight];
    LoadEight(v, from + i, end - i, aligned);
    float part = 0;
#pragma unroll
    for (int j = 0; j < kEight; ++j) part = fmaf(v[j], v[j], part);
    squares += part;
  }
  const float mean_square = TeamSum<kTeam>(squares, scratch) / static_cast<float>(width);
  const float r = 1.0f / sqrtf(mean_square + eps);
  for (int i = first; i < end; i += kStep) {
    float v[kEight];
    float w[kEight];
    LoadEight(v, from + i, end - i, aligned);
    LoadEight(w, weight + i, end - i, aligned);
#pragma unroll
    for (int j = 0; j < kEight; ++j) v[j] = v[j] * r * (offset + w[j]);
    StoreEight(out + row * width + i, v, end - i, aligned);
  }
  if (first == 0 && row < rows) rstd[row] = r;
}

template <typename T, int kTeam>
__global__ void __launch_bounds__(kThreads)
    LayerNormKernel(T* out, float* mean, float* rstd, const T* x, const T* weight, const T* bias,
                    float eps, int64_t rows, int width, bool aligned) {
  __shared__ float scratch[kWarps];
  const int64_t row = int64_t{blockIdx.x} * (kThreads / kTeam) + Team<kTeam>();
  const int end = row < rows ? width : 0;
  const int first = TeamLane<kTeam>() * kEight;
  constexpr int kStep = kTeam * kEight;
  const T* from = x + row * width;
  float sum = 0;
  for (int i = first; i < end; i += kStep) {
    float v[kEight];
    LoadEight(v, from + i, end - i, aligned);
    float part = 0;
#pragma unroll
    for (int j = 0; j < kEight; ++j) part += v[j];
    sum += part;
  }
  const float m = TeamSum<kTeam>(sum, scratch) / static_cast<float>(width);
  float squares = 0;
  for (int i = first; i < end; i += kStep) {
    float v[kEight];
    LoadEight(v, from + i, end - i, aligned);
    float part = 0;
#pragma unroll
    for (int j = 0; j < kEight; ++j) {
      const float centred = i + j < end ? v[j] - m : 0.0f;
      part = fmaf(centred, centred, part);
    }
    squares += part;
  }
  const float variance = TeamSum<kTeam>(squares, scratch) / static_cast<float>(width);
  const float r = 1.0f / sqrtf(variance + eps);
  for (int i = first; i < end; i += kStep) {
    float v[kEight];
    float w[kEight];
    float b[kEight];
    LoadEight(v, from + i, end - i, aligned);
    LoadEight(w, weight + i, end - i, aligned);
    LoadEight(b, bias + i, end - i, aligned);
#pragma unroll
    for (int j = 0; j < kEight; ++j) v[j] = fmaf((v[j] - m) * r, w[j], b[j]);
    StoreEight(out + row * width + i, v, end - i, aligned);
  }
  if (first == 0 && row < rows) {
    mean[row] = m;
    rstd[row] = r;
  }
}

// ---- Backward: a block has a chunk of rows, its teams every kThreads / kTeam-th of them. ----

// Floats of a team's sums over rows in shared memory.
template <int kTeam>
__host__ __device__ constexpr int SumsOfTeam(int width) {
  return (width + kTeam * kEight - 1) / (kTeam * kEight) * (kTeam * kEight);
}

// Where the sum of column `column` + j is, 8 dividing `column`: in shared memory such that lanes
// meet different banks, in global memory in order.
template <int kTeam, bool kInShared>
__device__ __forceinline__ int SumAt(int column, int j) {
  if constexpr (!kInShared) return column + j;
  const int group = column / kEight;
  return (group / kTeam * kEight + j) * kTeam + group % kTeam;
}

// A thread's own sums.
template <int kTeam, bool kInShared>
__device__ __forceinline__ void ClearSums(float* sums, int width) {
  for (int i = TeamLane<kTeam>() * kEight; i < width; i += kTeam * kEight) {
#pragma unroll
    for (int j = 0; j < kEight; ++j) {
      if (kInShared || i + j < width) sums[SumAt<kTeam, kInShared>(i, j)] = 0;
    }
  }
}
template <int kTeam, bool kInShared>
__device__ __forceinline__ void AddToSums(float* sums, int column, int width,
                                          const float (&values)[kEight]) {
#pragma unroll
  for (int j = 0; j < kEight; ++j) {
    if (kInShared || column + j < width) sums[SumAt<kTeam, kInShared>(column, j)] += values[j];
  }
}

// chunk [width] = the teams' sums, which lie `stride` floats apart, in the order of teams.
// REQUIRES: a barrier since they were written.
template <int kTeam>
__device__ __forceinline__ void StoreChunk(float* chunk, const float* sums, int stride, int width) {
  for (int i = static_cast<int>(threadIdx.x); i < width; i += kThreads) {
    const int at = SumAt<kTeam, true>(i / kEight * kEight, i % kEight);
    float sum = sums[at];
    for (int team = 1; team < kThreads / kTeam; ++team) sum += sums[team * stride + at];
    chunk[i] = sum;
  }
}

template <typename T, int kTeam, bool kInShared>
__global__ void __launch_bounds__(kThreads)
    RmsNormBackwardKernel(T* dx, float* chunks, const T* dout, const T* x, const T* weight,
                          const float* rstd, float offset, int64_t rows, int64_t rows_of_chunk,
                          int width, bool aligned) {
  __shared__ float scratch[kWarps];
  float* const all_sums = reinterpret_cast<float*>(dynamic_shared);
  float* const chunk = chunks + int64_t{blockIdx.x} * width;
  const int stride = SumsOfTeam<kTeam>(width);
  float* const sums = kInShared ? all_sums + Team<kTeam>() * stride : chunk;
  ClearSums<kTeam, kInShared>(sums, width);
  const int first = TeamLane<kTeam>() * kEight;
  constexpr int kStep = kTeam * kEight;
  const int64_t begin_row = blockIdx.x * rows_of_chunk;
  const int64_t end_row = min(rows, begin_row + rows_of_chunk);
  for (int64_t team_row = begin_row; team_row < end_row; team_row += kThreads / kTeam) {
    const int64_t row = team_row + Team<kTeam>();
    const int end = row < end_row ? width : 0;
    const int64_t at = row * width;
    const float r = row < end_row ? rstd[row] : 0.0f;
    float dot = 0;
    for (int i = first; i < end; i += kStep) {
      float dy[kEight];
      float v[kEight];
      float w[kEight];
      LoadEight(dy, dout + at + i, end - i, aligned);
      LoadEight(v, x + at + i, end - i, aligned);
      LoadEight(w, weight + i, end - i, aligned);
      float part = 0;
#pragma unroll
      for (int j = 0; j < kEight; ++j) {
        v[j] = __fmul_rn(dy[j], v[j]);
        part = fmaf(v[j], offset + w[j], part);
        v[j] = __fmul_rn(v[j], r);
      }
      dot += part;
      AddToSums<kTeam, kInShared>(sums, i, width, v);
    }
    const float slope = TeamSum<kTeam>(dot, scratch) / static_cast<float>(width) * r * r * r;
    for (int i = first; i < end; i += kStep) {
      float dy[kEight];
      float v[kEight];
      float w[kEight];
      LoadEight(dy, dout + at + i, end - i, aligned);
      LoadEight(v, x + at + i, end - i, aligned);
      LoadEight(w, weight + i, end - i, aligned);
#pragma unroll
      for (int j = 0; j < kEight; ++j) {
        v[j] = fmaf(dy[j] * (offset + w[j]), r, -(v[j] * slope));
      }
      StoreEight(dx + at + i, v, end - i, aligned);
    }
  }
  if constexpr (kInShared) {
    __syncthreads();
    StoreChunk<kTeam>(chunk, all_sums, stride, width);
  }
}

template <typename T, int kTeam, bool kInShared>
__global__ void __launch_bounds__(kThreads)
    LayerNormBackwardKernel(T* dx, float* weight_chunks, float* bias_chunks, const T* dout,
                            const T* x, const T* weight, const float* mean, const float* rstd,
                            int64_t rows, int64_t rows_of_chunk, int width, bool aligned) {
  __shared__ float scratch[kWarps];
  float* const all_sums = reinterpret_cast<float*>(dynamic_shared);
  float* const weight_chunk = weight_chunks + int64_t{blockIdx.x} * width;
  float* const bias_chunk = bias_chunks + int64_t{blockIdx.x} * width;
  const int half = SumsOfTeam<kTeam>(width);  // a team's sums for the weight, then for the bias
  float* const team_sums = all_sums + Team<kTeam>() * 2 * half;
  float* const weight_sums = kInShared ? team_sums : weight_chunk;
  float* const bias_sums = kInShared ? team_sums + half : bias_chunk;
  ClearSums<kTeam, kInShared>(weight_sums, width);
  ClearSums<kTeam, kInShared>(bias_sums, width);
  const int first = TeamLane<kTeam>() * kEight;
  constexpr int kStep = kTeam * kEight;
  const int64_t begin_row = blockIdx.x * rows_of_chunk;
  const int64_t end_row = min(rows, begin_row + rows_of_chunk);
  for (int64_t team_row = begin_row; team_row < end_row; team_row += kThreads / kTeam) {
    const int64_t row = team_row + Team<kTeam>();
    const int end = row < end_row ? width : 0;
    const int64_t at = row * width;
    const float m = row < end_row ? mean[row] : 0.0f;
    const float r = row < end_row ? rstd[row] : 0.0f;
    float sum = 0;
    float dot = 0;
    for (int i = first; i < end; i += kStep) {
      float dy[kEight];
      float v[kEight];
      float w[kEight];
      LoadEight(dy, dout + at + i, end - i, aligned);
      LoadEight(v, x + at + i, end - i, aligned);
      LoadEight(w, weight + i, end - i, aligned);
      float sum_part = 0;
      float dot_part = 0;
#pragma unroll
      for (int j = 0; j < kEight; ++j) {
        v[j] = __fmul_rn(dy[j], (v[j] - m) * r);
        sum_part = fmaf(dy[j], w[j], sum_part);
        dot_part = fmaf(v[j], w[j], dot_part);
      }
      sum += sum_part;
      dot += dot_part;
      AddToSums<kTeam, kInShared>(weight_sums, i, width, v);
      AddToSums<kTeam, kInShared>(bias_sums, i, width, dy);
    }
    const float shift = TeamSum<kTeam>(sum, scratch) / static_cast<float>(width);
    const float slope = TeamSum<kTeam>(dot, scratch) / static_cast<float>(width);
    for (int i = first; i < end; i += kStep) {
      float dy[kEight];
      float v[kEight];
      float w[kEight];
      LoadEight(dy, dout + at + i, end - i, aligned);
      LoadEight(v, x + at + i, end - i, aligned);
      LoadEight(w, weight + i, end - i, aligned);
#pragma unroll
      for (int j = 0; j < kEight; ++j) {
        const float normal = (v[j] - m) * r;
        v[j] = r * fmaf(-normal, slope, fmaf(dy[j], w[j], -shift));
      }
      StoreEight(dx + at + i, v, end - i, aligned);
    }
  }
  if constexpr (kInShared) {
    __syncthreads();
    StoreChunk<kTeam>(weight_chunk, all_sums, 2 * half, width);
    StoreChunk<kTeam>(bias_chunk, all_sums + half, 2 * half, width);
  }
}

// out [width] += the chunks: every eighth one by a warp, then the warps' sums in order.
__global__ void __launch_bounds__(kThreads)
    AddChunksKernel(float* out, const float* chunks, int64_t num_chunks, int width) {
  __shared__ float sums[kWarps][kWarp];
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int column = static_cast<int>(blockIdx.x) * kWarp + lane;
  float sum = 0;
  if (column < width) {
#pragma unroll 8
    for (int64_t i = warp; i < num_chunks; i += kWarps) sum += chunks[i * width + column];
  }
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp == 0 && column < width) {
    float total = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) total += sums[w][lane];
    out[column] += total;
  }
}

cudaError_t AddChunks(cudaStream_t stream, float* out, const float* chunks, int64_t num_chunks,
                      int64_t width) {
  return Launch(stream, dim3(static_cast<unsigned>(CeilDivide(width, kWarp))), kThreads, 0,
                AddChunksKernel, out, chunks, num_chunks, static_cast<int>(width));
}

template <int kSize>
struct TeamSize {
  static constexpr int kTeam = kSize;
};

// fn(T(), TeamSize) for the type of elements and the team that suits rows of `width`.
template <typename Fn>
cudaError_t WithElementAndTeam(Element element, int64_t width, const Fn& fn) {
  return WithElement(element, [&](auto type) {
    if (NormTeam(width) == kHalfWarp) return fn(type, TeamSize<kHalfWarp>());
    return NormTeam(width) == kWarp ? fn(type, TeamSize<kWarp>()) : fn(type, TeamSize<kThreads>());
  });
}

dim3 BlocksOfTeams(int64_t rows, int64_t width) {
  return dim3(static_cast<unsigned>(CeilDivide(rows, kThreads / NormTeam(width))));
}

// Of `sums_of_column` sums over rows for each column; 0 if they are too many.
template <int kTeam>
size_t SharedBytes(int64_t width, int sums_of_column) {
  const int64_t bytes = int64_t{kThreads / kTeam} * sums_of_column *
                        SumsOfTeam<kTeam>(static_cast<int>(width)) *
                        static_cast<int64_t>(sizeof(float));
  return bytes <= kMostShared ? static_cast<size_t>(bytes) : 0;
}

}  // namespace

cudaError_t RmsNorm(cudaStream_t stream, void* out, float* rstd, const void* x, const void* weight,
                    Element element, int64_t rows, int64_t width, float eps, float offset) {
  if (rows == 0) return cudaSuccess;
  const bool aligned = width % kEight == 0 && AreAligned(out, x, weight);
  return WithElementAndTeam(element, width, [&](auto type, auto size) {
    using T = decltype(type);
    return Launch(stream, BlocksOfTeams(rows, width), kThreads, 0, RmsNormKernel<T, size.kTeam>,
                  static_cast<T*>(out), rstd, static_cast<const T*>(x),
                  static_cast<const T*>(weight), eps, offset, rows, static_cast<int>(width),
                  aligned);
  });
}

cudaError_t LayerNorm(cudaStream_t stream, void* out, float* mean, float* rstd, const void* x,
                      const void* weight, const void* bias, Element element, int64_t rows,
                      int64_t width, float eps) {
  if (rows == 0) return cudaSuccess;
  const bool aligned = width % kEight == 0 && AreAligned(out, x, weight, bias);
  return WithElementAndTeam(element, width, [&](auto type, auto size) {
    using T = decltype(type);
    return Launch(stream, BlocksOfTeams(rows, width), kThreads, 0, LayerNormKernel<T, size.kTeam>,
                  static_cast<T*>(out), mean, rstd, static_cast<const T*>(x),
                  static_cast<const T*>(weight), static_cast<const T*>(bias), eps, rows,
                  static_cast<int>(width), aligned);
  });
}

cudaError_t RmsNormBackward(cudaStream_t stream, void* dx, float* dweight, float* chunks,
                            const void* dout, const void* x, const void* weight, const float* rstd,
                            Element element, int64_t rows, int64_t width, float offset) {
  if (rows == 0) return cudaSuccess;
  const int64_t num_chunks = NormChunks(rows, width);
  const bool aligned = width % kEight == 0 && AreAligned(dx, dout, x, weight);
  const cudaError_t code = WithElementAndTeam(element, width, [&](auto type, auto size) {
    using T = decltype(type);
    const size_t shared = SharedBytes<size.kTeam>(width, 1);
    auto* kernel = RmsNormBackwardKernel<T, size.kTeam, true>;
    if constexpr (size.kTeam == kThreads) {
      if (shared == 0) kernel = RmsNormBackwardKernel<T, size.kTeam, false>;
    }
    return Launch(stream, dim3(static_cast<unsigned>(num_chunks)), kThreads, shared, kernel,
                  static_cast<T*>(dx), chunks, static_cast<const T*>(dout),
                  static_cast<const T*>(x), static_cast<const T*>(weight), rstd, offset, rows,
                  NormRowsOfChunk(rows, width), static_cast<int>(width), aligned);
  });
  if (code != cudaSuccess) return code;
  return AddChunks(stream, dweight, chunks, num_chunks, width);
}

cudaError_t LayerNormBackward(cudaStream_t stream, void* dx, float* dweight, float* dbias,
                              float* chunks, const void* dout, const void* x, const void* weight,
                              const float* mean, const float* rstd, Element element, int64_t rows,
                              int64_t width) {
  if (rows == 0) return cudaSuccess;
  const int64_t num_chunks = NormChunks(rows, width);
  float* const bias_chunks = chunks + num_chunks * width;
  const bool aligned = width % kEight == 0 && AreAligned(dx, dout, x, weight);
  cudaError_t code = WithElementAndTeam(element, width, [&](auto type, auto size) {
    using T = decltype(type);
    const size_t shared = SharedBytes<size.kTeam>(width, 2);
    auto* kernel = LayerNormBackwardKernel<T, size.kTeam, true>;
    if constexpr (size.kTeam == kThreads) {
      if (shared == 0) kernel = LayerNormBackwardKernel<T, size.kTeam, false>;
    }
    return Launch(stream, dim3(static_cast<unsigned>(num_chunks)), kThreads, shared, kernel,
                  static_cast<T*>(dx), chunks, bias_chunks, static_cast<const T*>(dout),
                  static_cast<const T*>(x), static_cast<const T*>(weight), mean, rstd, rows,
                  NormRowsOfChunk(rows, width), static_cast<int>(width), aligned);
  });
  if (code != cudaSuccess) return code;
  code = AddChunks(stream, dweight, chunks, num_chunks, width);
  if (code != cudaSuccess) return code;
  return AddChunks(stream, dbias, bias_chunks, num_chunks, width);
}

}  // namespace liquid::cuda
