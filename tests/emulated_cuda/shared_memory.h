// The shared memory of the running block: what it holds before the kernel writes it, and whether
// the kernel has kept within it.
#ifndef LIQUID_TESTS_EMULATED_CUDA_SHARED_MEMORY_H_
#define LIQUID_TESTS_EMULATED_CUDA_SHARED_MEMORY_H_

#include <cstddef>
#include <vector>

namespace liquid::emulated {

// Of all modules that this OS thread sees. Lives as long as a grid runs.
class SharedMemory {
 public:
  explicit SharedMemory(size_t dynamic_bytes);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  // Fills all of it with 0xFF: NaN in every format of floats, -1 in integers.
  void BeginBlock();
  // False if something was written behind the dynamic array.
  bool IsIntact() const;

  struct Range {
    unsigned char* begin;
    size_t bytes;
  };

 private:
  const size_t dynamic_bytes_;
  std::vector<Range> static_arrays_;
  std::vector<Range> dynamic_arrays_;  // with all the bytes that they may have
};

}  // namespace liquid::emulated

#endif  // LIQUID_TESTS_EMULATED_CUDA_SHARED_MEMORY_H_
