// What the environment asks of the emulation. README.md describes the variables.
#ifndef LIQUID_TESTS_EMULATED_CUDA_OPTIONS_H_
#define LIQUID_TESTS_EMULATED_CUDA_OPTIONS_H_

#include <cstdint>
#include <vector>

namespace liquid::emulated {

struct Options {
  uint64_t seed;     // 0: a fixed order; otherwise threads, blocks and streams are shuffled
  uint64_t lazy;     // 0: streams work at once; 1: when something waits; 2: as late as they may
  bool abort;        // a fault ends the process; otherwise it becomes a sticky CUDA error
  bool race_blocks;  // ThreadSanitizer takes the blocks of a grid as unordered
  bool host_guard;   // device memory is out of bounds for host code
  bool progress;     // a background thread works for all streams
  int sm;            // compute capability: 80, 90, 100
  std::vector<int> devices;  // that cudaGetDeviceCount finds: their numbers in the machine
  uint64_t device_bytes;     // of memory, of each device
  uint64_t stack_bytes;      // of a CUDA thread
  double nccl_warn_seconds;  // after which a rank that waits says for whom

  uint64_t SharedBytesPerMultiprocessor() const { return (sm == 80 ? 164 : 228) << 10; }
  uint64_t SharedBytesPerBlock() const { return SharedBytesPerMultiprocessor() - 1024; }
};

// Read once, when it is first called.
const Options& GetOptions();

}  // namespace liquid::emulated

#endif  // LIQUID_TESTS_EMULATED_CUDA_OPTIONS_H_
