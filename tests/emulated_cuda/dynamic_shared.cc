// What every library of kernels has one of: the storage behind the product's array of dynamic
// shared memory, and word of itself to the emulation.
#include "kernels/cuda/device/launch.cuh"
#include "tests/emulated_cuda/kernel_interface.h"

namespace liquid::cuda {

// As much as any block can have; the alignment shows where a kernel needs more than it asks for.
alignas(128) thread_local unsigned char dynamic_shared[227 << 10];

namespace {

const emulated::KernelModule module(
    +[]() -> void* { return dynamic_shared; }, sizeof dynamic_shared);

}  // namespace
}  // namespace liquid::cuda
