// Which keys a query sees, and which queries a key is seen by.
#ifndef LIQUID_KERNELS_CUDA_DEVICE_ATTENTION_MASK_CUH_
#define LIQUID_KERNELS_CUDA_DEVICE_ATTENTION_MASK_CUH_

#include <cuda_runtime.h>

#include <climits>
#include <cstdint>

#include "kernels/cuda/device/attention.h"

namespace liquid::cuda {

struct SeenKeys {
  int first;
  int last;

  __device__ bool Has(int key) const { return first <= key && key <= last; }
};

// Queries behind the last one see none. `starts` [Tk] or null: document_start of the batch's row.
__device__ __forceinline__ SeenKeys KeysSeenBy(int64_t query, const int32_t* starts,
                                               const AttentionShape& shape) {
  if (query >= shape.queries) return {INT_MAX, -1};
  const int last = static_cast<int>(shape.query_offset + query);
  int first = starts == nullptr ? 0 : starts[last];
  if (shape.window > 0) first = max(first, last - shape.window + 1);
  return {first, last};
}

__device__ __forceinline__ const int32_t* StartsOfRow(const int32_t* document_start, int64_t row,
                                                      const AttentionShape& shape) {
  return document_start == nullptr ? nullptr : document_start + row * shape.keys;
}

// What `count` queries in a row see: any of them, and each of them. Documents begin, and windows
// move, from left to right, so that the first query and the last one tell. Of queries behind the
// last one nothing is asked: they may see what the others do.
struct ViewOfQueries {
  SeenKeys any;
  SeenKeys each;

  // REQUIRES: count > 0.
  __device__ ViewOfQueries(int begin, int count, const int32_t* starts,
                           const AttentionShape& shape) {
    const int last = min(begin + count, static_cast<int>(shape.queries)) - 1;
    const SeenKeys of_first = KeysSeenBy(begin, starts, shape);
    const SeenKeys of_last = KeysSeenBy(last, starts, shape);
    any = {of_first.first, of_last.last};  // none if begin is behind the last query
    each = {of_last.first, of_first.last};
  }
  __device__ bool HasSomeOf(int key, int keys) const {
    return any.first < key + keys && key <= any.last;
  }
  __device__ bool HasAllOf(int key, int keys) const {
    return each.first <= key && key + keys - 1 <= each.last;
  }
};

// The queries behind the first of some keys that see any of them. REQUIRES: no query_offset.
struct SeeingQueries {
  const int32_t* starts;
  int last_key;
  int end;  // by the window

  __device__ SeeingQueries(const int32_t* starts_of_row, int last, const AttentionShape& shape)
      : starts(starts_of_row), last_key(last), end(static_cast<int>(shape.queries)) {
    if (shape.window > 0 && shape.window < end - last_key) end = last_key + shape.window;
  }
  // Documents begin from left to right: if a query is in a document behind these keys, so are all
  // behind it.
  __device__ bool Has(int query) const {
    return query < end && (starts == nullptr || starts[query] <= last_key);
  }
};

}  // namespace liquid::cuda

#endif  // LIQUID_KERNELS_CUDA_DEVICE_ATTENTION_MASK_CUH_
