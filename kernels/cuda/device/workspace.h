// Memory that kernels want beside their operands, by shape. Of this folder the one header that is
// compiled without CUDA too.
#ifndef LIQUID_KERNELS_CUDA_DEVICE_WORKSPACE_H_
#define LIQUID_KERNELS_CUDA_DEVICE_WORKSPACE_H_

#include <algorithm>
#include <cstdint>

namespace liquid::cuda {

// ---- Matrix products: cuBLASLt's, whatever the shape, in bytes.
inline constexpr int64_t kProductWorkspaceBytes = int64_t{32} << 20;

// ---- Norms
// A row is the work of a team of threads: half a warp for heads, a warp for narrow models, a block
// otherwise.
inline constexpr int64_t kNormThreads = 256;
inline int64_t NormTeam(int64_t width) {
  if (width <= 128) return 16;
  return width <= 1024 ? 32 : kNormThreads;
}
// Sums over rows: at most so many chunks, with so many rows of each team at least. A chunk's sums
// are written and read once more; so many blocks run at a time on the GPUs that we know, four on
// each of 128 multiprocessors, and more would only add to that.
inline constexpr int64_t kMostNormChunks = 512;
inline constexpr int64_t kLeastTeamRows = 4;
inline int64_t NormRowsOfChunk(int64_t rows, int64_t width) {
  const int64_t teams = kNormThreads / NormTeam(width);
  const int64_t most = kMostNormChunks * teams;
  return teams * std::max(kLeastTeamRows, (rows + most - 1) / most);
}
// Parts into which the sums over rows are cut.
inline int64_t NormChunks(int64_t rows, int64_t width) {
  const int64_t of_chunk = NormRowsOfChunk(rows, width);
  return (rows + of_chunk - 1) / of_chunk;
}

// ---- Sums over rows of a bias's gradient
inline constexpr int64_t kSumRows = 64;
inline constexpr int64_t NumSumRuns(int64_t rows) { return (rows + kSumRows - 1) / kSumRows; }

// ---- The gradient of an embedding: tokens are sorted by their ids.
inline constexpr int kSortDigits = 1 << 8;
inline constexpr int kSortTile = 256 * 8;  // tokens of a block
// Integers of int32.
inline constexpr int64_t EmbeddingBackwardWorkspace(int64_t tokens) {
  return 2 * tokens + (tokens + kSortTile - 1) / kSortTile * kSortDigits;
}

// ---- Short convolutions
// Gradients of weights are summed over chunks of so many tokens, then over the chunks in order.
inline constexpr int64_t kConvolutionChunk = 32;
inline constexpr int64_t NumConvolutionChunks(int64_t tokens) {
  return (tokens + kConvolutionChunk - 1) / kConvolutionChunk;
}

}  // namespace liquid::cuda

#endif  // LIQUID_KERNELS_CUDA_DEVICE_WORKSPACE_H_
