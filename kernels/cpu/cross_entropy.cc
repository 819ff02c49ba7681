#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/element_type.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/cpu/vocabulary_cut.h"

namespace liquid {
namespace {

using Cut = VocabularyCut;
constexpr int64_t kBlock = Cut::kBlock;
constexpr int64_t kStride = Cut::kStride;
constexpr int64_t kPanel = Cut::kPanel;

// A chunk of scored rows. T: what is multiplied, float or BFloat16.
template <typename T>
struct Chunk {
  const T* x;              // [count,D], gathered
  const int32_t* targets;  // [count]
  int64_t count;
  int64_t width;
  float cap;  // of logits; 0: none
  float* logits;
  float* tops;    // [blocks,R]: maximum of each row in each block
  float* sums;    // [blocks,R]: sum of e^(logit - top)
  float* target;  // [R]: the target's logit
  float* lse;     // [R]
  float* scales;  // [R]: of the gradient of each row's loss
  // [blocks,R]: the first column of each row in each block with its top; null: not wanted.
  int32_t* top_columns;
};

// terms = x times the rows of `weight` [columns,D]. `panel` is workspace for part of the weight's
// transpose, with which the product runs faster than with oneDNN's own packing.
void ComputeLogits(const Chunk<float>& c, const float* weight, int64_t columns, float* terms,
                   float* panel, const SimdLoops& loops) {
  for (int64_t at = 0; at < columns; at += kPanel) {
    const int64_t count = std::min(kPanel, columns - at);
    loops.transpose(panel, kPanel, weight + at * c.width, c.width, count, c.width);
    Gemm(terms + at, kStride, Operand<float>{c.x, c.width}, {panel, kPanel},
         {c.count, count, c.width}, false);
  }
}
void ComputeLogits(const Chunk<BFloat16>& c, const BFloat16* weight, int64_t columns, float* terms,
                   float* /*panel*/, const SimdLoops& /*loops*/) {
  Gemm(terms, kStride, Operand<BFloat16>{c.x, c.width}, {weight, c.width, /*transposed=*/true},
       {c.count, columns, c.width}, false);
}

// Leaves e^(logit - top) in `terms`; capped logits as they are, of which the slope is still needed.
template <typename T>
void ComputeBlock(const Chunk<T>& c, const Cut& cut, const T* weight, int64_t block, float* terms,
                  float* panel, const SimdLoops& loops) {
  const int64_t columns = cut.Columns(block);
  const int64_t first = block * kBlock;
  ComputeLogits(c, weight + first * c.width, columns, terms, panel, loops);
  for (int64_t r = 0; r < c.count; ++r) {
    float* row = terms + r * kStride;
    if (c.cap > 0) loops.soft_cap(row, c.cap, columns);
    const int64_t at = c.targets[r] - first;
    if (at >= 0 && at < columns) c.target[r] = row[at];
    float copy[kBlock];
    const float* const logits = row;
    if (c.cap > 0 || c.top_columns != nullptr) row = std::copy_n(row, columns, copy) - columns;
    float* const top = &c.tops[block * cut.rows + r];
    c.sums[block * cut.rows + r] = loops.softmax_terms(row, top, columns);
    if (c.top_columns == nullptr) continue;
    c.top_columns[block * cut.rows + r] =
        static_cast<int32_t>(first + (std::find(logits, logits + columns, *top) - logits));
  }
}

// The blocks' sums in one, in the order of the blocks.
template <typename T>
double LogSumExp(const Chunk<T>& c, const Cut& cut, int64_t r) {
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

// What ranks tell each other of a row: its log-sum-exp and its target's logit; then, where it is
// wanted whether the target is the most likely one, the largest logit and whether it is the
// target's (1 or 0).
constexpr int64_t kEnds = 2;
constexpr int64_t kEndsWithTop = 4;

// Columns `end` [2] of a row, from all its blocks.
template <typename T>
void FindTop(const Chunk<T>& c, const Cut& cut, int64_t r, double* end) {
  int64_t best = r;
  for (int64_t block = 1; block < cut.blocks; ++block) {
    const int64_t i = block * cut.rows + r;
    if (c.tops[i] > c.tops[best]) best = i;
  }
  end[0] = double{c.tops[best]};
  end[1] = c.top_columns[best] == c.targets[r] ? 1.0 : 0.0;
}

// ends [count,2 or 4], as above.
template <typename T>
void FindEnds(const Chunk<T>& c, const Cut& cut, const TensorView& ends) {
  const int64_t width = ends.shape[1];
  auto* const all = static_cast<double*>(ends.data);
  ParallelForRanges(c.count, 32, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      double* const of_row = all + width * r;
      of_row[0] = LogSumExp(c, cut, r);
      of_row[1] = double{c.target[r]};
      if (width == kEndsWithTop) FindTop(c, cut, r, of_row + kEnds);
    }
  });
}

// The gradient of the logit of row r's target, of whose probability, times `scale` and the cap's
// slope, `probability` is this.
template <typename T>
float TargetGradient(const Chunk<T>& c, int64_t r, float scale, float probability) {
  if (c.cap == 0) return probability - scale;
  const float part = c.target[r] / c.cap;
  return scale * (std::exp(c.target[r] - c.lse[r]) - 1.0f) * (1.0f - part * part);
}

// What the terms of row r in a block are to be multiplied by to be probabilities times `scale` and
// the cap's slope. Capped logits become all of that here.
template <typename T>
float FactorOf(const Chunk<T>& c, const Cut& cut, int64_t block, int64_t r, float scale, float* row,
               const SimdLoops& loops) {
  if (c.cap == 0) return scale * std::exp(c.tops[block * cut.rows + r] - c.lse[r]);
  loops.capped_gradients(row, c.lse[r], scale, c.cap, cut.Columns(block));
  return 1.0f;
}

// A block's terms become gradients of its logits: in place as floats, otherwise rounded in
// `rounded`. Where they are then.
float* LogitGradients(const Chunk<float>& c, const Cut& cut, int64_t block, float* terms,
                      float* /*rounded*/, const SimdLoops& loops) {
  for (int64_t r = 0; r < c.count; ++r) {
    float* row = terms + r * kStride;
    const float scale = c.scales[r];
    const float factor = FactorOf(c, cut, block, r, scale, row, loops);
    loops.over_f32.scale(row, row, factor, cut.Columns(block));
    const int64_t at = c.targets[r] - block * kBlock;
    if (at >= 0 && at < cut.Columns(block)) {
      row[at] = TargetGradient(c, r, scale, row[at]);
    }
  }
  return terms;
}
BFloat16* LogitGradients(const Chunk<BFloat16>& c, const Cut& cut, int64_t block, float* terms,
                         BFloat16* rounded, const SimdLoops& loops) {
  for (int64_t r = 0; r < c.count; ++r) {
    float* row = terms + r * kStride;
    const float scale = c.scales[r];
    const float factor = FactorOf(c, cut, block, r, scale, row, loops);
    loops.over_bf16.write(rounded + r * kStride, row, factor, cut.Columns(block));
    const int64_t at = c.targets[r] - block * kBlock;
    if (at >= 0 && at < cut.Columns(block)) {
      rounded[r * kStride + at] = ToBFloat16(TargetGradient(c, r, scale, row[at] * factor));
    }
  }
  return rounded;
}

// Turns a group's terms into gradients, block by block while they are in
// cache, adds them into dweight, unless it is null, and leaves in dx [count,D] the group's share of
// the gradient of x. `rounded` is workspace of a block.
template <typename T>
void GroupBackward(const Chunk<T>& c, const Cut& cut, const T* weight, int64_t group, float* dx,
                   float* dweight, T* rounded, const SimdLoops& loops) {
  const int64_t begin = group * cut.blocks_per_group;
  const int64_t end = std::min(cut.blocks, begin + cut.blocks_per_group);
  for (int64_t block = begin; block < end; ++block) {
    const int64_t columns = cut.Columns(block);
    const int64_t first = block * kBlock * c.width;
    const T* gradients =
        LogitGradients(c, cut, block, c.logits + block * cut.rows * kStride, rounded, loops);
    if (dweight != nullptr) {
      Gemm(dweight + first, c.width, Operand<T>{gradients, kStride, true}, {c.x, c.width},
           {columns, c.width, c.count}, true);
    }
    Gemm(dx, c.width, Operand<T>{gradients, kStride}, {weight + first, c.width},
         {c.count, c.width, columns}, block > begin);
  }
}

// Replaces each row's ends by those of the whole vocabulary. There are at most most_rows: memory is
// that of the most, so that it does not depend on how many are scored.
void CombineParts(const VocabularyPart& part, const TensorView& mine, int64_t most_rows,
                  TensorPool& scratch) {
  const int64_t rows = mine.shape[0];
  const int64_t width = mine.shape[1];
  const PooledTensor memory = scratch.Allocate(DType::kF64, {part.num_parts, most_rows, width});
  const TensorView all(memory.view().data, DType::kF64, {part.num_parts, rows, width});
  part.all_gather(all, mine);
  const auto* parts = static_cast<const double*>(all.data);
  auto* total = static_cast<double*>(mine.data);
  for (int64_t r = 0; r < rows; ++r) {
    const auto of_part = [&](int p) { return parts + width * (p * rows + r); };
    double top = of_part(0)[0];
    for (int p = 1; p < part.num_parts; ++p) top = std::max(top, of_part(p)[0]);
    double sum = 0;
    double target = 0;
    int likeliest = 0;  // the part with the largest logit; of equal ones, the first
    for (int p = 0; p < part.num_parts; ++p) {
      sum += std::exp(of_part(p)[0] - top);
      target += of_part(p)[1];
      if (width == kEndsWithTop && of_part(p)[2] > of_part(likeliest)[2]) likeliest = p;
    }
    total[width * r] = top + std::log(sum);
    total[width * r + 1] = target;
    if (width == kEndsWithTop) std::copy_n(of_part(likeliest) + kEnds, 2, total + width * r + 2);
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

void CpuOps::LinearCrossEntropy(TensorView nll, int32_t* correct, ConstTensorView x,
                                ConstTensorView weight, const int32_t* targets, float cap,
                                const VocabularyPart* part) {
  CrossEntropy({.nll = nll,
                .correct = correct,
                .x = x,
                .weight = weight,
                .targets = targets,
                .cap = cap,
                .part = part});
}

void CpuOps::LinearCrossEntropyWithGradient(TensorView nll, TensorView dx, TensorView dweight,
                                            ConstTensorView x, ConstTensorView weight,
                                            const int32_t* targets, const float* token_weights,
                                            float cap, const float* gradient_scale,
                                            const VocabularyPart* part) {
  LIQUID_CHECK(dx.NumElements() == x.NumElements() &&
               (dweight.data == nullptr || dweight.NumElements() == weight.NumElements()));
  Fill(dx, 0.0f);
  CrossEntropy({.nll = nll,
                .dx = dx,
                .dweight = dweight,
                .x = x,
                .weight = weight,
                .targets = targets,
                .token_weights = token_weights,
                .cap = cap,
                .gradient_scale = gradient_scale,
                .part = part});
}

void CpuOps::CrossEntropy(const CrossEntropyCall& call) {
  const ConstTensorView& x = call.x;
  const ConstTensorView& weight = call.weight;
  LIQUID_CHECK(weight.shape.rank() == 2 && weight.shape[1] == x.shape.back() &&
               call.nll.NumElements() == x.NumRows() && weight.dtype == x.dtype);
  if (x.dtype == DType::kF32) {
    CrossEntropyBy<float>(call);
  } else if (has_bf16_products_) {
    CrossEntropyBy<BFloat16>(call);
  } else {
    const PooledTensor converted = scratch_.AllocateF32(weight.shape);
    Copy(converted.view(), weight);
    CrossEntropyCall wide = call;
    wide.weight = converted.view();
    CrossEntropyBy<float>(wide);
  }
}

namespace {

// Gathers the chunk's rows of `x` and what belongs to them.
template <typename T>
void Gather(T* gathered, int32_t* gathered_targets, const Chunk<T>& c, const ConstTensorView& x,
            const int32_t* targets, const int64_t* row_ids, const SimdLoops& loops) {
  ParallelForRanges(c.count, 32, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      T* to = gathered + r * c.width;
      if constexpr (std::is_same_v<T, BFloat16>) {
        std::copy_n(DataOf<T>(x) + row_ids[r] * c.width, c.width, to);
      } else {
        WithElementType(x.dtype, [&](auto type) {
          loops.Over(type).read(to, DataOf<decltype(type)>(x) + row_ids[r] * c.width, c.width);
        });
      }
      gathered_targets[r] = targets[row_ids[r]];
      c.target[r] = 0;
    }
  });
}

// Adds up the groups' shares of the gradient of x, where the first one's are, and stores them.
void StoreRows(const TensorView& dx, const int64_t* row_ids, int64_t count, float* parts,
               const Cut& cut, const SimdLoops& loops) {
  const int64_t width = dx.shape.back();
  ParallelForRanges(count, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      float* sum = parts + r * width;
      loops.over_f32.sum_rows(sum, sum, cut.groups, width, cut.rows * width);
      WithElementType(dx.dtype, [&](auto type) {
        loops.Over(type).write(DataOf<decltype(type)>(dx) + row_ids[r] * width, sum, 1.0f, width);
      });
    }
  });
}

}  // namespace

