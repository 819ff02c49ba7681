#include "tests/emulated_cuda/grid.h"

#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/emulated_cuda/fault.h"
#include "tests/emulated_cuda/options.h"
#include "tests/emulated_cuda/shared_memory.h"

namespace liquid::emulated {
namespace {

// Empty for the natural order.
std::vector<uint64_t> OrderOfBlocks(uint64_t num_blocks) {
  std::vector<uint64_t> order;
  if (GetOptions().seed == 0) return order;
  order.resize(num_blocks);
  std::iota(order.begin(), order.end(), uint64_t{0});
  for (uint64_t i = num_blocks; i > 1; --i) std::swap(order[i - 1], order[NextRandom() % i]);
  return order;
}

uint3 IndexOfBlock(uint64_t i, const dim3& grid) {
  return {static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
          static_cast<unsigned>(i / grid.x / grid.y)};
}

std::string RunInOrder(uint3 index, const GridShape& shape, SharedMemory& shared) {
  shared.BeginBlock();
  std::string fault = RunBlock(index);
  if (fault.empty() && !shared.IsIntact()) {
    fault = "a kernel: it wrote past the " + std::to_string(shape.dynamic_shared_bytes) +
            " bytes of dynamic shared memory that it was launched with";
  }
  return fault;
}

// In an OS thread of its own, which has thread_local variables of its own: shared memory of two
// blocks is never taken for the same.
std::string RunUnordered(uint3 index, const GridShape& shape) {
  std::string fault;
  std::thread([&] {
    SharedMemory shared(shape.dynamic_shared_bytes);
    fault = RunInOrder(index, shape, shared);
  }).join();
  return fault;
}

}  // namespace

void RunGrid(const GridShape& shape, const std::function<void()>& kernel) {
  BeginGrid(shape, kernel);
  SharedMemory shared(shape.dynamic_shared_bytes);
  const uint64_t num_blocks = uint64_t{shape.grid.x} * shape.grid.y * shape.grid.z;
  const std::vector<uint64_t> order = OrderOfBlocks(num_blocks);
  std::string fault;
  for (uint64_t i = 0; i < num_blocks && fault.empty(); ++i) {
    const uint3 index = IndexOfBlock(order.empty() ? i : order[i], shape.grid);
    fault =
        GetOptions().race_blocks ? RunUnordered(index, shape) : RunInOrder(index, shape, shared);
  }
  EndGrid();
  if (fault.empty()) return;
  ForgetFibers();
  ReportFault(fault);
}

}  // namespace liquid::emulated
