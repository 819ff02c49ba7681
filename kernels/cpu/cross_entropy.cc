#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/cpu/sgemm.h"

namespace liquid {
namespace {

constexpr int64_t kBlock = 512;   // columns of logits that are worked on together
constexpr int64_t kStride = 528;  // between rows of a block: a power of 2 would share cache sets
constexpr int64_t kPanel = 256;   // rows of the weight that are transposed together
constexpr int64_t kGroups = 24;   // parts of the vocabulary, each with its own sum of dx
constexpr int64_t kMostRows = 1024;
constexpr int64_t kLeastRows = 64;
constexpr int64_t kMostLogits = int64_t{50} << 20;  // 200 MiB

// How the logits of a chunk of scored rows are cut. They lie block after block,
// [blocks,R,528], so that a block is one piece of memory; all sizes follow
// from the vocabulary.
struct Cut {
  // `largest_part`: of all ranks', so that their chunks are the same rows.
  Cut(int64_t v, int64_t largest_part)
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

// A chunk of scored rows.
struct Chunk {
  const float* x;          // [count,D], gathered
  const int32_t* targets;  // [count]
  int64_t count;
  int64_t width;
  float* logits;
  float* tops;    // [blocks,R]: maximum of each row in each block
  float* sums;    // [blocks,R]: sum of e^(logit - top)
  float* target;  // [R]: the target's logit
  float* lse;     // [R]
};

// Leaves e^(logit - top) in `terms`. `panel` is workspace for part of the weight's transpose, with
// which the product runs faster than with oneDNN's own packing.
void ComputeBlock(const Chunk& c, const Cut& cut, const float* weight, int64_t block, float* terms,
                  float* panel, const SimdLoops& loops) {
  const int64_t columns = cut.Columns(block);
  const int64_t first = block * kBlock;
  for (int64_t at = 0; at < columns; at += kPanel) {
    const int64_t count = std::min(kPanel, columns - at);
    loops.transpose(panel, kPanel, weight + (first + at) * c.width, c.width, count, c.width);
    Sgemm(terms + at, kStride, {c.x, c.width}, {panel, kPanel}, {c.count, count, c.width}, false);
  }
  for (int64_t r = 0; r < c.count; ++r) {
    float* row = terms + r * kStride;
    const int64_t at = c.targets[r] - first;
    if (at >= 0 && at < columns) c.target[r] = row[at];
    c.sums[block * cut.rows + r] = loops.softmax_terms(row, &c.tops[block * cut.rows + r], columns);
  }
}

// The blocks' sums in one, in the order of the blocks.
double LogSumExp(const Chunk& c, const Cut& cut, int64_t r) {
  float top = c.tops[r];
  for (int64_t block = 1; block < cut.blocks; ++block) {
    top = std::max(top, c.tops[block * cut.rows + r]);
  }
  double sum = 0;
  for (int64_t block = 0; block < cut.blocks; ++block) {
    const int64_t i = block * cut.rows + r;
    sum += double{c.sums[i]} * std::exp(double{c.tops[i]} - double{top});
  }
  return double{top} + std::log(sum);
}

// Turns a group's terms into gradients, block by block while they are in
// cache, adds them into dweight and leaves in dx [count,D] the group's share of
// the gradient of x.
void GroupBackward(const Chunk& c, const Cut& cut, const float* weight, int64_t group, float scale,
                   float* dx, float* dweight, const SimdLoops& loops) {
  const int64_t begin = group * cut.blocks_per_group;
  const int64_t end = std::min(cut.blocks, begin + cut.blocks_per_group);
  for (int64_t block = begin; block < end; ++block) {
    float* logits = c.logits + block * cut.rows * kStride;
    const int64_t columns = cut.Columns(block);
    const int64_t first = block * kBlock;
    for (int64_t r = 0; r < c.count; ++r) {
      float* row = logits + r * kStride;
      const float factor = scale * std::exp(c.tops[block * cut.rows + r] - c.lse[r]);
      loops.scale(row, row, factor, columns);
      const int64_t at = c.targets[r] - first;
      if (at >= 0 && at < columns) row[at] -= scale;
    }
    Sgemm(dweight + first * c.width, c.width, {logits, kStride, true}, {c.x, c.width},
          {columns, c.width, c.count}, true);
    Sgemm(dx, c.width, {logits, kStride}, {weight + first * c.width, c.width},
          {c.count, c.width, columns}, block > begin);
  }
}

// Replaces each row's log-sum-exp and target logit, [R,2], by those of the whole vocabulary.
void CombineParts(const VocabularyPart& part, const TensorView& mine, TensorPool& scratch) {
  const int64_t rows = mine.shape[0];
  const PooledTensor all = scratch.Allocate(DType::kF64, {part.num_parts, rows, 2});
  part.all_gather(all.view(), mine);
  const auto* parts = static_cast<const double*>(all.view().data);
  auto* total = static_cast<double*>(mine.data);
  for (int64_t r = 0; r < rows; ++r) {
    double top = parts[2 * r];
    for (int p = 1; p < part.num_parts; ++p) top = std::max(top, parts[2 * (p * rows + r)]);
    double sum = 0;
    double target = 0;
    for (int p = 0; p < part.num_parts; ++p) {
      sum += std::exp(parts[2 * (p * rows + r)] - top);
      target += parts[2 * (p * rows + r) + 1];
    }
    total[2 * r] = top + std::log(sum);
    total[2 * r + 1] = target;
  }
}

std::vector<int64_t> ScoredRows(const int32_t* targets, int64_t rows, int64_t vocabulary,
                                bool is_part) {
  std::vector<int64_t> scored;
  scored.reserve(static_cast<size_t>(rows));
  const int32_t least = is_part ? kElsewhere : 0;
  for (int64_t n = 0; n < rows; ++n) {
    if (targets[n] == kIgnoredTarget) continue;
    LIQUID_CHECK(targets[n] >= least && targets[n] < vocabulary, "target ", targets[n], " of ",
                 vocabulary);
    scored.push_back(n);
  }
  return scored;
}

}  // namespace

void CpuOps::LinearCrossEntropy(TensorView nll, ConstTensorView x, ConstTensorView weight,
                                const int32_t* targets, const VocabularyPart* part) {
  CrossEntropy(nll, TensorView(), TensorView(), x, weight, targets, 1.0f, part);
}

void CpuOps::LinearCrossEntropyWithGradient(TensorView nll, TensorView dx, TensorView dweight,
                                            ConstTensorView x, ConstTensorView weight,
                                            const int32_t* targets, float gradient_scale,
                                            const VocabularyPart* part) {
  LIQUID_CHECK(dx.NumElements() == x.NumElements() &&
               dweight.NumElements() == weight.NumElements());
  Fill(dx, 0.0f);
  CrossEntropy(nll, dx, dweight, x, weight, targets, gradient_scale, part);
}

// dx and dweight without data: the loss alone.
void CpuOps::CrossEntropy(TensorView nll, TensorView dx, TensorView dweight, ConstTensorView x,
                          ConstTensorView weight, const int32_t* targets, float gradient_scale,
                          const VocabularyPart* part) {
  const int64_t width = x.shape.back();
  LIQUID_CHECK(weight.shape.rank() == 2 && weight.shape[1] == width &&
               nll.NumElements() == x.NumRows());
  const Cut cut(weight.shape[0], part == nullptr ? weight.shape[0] : part->largest_part);
  Fill(nll, 0.0f);
  const std::vector<int64_t> scored =
      ScoredRows(targets, x.NumRows(), cut.vocabulary, part != nullptr);
  const bool backward = dx.data != nullptr;
  const int64_t stored_blocks = backward ? cut.blocks : MaxThreads();
  const PooledTensor logits = scratch_.AllocateF32({stored_blocks, cut.rows, kStride});
  const PooledTensor panels = scratch_.AllocateF32({MaxThreads(), width, kPanel});
  const PooledTensor gathered = scratch_.AllocateF32({cut.rows, width});
  const PooledTensor chunk_targets = scratch_.Allocate(DType::kI32, {cut.rows});
  const PooledTensor row_statistics = scratch_.AllocateF32({2 * cut.blocks + 2, cut.rows});
  const PooledTensor ends = scratch_.Allocate(DType::kF64, {cut.rows, 2});  // lse, target's logit
  const PooledTensor dx_parts = scratch_.AllocateF32({backward ? cut.groups : 0, cut.rows, width});
  float* statistics = row_statistics.view().f32();
  auto* target_ids = static_cast<int32_t*>(chunk_targets.view().data);
  const int64_t num_scored = static_cast<int64_t>(scored.size());
  for (int64_t first = 0; first < num_scored; first += cut.rows) {
    const int64_t* row_ids = scored.data() + first;
    const Chunk c = {.x = gathered.view().f32(),
                     .targets = target_ids,
                     .count = std::min(cut.rows, num_scored - first),
                     .width = width,
                     .logits = logits.view().f32(),
                     .tops = statistics,
                     .sums = statistics + cut.blocks * cut.rows,
                     .target = statistics + 2 * cut.blocks * cut.rows,
                     .lse = statistics + (2 * cut.blocks + 1) * cut.rows};
    ParallelForRanges(c.count, 32, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        std::copy_n(x.f32() + row_ids[r] * width, width, gathered.view().f32() + r * width);
        target_ids[r] = targets[row_ids[r]];
        c.target[r] = 0;
      }
    });
    ParallelFor(cut.blocks, [&](int64_t block) {
      const int64_t slot = backward ? block : ThreadIndex();
      ComputeBlock(c, cut, weight.f32(), block, c.logits + slot * cut.rows * kStride,
                   panels.view().f32() + ThreadIndex() * width * kPanel, loops_);
    });
    const TensorView row_ends(ends.view().data, DType::kF64, {c.count, 2});
    auto* lse_and_target = static_cast<double*>(row_ends.data);
    ParallelForRanges(c.count, 32, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        lse_and_target[2 * r] = LogSumExp(c, cut, r);
        lse_and_target[2 * r + 1] = double{c.target[r]};
      }
    });
    if (part != nullptr) CombineParts(*part, row_ends, scratch_);
    for (int64_t r = 0; r < c.count; ++r) {
      c.lse[r] = static_cast<float>(lse_and_target[2 * r]);
      nll.f32()[row_ids[r]] = static_cast<float>(lse_and_target[2 * r] - lse_and_target[2 * r + 1]);
    }
    if (!backward) continue;
    const float* parts = dx_parts.view().f32();
    ParallelFor(cut.groups, [&](int64_t group) {
      GroupBackward(c, cut, weight.f32(), group, gradient_scale,
                    dx_parts.view().f32() + group * cut.rows * width, dweight.f32(), loops_);
    });
    ParallelForRanges(c.count, 16, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        loops_.sum_rows(dx.f32() + row_ids[r] * width, parts + r * width, cut.groups, width,
                        cut.rows * width);
      }
    });
  }
}

}  // namespace liquid
