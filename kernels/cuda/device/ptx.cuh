// The only inline PTX: what sm_80 has and CUDA C++ has no word for. Names, layouts and rules are
// those of the PTX ISA, sections "mma", "ldmatrix", "cp.async" and "ex2".
#ifndef LIQUID_KERNELS_CUDA_DEVICE_PTX_CUH_
#define LIQUID_KERNELS_CUDA_DEVICE_PTX_CUH_

#include <cuda_runtime.h>

namespace liquid::cuda::ptx {

// d += a * b over one 16x8x16 tile, by a whole warp. a is row-major, b column-major; each register
// holds two bf16, the lower address in the lower half. Lane l holds, with g = l / 4 and t = l % 4:
//   a[0] = A[g][2t..], a[1] = A[g+8][2t..], a[2] = A[g][2t+8..], a[3] = A[g+8][2t+8..]
//   b[0] = B[2t..][g], b[1] = B[2t+8..][g]
//   d[0] = D[g][2t], d[1] = D[g][2t+1], d[2] = D[g+8][2t], d[3] = D[g+8][2t+1]
__device__ __forceinline__ void MmaBf16(float (&d)[4], const unsigned (&a)[4],
                                        const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Four 8x8 tiles of 16-bit elements from shared memory, by a whole warp. Lane l passes the address
// of row l % 8 of tile l / 8, 16-byte aligned, and gets from tile i, in matrix[i], the elements
// (l / 4, 2 (l % 4)) and the one to its right.
__device__ __forceinline__ void LoadMatrix4(unsigned (&matrix)[4], const void* row) {
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(matrix[0]), "=r"(matrix[1]), "=r"(matrix[2]), "=r"(matrix[3])
               : "r"(address)
               : "memory");
}
// The same of the transposed tiles.
__device__ __forceinline__ void LoadMatrix4Transposed(unsigned (&matrix)[4], const void* row) {
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(matrix[0]), "=r"(matrix[1]), "=r"(matrix[2]), "=r"(matrix[3])
               : "r"(address)
               : "memory");
}

// Begins to copy 16 bytes, both ends 16-byte aligned, or, without `copies`, to clear the target and
// to read nothing. The target may be neither read nor written before this thread has waited for the
// copy's group; other threads need a barrier after that.
__device__ __forceinline__ void CopyAsync16(void* shared, const void* global, bool copies) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                   static_cast<unsigned>(__cvta_generic_to_shared(shared))),
               "l"(global), "r"(copies ? 16 : 0)
               : "memory");
}
// Makes a group of the calling thread's copies since the last one.
__device__ __forceinline__ void CopyAsyncCommit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Waits until at most kLeft of the calling thread's groups are under way, the youngest ones.
template <int kLeft>
__device__ __forceinline__ void CopyAsyncWait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

// 2^x by one instruction, where exp2f takes four to get denormal results right: here they are zero.
__device__ __forceinline__ float Exp2(float x) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
}

// ---- For kernels that have no register to spare: what they need seldom is worked out each time.

// threadIdx.x and blockIdx, which are read here: no register keeps them, or what follows from them,
// from one call to the next.
__device__ __forceinline__ int ReadThread() {
  int thread;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
  return thread;
}
__device__ __forceinline__ int3 ReadBlock() {
  int3 block;
  asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(block.x));
  asm volatile("mov.u32 %0, %%ctaid.y;" : "=r"(block.y));
  asm volatile("mov.u32 %0, %%ctaid.z;" : "=r"(block.z));
  return block;
}

// The pointer, of which the compiler then knows nothing: of a chain of additions it makes no table
// of multiples ahead of a loop.
template <typename T>
__device__ __forceinline__ T* Opaque(T* pointer) {
  asm volatile("" : "+l"(pointer));
  return pointer;
}

}  // namespace liquid::cuda::ptx

#endif  // LIQUID_KERNELS_CUDA_DEVICE_PTX_CUH_
