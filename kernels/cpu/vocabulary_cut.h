// How the logits of the loss are cut on the CPU, and the memory that follows from it.
#ifndef LIQUID_KERNELS_CPU_VOCABULARY_CUT_H_
#define LIQUID_KERNELS_CPU_VOCABULARY_CUT_H_

#include <algorithm>
#include <cstdint>

namespace liquid {

// The logits of a chunk of scored rows lie block after block, [blocks,rows,kStride], so that a
// block is one piece of memory; all sizes follow from the vocabulary.
struct VocabularyCut {
  static constexpr int64_t kBlock = 512;   // columns of logits that are worked on together
  static constexpr int64_t kStride = 528;  // between rows of a block: a power of 2 would share
                                           // cache sets
  static constexpr int64_t kPanel = 256;   // rows of the weight that are transposed together
  static constexpr int64_t kGroups = 24;   // parts of the vocabulary, each with its own sum of dx
  static constexpr int64_t kMostRows = 1024;
  static constexpr int64_t kLeastRows = 64;
  static constexpr int64_t kMostLogits = int64_t{50} << 20;  // 200 MiB

  // `largest_part`: of all ranks', so that their chunks are the same rows.
  VocabularyCut(int64_t v, int64_t largest_part)
      : vocabulary(v),
        rows(std::clamp(kMostLogits / largest_part / 64 * 64, kLeastRows, kMostRows)),
        blocks((v + kBlock - 1) / kBlock),
        blocks_per_group((blocks + kGroups - 1) / kGroups),
        groups((blocks + blocks_per_group - 1) / blocks_per_group) {}

  int64_t Columns(int64_t block) const { return std::min(kBlock, vocabulary - block * kBlock); }

  int64_t vocabulary;
  int64_t rows;
  int64_t blocks;
  int64_t blocks_per_group;
  int64_t groups;
};

}  // namespace liquid

#endif  // LIQUID_KERNELS_CPU_VOCABULARY_CUT_H_
