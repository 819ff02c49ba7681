// The one way in which kernels use threads: a loop over chunks on the OpenMP
// team.
#ifndef LIQUID_KERNELS_CPU_PARALLEL_FOR_H_
#define LIQUID_KERNELS_CPU_PARALLEL_FOR_H_

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace liquid {

// Calls fn(chunk) for chunk = 0 .. num_chunks-1, each once, in any order, on
// the OpenMP team, and waits for all. What a chunk is must follow from shapes
// alone, never from the number of threads: then so do the results. Libraries
// called inside (oneDNN) are told to use the calling thread only; hence even a
// single chunk runs in a parallel region.
template <typename Fn>
void ParallelFor(int64_t num_chunks, const Fn& fn) {
#pragma omp parallel
  {
    omp_set_num_threads(1);  // of regions inside this one; the caller's setting stays
#pragma omp for schedule(dynamic, 1)
    for (int64_t chunk = 0; chunk < num_chunks; ++chunk) fn(chunk);
  }
}

// Calls fn(begin, end) for consecutive ranges of `grain` items (the last may be
// shorter) that cover 0 .. count-1.
template <typename Fn>
void ParallelForRanges(int64_t count, int64_t grain, const Fn& fn) {
  ParallelFor((count + grain - 1) / grain, [&](int64_t chunk) {
    const int64_t begin = chunk * grain;
    fn(begin, std::min(count, begin + grain));
  });
}

// For scratch memory per thread: how many to make room for, and, inside, whose
// turn it is.
inline int64_t MaxThreads() { return omp_get_max_threads(); }
inline int64_t ThreadIndex() { return omp_get_thread_num(); }

}  // namespace liquid

#endif  // LIQUID_KERNELS_CPU_PARALLEL_FOR_H_
