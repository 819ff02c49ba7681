// Runs the blocks of a grid, one after the other.
#ifndef LIQUID_TESTS_EMULATED_CUDA_GRID_H_
#define LIQUID_TESTS_EMULATED_CUDA_GRID_H_

#include <functional>

#include "tests/emulated_cuda/scheduler.h"

namespace liquid::emulated {

// Calls `kernel` once for every CUDA thread. Faults are reported (fault.h).
void RunGrid(const GridShape& shape, const std::function<void()>& kernel);

}  // namespace liquid::emulated

#endif  // LIQUID_TESTS_EMULATED_CUDA_GRID_H_
