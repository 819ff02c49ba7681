#include <climits>

#include "kernels/cuda/device/attention_mask.cuh"
#include "kernels/cuda/device/attention_paths.h"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/warp.cuh"

namespace liquid::cuda {
namespace {

constexpr int kWarps = 4;

// A warp has its own row and goes through the rows it needs of the other side by 32: each lane
// finds the weight of one of them, then each sums up some columns of all. What the lanes of a warp
// share is in shared memory: `vectors` of the row's width, and the weights.
constexpr size_t SharedBytes(int64_t width, int vectors, int weights) {
  return sizeof(float) * kWarps * static_cast<size_t>(vectors * width + weights * kWarp);
}
__device__ __forceinline__ float* SharedOfWarp(int64_t width, int vectors, int weights) {
  return reinterpret_cast<float*>(dynamic_shared) +
         threadIdx.x / kWarp * (vectors * width + weights * kWarp);
}

__device__ __forceinline__ int64_t RowOfWarp() {
  return int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
}
__device__ __forceinline__ int Lane() { return static_cast<int>(threadIdx.x) % kWarp; }

// To be followed by __syncwarp().
template <typename T>
__device__ __forceinline__ void ReadRow(float* to, const T* row, int width) {
  for (int c = Lane(); c < width; c += kWarp) to[c] = static_cast<float>(row[c]);
}

// Four sums, whose errors are a quarter of one's.
template <typename T>
__device__ __forceinline__ float Dot(const float* a, const T* b, int width) {
  float sums[4] = {};
  int c = 0;
  for (; c + 4 <= width; c += 4) {
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[i] += a[c + i] * static_cast<float>(b[c + i]);
  }
  for (; c < width; ++c) sums[0] += a[c] * static_cast<float>(b[c]);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// sum over i < count of weights[i] * rows[i * stride]
template <typename T>
__device__ __forceinline__ float WeightedSum(const float* weights, const T* rows, int64_t stride,
                                             int count) {
  float sum = 0;
#pragma unroll 4
  for (int i = 0; i < count; ++i) sum += weights[i] * static_cast<float>(rows[i * stride]);
  return sum;
}

// One warp: one query.
template <typename T>
__global__ __launch_bounds__(kWarps* kWarp) void AttentionRowKernel(
    T* __restrict__ out, float* __restrict__ lse, const T* __restrict__ q, const T* __restrict__ k,
    const T* __restrict__ v, const int32_t* __restrict__ document_start, AttentionShape s) {
  const int64_t row = RowOfWarp();
  if (row >= s.batch * s.queries * s.heads) return;
  const int64_t b = row / s.heads / s.queries;
  const int64_t t = row / s.heads % s.queries;
  const int64_t h = row % s.heads;
  const int width = static_cast<int>(s.width);
  const int64_t stride = s.groups * s.width;
  const int64_t keys = (b * s.keys * s.groups + h / (s.heads / s.groups)) * s.width;
  const SeenKeys seen = KeysSeenBy(t, StartsOfRow(document_start, b, s), s);

  float* const query = SharedOfWarp(s.width, /*vectors=*/2, /*weights=*/1);
  float* const sums = query + width;
  float* const weights = sums + width;
  ReadRow(query, q + row * width, width);
  for (int c = Lane(); c < width; c += kWarp) sums[c] = 0;
  __syncwarp();

  float top = -INFINITY;
  float weight_sum = 0;  // this lane's keys only
  for (int first = seen.first; first <= seen.last; first += kWarp) {
    const int count = min(kWarp, seen.last - first + 1);
    const int64_t at = keys + first * stride;
    float score = -INFINITY;
    if (Lane() < count) score = s.scale * Dot(query, k + at + Lane() * stride, width);
    const float new_top = fmaxf(top, WarpMax(score));
    const float factor = expf(top - new_top);
    const float weight = expf(score - new_top);
    top = new_top;
    weight_sum = weight_sum * factor + weight;
    weights[Lane()] = weight;
    __syncwarp();
    for (int c = Lane(); c < width; c += kWarp) {
      sums[c] = sums[c] * factor + WeightedSum(weights, v + at + c, stride, count);
    }
    __syncwarp();
  }
  weight_sum = WarpSum(weight_sum);
  for (int c = Lane(); c < width; c += kWarp) {
    out[row * width + c] = static_cast<T>(sums[c] / weight_sum);
  }
  if (Lane() == 0) lse[(b * s.heads + h) * s.queries + t] = top + logf(weight_sum);
}

// One warp: dq of one query. With p = e^(score - lse), dp = dout v^T:
//   ds = p (dp - delta),  dq = scale ds k
template <typename T>
__global__ __launch_bounds__(kWarps* kWarp) void QueryGradientRowKernel(
    T* __restrict__ dq, const float* __restrict__ delta, const T* __restrict__ dout,
    const T* __restrict__ q, const T* __restrict__ k, const T* __restrict__ v,
    const float* __restrict__ lse, const int32_t* __restrict__ document_start, AttentionShape s) {
  const int64_t row = RowOfWarp();
  if (row >= s.batch * s.queries * s.heads) return;
  const int64_t b = row / s.heads / s.queries;
  const int64_t t = row / s.heads % s.queries;
  const int64_t h = row % s.heads;
  const int width = static_cast<int>(s.width);
  const int64_t stride = s.groups * s.width;
  const int64_t keys = (b * s.keys * s.groups + h / (s.heads / s.groups)) * s.width;
  const SeenKeys seen = KeysSeenBy(t, StartsOfRow(document_start, b, s), s);
  const float row_lse = lse[(b * s.heads + h) * s.queries + t];
  const float row_delta = delta[(b * s.heads + h) * s.queries + t];

  float* const query = SharedOfWarp(s.width, /*vectors=*/3, /*weights=*/1);
  float* const gradient = query + width;
  float* const sums = gradient + width;
  float* const weights = sums + width;
  ReadRow(query, q + row * width, width);
  ReadRow(gradient, dout + row * width, width);
  for (int c = Lane(); c < width; c += kWarp) sums[c] = 0;
  __syncwarp();

  for (int first = seen.first; first <= seen.last; first += kWarp) {
    const int count = min(kWarp, seen.last - first + 1);
    const int64_t at = keys + first * stride;
    if (Lane() < count) {
      const float score = s.scale * Dot(query, k + at + Lane() * stride, width);
      const float dp = Dot(gradient, v + at + Lane() * stride, width);
      weights[Lane()] = expf(score - row_lse) * (dp - row_delta);
    }
    __syncwarp();
    for (int c = Lane(); c < width; c += kWarp) {
      sums[c] += WeightedSum(weights, k + at + c, stride, count);
    }
    __syncwarp();
  }
  for (int c = Lane(); c < width; c += kWarp) {
    dq[row * width + c] = static_cast<T>(sums[c] * s.scale);
  }
}

// One warp: dk and dv of one key of one key/value head.
//   dv = p^T dout,  dk = scale ds^T q
template <typename T>
__global__ __launch_bounds__(kWarps* kWarp) void KeyGradientRowKernel(
    T* __restrict__ dk, T* __restrict__ dv, const float* __restrict__ delta,
    const T* __restrict__ dout, const T* __restrict__ q, const T* __restrict__ k,
    const T* __restrict__ v, const float* __restrict__ lse,
    const int32_t* __restrict__ document_start, AttentionShape s) {
  const int64_t row = RowOfWarp();
  if (row >= s.batch * s.keys * s.groups) return;
  const int64_t b = row / s.groups / s.keys;
  const int key = static_cast<int>(row / s.groups % s.keys);
  const int64_t group_heads = s.heads / s.groups;
  const int64_t first_head = row % s.groups * group_heads;
  const int width = static_cast<int>(s.width);
  const int64_t stride = s.heads * s.width;
  const SeeingQueries seeing(StartsOfRow(document_start, b, s), key, s);

  float* const key_row = SharedOfWarp(s.width, /*vectors=*/4, /*weights=*/2);
  float* const value_row = key_row + width;
  float* const key_sums = value_row + width;
  float* const value_sums = key_sums + width;
  float* const key_weights = value_sums + width;
  float* const value_weights = key_weights + kWarp;
  ReadRow(key_row, k + row * width, width);
  ReadRow(value_row, v + row * width, width);
  for (int c = Lane(); c < width; c += kWarp) key_sums[c] = value_sums[c] = 0;
  __syncwarp();

  for (int64_t h = first_head; h < first_head + group_heads; ++h) {
    const float* const head_lse = lse + (b * s.heads + h) * s.queries;
    const float* const head_delta = delta + (b * s.heads + h) * s.queries;
    for (int first = key; seeing.Has(first); first += kWarp) {
      const int count = min(kWarp, seeing.end - first);
      const int64_t at = ((b * s.queries + first) * s.heads + h) * s.width;
      const int query = first + Lane();
      float p = 0;
      float ds = 0;
      if (seeing.Has(query)) {
        const float score = s.scale * Dot(key_row, q + at + Lane() * stride, width);
        const float dp = Dot(value_row, dout + at + Lane() * stride, width);
        p = expf(score - head_lse[query]);
        ds = p * (dp - head_delta[query]);
      }
      value_weights[Lane()] = p;
      key_weights[Lane()] = ds;
      __syncwarp();
      for (int c = Lane(); c < width; c += kWarp) {
        key_sums[c] += WeightedSum(key_weights, q + at + c, stride, count);
        value_sums[c] += WeightedSum(value_weights, dout + at + c, stride, count);
      }
      __syncwarp();
    }
  }
  for (int c = Lane(); c < width; c += kWarp) {
    dk[row * width + c] = static_cast<T>(key_sums[c] * s.scale);
    dv[row * width + c] = static_cast<T>(value_sums[c]);
  }
}

template <typename... Parameters, typename... Arguments>
cudaError_t LaunchOverRows(cudaStream_t stream, int64_t rows, size_t shared_bytes,
                           void (*kernel)(Parameters...), Arguments... arguments) {
  const int64_t blocks = (rows + kWarps - 1) / kWarps;
  if (blocks > INT_MAX) return cudaErrorInvalidValue;
  return Launch(stream, dim3(static_cast<unsigned>(blocks)), kWarps * kWarp, shared_bytes, kernel,
                arguments...);
}

template <typename T>
cudaError_t LaunchAttention(cudaStream_t stream, T* out, float* lse, const T* q, const T* k,
                            const T* v, const int32_t* document_start, const AttentionShape& s) {
  return LaunchOverRows(stream, s.batch * s.queries * s.heads,
                        SharedBytes(s.width, /*vectors=*/2, /*weights=*/1), AttentionRowKernel<T>,
                        out, lse, q, k, v, document_start, s);
}

template <typename T>
cudaError_t LaunchAttentionBackward(cudaStream_t stream, T* dq, T* dk, T* dv, const float* delta,
                                    const T* dout, const T* q, const T* k, const T* v,
                                    const float* lse, const int32_t* document_start,
                                    const AttentionShape& s) {
  const cudaError_t code = LaunchOverRows(
      stream, s.batch * s.queries * s.heads, SharedBytes(s.width, /*vectors=*/3, /*weights=*/1),
      QueryGradientRowKernel<T>, dq, delta, dout, q, k, v, lse, document_start, s);
  if (code != cudaSuccess) return code;
  return LaunchOverRows(stream, s.batch * s.keys * s.groups,
                        SharedBytes(s.width, /*vectors=*/4, /*weights=*/2), KeyGradientRowKernel<T>,
                        dk, dv, delta, dout, q, k, v, lse, document_start, s);
}

}  // namespace

cudaError_t AttentionByRows(cudaStream_t stream, Element element, void* out, float* lse,
                            const void* q, const void* k, const void* v,
                            const int32_t* document_start, const AttentionShape& shape) {
  const auto launch = [&](auto type) {
    using T = decltype(type);
    return LaunchAttention(stream, static_cast<T*>(out), lse, static_cast<const T*>(q),
                           static_cast<const T*>(k), static_cast<const T*>(v), document_start,
                           shape);
  };
  return element == Element::kBF16 ? launch(__nv_bfloat16()) : launch(float());
}

cudaError_t AttentionBackwardByRows(cudaStream_t stream, Element element, void* dq, void* dk,
                                    void* dv, const float* delta, const void* dout, const void* q,
                                    const void* k, const void* v, const float* lse,
                                    const int32_t* document_start, const AttentionShape& shape) {
  const auto launch = [&](auto type) {
    using T = decltype(type);
    return LaunchAttentionBackward(stream, static_cast<T*>(dq), static_cast<T*>(dk),
                                   static_cast<T*>(dv), delta, static_cast<const T*>(dout),
                                   static_cast<const T*>(q), static_cast<const T*>(k),
                                   static_cast<const T*>(v), lse, document_start, shape);
  };
  return element == Element::kBF16 ? launch(__nv_bfloat16()) : launch(float());
}

}  // namespace liquid::cuda
