// How the rows of the loss are cut on GPUs, and the memory that follows from it.
#ifndef LIQUID_KERNELS_CUDA_LOSS_CHUNKS_H_
#define LIQUID_KERNELS_CUDA_LOSS_CHUNKS_H_

#include <algorithm>
#include <cstdint>

namespace liquid {

// Rows are cut into equal chunks, of which there are so many rows in each at most: many spare
// memory traffic, since each chunk reads and writes all of dweight. `largest_part`: of all ranks'
// parts of the vocabulary, so that their chunks are the same rows.
inline int64_t RowsOfLossChunk(int64_t rows, int64_t largest_part) {
  constexpr int64_t kMostLogits = int64_t{128} << 20;  // 512 MiB
  constexpr int64_t kLeastRows = 128;
  constexpr int64_t kMostRows = 8192;
  constexpr int64_t kRowUnit = 128;  // what suits matrix products
  const int64_t most =
      std::clamp(kMostLogits / largest_part / kRowUnit * kRowUnit, kLeastRows, kMostRows);
  const int64_t chunks = (rows + most - 1) / most;
  const int64_t equal = (rows + chunks - 1) / chunks;
  return (equal + kRowUnit - 1) / kRowUnit * kRowUnit;
}

}  // namespace liquid

#endif  // LIQUID_KERNELS_CUDA_LOSS_CHUNKS_H_
