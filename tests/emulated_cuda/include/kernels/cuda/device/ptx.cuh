// Found before the product's kernels/cuda/device/ptx.cuh: the same functions without PTX. Keep the
// two in step; nothing but a GPU can show that they agree.
#ifndef LIQUID_TESTS_EMULATED_CUDA_INCLUDE_PTX_CUH_
#define LIQUID_TESTS_EMULATED_CUDA_INCLUDE_PTX_CUH_

#include <cuda_runtime.h>

#include <cfloat>
#include <cmath>

#include "tests/emulated_cuda/matrix_layout.h"

namespace liquid::cuda::ptx {

inline void MmaBf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                    emulated::Site site = emulated::Site::Here()) {
  emulated::Mma mma{d, a, b};
  emulated::WarpCollective(0xffffffffu, "mma.m16n8k16", &mma, emulated::ResolveMma,
                           /*orders_memory=*/false, site);
}

// Every lane reads its own elements, so that the sanitizers see who reads what.
template <bool kTransposed>
void LoadMatrix(unsigned (&matrix)[4], const void* row, emulated::Site site) {
  const auto address = reinterpret_cast<uint64_t>(row);
  if (address % 16 != 0) emulated::Fault("ldmatrix: the address of a row is not 16-byte aligned");
  const int lane = static_cast<int>(emulated::current->lane);
  for (int i = 0; i < 4; ++i) {
    unsigned elements[2];
    for (int half = 0; half < 2; ++half) {
      const int first = lane / 4;
      const int second = lane % 4 * 2 + half;
      const uint64_t from =
          emulated::ShuffleFrom(0xffffffffu, address, i * 8 + (kTransposed ? second : first), site);
      elements[half] = reinterpret_cast<const unsigned short*>(from)[kTransposed ? first : second];
    }
    matrix[i] = elements[0] | elements[1] << 16;
  }
}
inline void LoadMatrix4(unsigned (&matrix)[4], const void* row,
                        emulated::Site site = emulated::Site::Here()) {
  LoadMatrix<false>(matrix, row, site);
}
inline void LoadMatrix4Transposed(unsigned (&matrix)[4], const void* row,
                                  emulated::Site site = emulated::Site::Here()) {
  LoadMatrix<true>(matrix, row, site);
}

// The copy happens at some time between here and the wait. So the target is spoilt at once, which a
// late reader of the old values notices, and filled at the wait, which an early reader of the new
// ones does. Plain stores: ThreadSanitizer does not see what GCC makes of a short memset.
inline void CopyAsync16(void* shared, const void* global, bool copies) {
  static constexpr uint4 kZeros{};
  if ((reinterpret_cast<uint64_t>(shared) | reinterpret_cast<uint64_t>(global)) % 16 != 0) {
    emulated::Fault("cp.async: an address is not 16-byte aligned");
  }
  emulated::AsyncCopies& async = emulated::current->async;
  if (async.count == emulated::AsyncCopies::kMax) {
    emulated::Fault("cp.async: more copies at once than the emulation holds for a thread");
  }
  auto* to = static_cast<uint4*>(shared);
  async.copies[async.count++] = {to, copies ? static_cast<const uint4*>(global) : &kZeros,
                                 async.group};
  *to = uint4{~0u, ~0u, ~0u, ~0u};
}
inline void CopyAsyncCommit() { ++emulated::current->async.group; }
template <int kLeft>
void CopyAsyncWait() {
  emulated::AsyncCopies& async = emulated::current->async;
  int num_left = 0;
  for (int i = 0; i < async.count; ++i) {
    const emulated::AsyncCopies::Copy copy = async.copies[i];
    if (copy.group + kLeft < async.group) {
      *copy.to = *copy.from;
    } else {
      async.copies[num_left++] = copy;
    }
  }
  async.count = num_left;
}

inline float Exp2(float x) {
  const float power = std::exp2(x);
  return power < FLT_MIN ? 0.0f : power;
}

inline int ReadThread() { return static_cast<int>(threadIdx.x); }
inline int3 ReadBlock() {
  return {static_cast<int>(blockIdx.x), static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z)};
}
template <typename T>
T* Opaque(T* pointer) {
  return pointer;
}

}  // namespace liquid::cuda::ptx

#endif  // LIQUID_TESTS_EMULATED_CUDA_INCLUDE_PTX_CUH_