template <typename T>
void CpuOps::CrossEntropyBy(const CrossEntropyCall& call) {
  const VocabularyPart* const part = call.part;
  const int64_t width = call.x.shape.back();
  const Cut cut(call.weight.shape[0], part == nullptr ? call.weight.shape[0] : part->largest_part);
  const int64_t num_ends = call.correct == nullptr ? kEnds : kEndsWithTop;
  Fill(call.nll, 0.0f);
  if (call.correct != nullptr) std::fill_n(call.correct, call.x.NumRows(), 0);
  const std::vector<int64_t> scored =
      ScoredRows(call.targets, call.x.NumRows(), cut.vocabulary, part != nullptr);
  const bool backward = call.dx.data != nullptr;
  const bool rounds = backward && std::is_same_v<T, BFloat16>;
  const int64_t stored_blocks = backward ? cut.blocks : MaxThreads();
  const PooledTensor logits = scratch_.AllocateF32({stored_blocks, cut.rows, kStride});
  const PooledTensor panels = scratch_.AllocateF32({MaxThreads(), width, kPanel});
  const PooledTensor gathered = scratch_.Allocate(kDTypeOf<T>, {cut.rows, width});
  const PooledTensor chunk_targets = scratch_.Allocate(DType::kI32, {cut.rows});
  const PooledTensor row_statistics = scratch_.AllocateF32({2 * cut.blocks + 3, cut.rows});
  const PooledTensor top_columns =
      scratch_.Allocate(DType::kI32, {call.correct == nullptr ? 0 : cut.blocks, cut.rows});
  const PooledTensor ends = scratch_.Allocate(DType::kF64, {cut.rows, num_ends});
  const PooledTensor dx_parts = scratch_.AllocateF32({backward ? cut.groups : 0, cut.rows, width});
  const PooledTensor rounded =
      scratch_.Allocate(kDTypeOf<T>, {rounds ? MaxThreads() : 0, cut.rows, kStride});
  float* const statistics = row_statistics.view().f32();
  float* const of_rows = statistics + 2 * cut.blocks * cut.rows;
  const T* weights = DataOf<T>(call.weight);
  const auto num_scored = static_cast<int64_t>(scored.size());
  for (int64_t first = 0; first < num_scored; first += cut.rows) {
    const int64_t* row_ids = scored.data() + first;
    auto* target_ids = static_cast<int32_t*>(chunk_targets.view().data);
    const Chunk<T> c = {.x = DataOf<T>(gathered.view()),
                        .targets = target_ids,
                        .count = std::min(cut.rows, num_scored - first),
                        .width = width,
                        .cap = call.cap,
                        .logits = logits.view().f32(),
                        .tops = statistics,
                        .sums = statistics + cut.blocks * cut.rows,
                        .target = of_rows,
                        .lse = of_rows + cut.rows,
                        .scales = of_rows + 2 * cut.rows,
                        .top_columns = call.correct == nullptr
                                           ? nullptr
                                           : static_cast<int32_t*>(top_columns.view().data)};
    Gather(DataOf<T>(gathered.view()), target_ids, c, call.x, call.targets, row_ids, loops_);
    ParallelFor(cut.blocks, [&](int64_t block) {
      const int64_t slot = backward ? block : ThreadIndex();
      ComputeBlock(c, cut, weights, block, c.logits + slot * cut.rows * kStride,
                   panels.view().f32() + ThreadIndex() * width * kPanel, loops_);
    });
    const TensorView row_ends(ends.view().data, DType::kF64, {c.count, num_ends});
    FindEnds(c, cut, row_ends);
    if (part != nullptr) CombineParts(*part, row_ends, cut.rows, scratch_);
    FinishRows(call, row_ends, row_ids, c.lse, c.scales);
    if (!backward) continue;
    ParallelFor(cut.groups, [&](int64_t group) {
      GroupBackward(c, cut, weights, group, dx_parts.view().f32() + group * cut.rows * width,
                    call.dweight.data == nullptr ? nullptr : call.dweight.f32(),
                    DataOf<T>(rounded.view()) + (rounds ? ThreadIndex() * cut.rows * kStride : 0),
                    loops_);
    });
    StoreRows(call.dx, row_ids, c.count, dx_parts.view().f32(), cut, loops_);
  }
}

void CpuOps::FinishRows(const CrossEntropyCall& call, const TensorView& ends,
                        const int64_t* row_ids, float* lse, float* scales) {
  const int64_t width = ends.shape[1];
  for (int64_t r = 0; r < ends.shape[0]; ++r) {
    const double* const of_row = static_cast<const double*>(ends.data) + width * r;
    const int64_t n = row_ids[r];
    lse[r] = static_cast<float>(of_row[0]);
    call.nll.f32()[n] = static_cast<float>(of_row[0] - of_row[1]);
    scales[r] = call.gradient_scale == nullptr ? 1.0f : *call.gradient_scale;
    if (call.token_weights != nullptr) scales[r] *= call.token_weights[n];
    if (width == kEndsWithTop) call.correct[n] = of_row[3] == 1.0 ? 1 : 0;
  }
}

}  // namespace liquid
