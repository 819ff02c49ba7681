// The one way in which kernels use threads: a loop over chunks on the OpenMP team.
#ifndef LIQUID_KERNELS_CPU_PARALLEL_FOR_H_
#define LIQUID_KERNELS_CPU_PARALLEL_FOR_H_

#include <algorithm>
#include <cstdint>

namespace liquid {

// Calls fn(chunk) for chunk = 0 .. num_chunks-1, each once, in any order, on the OpenMP team, and
// waits for all. What a chunk is must follow from shapes alone, never from the number of threads:
// then so do the results. Libraries called inside (oneDNN) find themselves in a parallel region
// and use the calling thread only; hence even a single chunk runs in one.
template <typename Fn>
void ParallelFor(int64_t num_chunks, const Fn& fn) {
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t chunk = 0; chunk < num_chunks; ++chunk) fn(chunk);
}

// Calls fn(begin, end) for consecutive ranges of `grain` items (the last may be shorter) that
// cover 0 .. count-1.
template <typename Fn>
void ParallelForRanges(int64_t count, int64_t grain, const Fn& fn) {
  ParallelFor((count + grain - 1) / grain, [&](int64_t chunk) {
    const int64_t begin = chunk * grain;
    fn(begin, std::min(count, begin + grain));
  });
}

}  // namespace liquid

#endif  // LIQUID_KERNELS_CPU_PARALLEL_FOR_H_
