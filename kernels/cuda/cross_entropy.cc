#include "kernels/cuda/device/cross_entropy.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/element_type.h"
#include "kernels/cuda/loss_chunks.h"

namespace liquid {
namespace {

static_assert(cuda::kElsewhere == kElsewhere && cuda::kIgnoredTarget == kIgnoredTarget);

// Rows [first, first + count) of a matrix.
ConstTensorView RowsOf(const ConstTensorView& matrix, int64_t first, int64_t count) {
  const int64_t width = matrix.shape.back();
  return {static_cast<const std::byte*>(matrix.data) + first * width * SizeOf(matrix.dtype),
          matrix.dtype,
          {count, width}};
}
TensorView RowsOf(const TensorView& matrix, int64_t first, int64_t count) {
  const int64_t width = matrix.shape.back();
  return {static_cast<std::byte*>(matrix.data) + first * width * SizeOf(matrix.dtype),
          matrix.dtype,
          {count, width}};
}

}  // namespace

void CudaOps::LinearCrossEntropy(TensorView nll, int32_t* correct, ConstTensorView x,
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

void CudaOps::LinearCrossEntropyWithGradient(TensorView nll, TensorView dx, TensorView dweight,
                                             ConstTensorView x, ConstTensorView weight,
                                             const int32_t* targets, const float* token_weights,
                                             float cap, const float* gradient_scale,
                                             const VocabularyPart* part) {
  LIQUID_CHECK(dx.NumElements() == x.NumElements() && dx.dtype == x.dtype &&
               (dweight.data == nullptr || dweight.NumElements() == weight.NumElements()));
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

void CudaOps::CrossEntropy(const CrossEntropyCall& call) {
  const int64_t rows = call.x.NumRows();
  const int64_t vocabulary = call.weight.shape[0];
  const VocabularyPart* const part = call.part;
  LIQUID_CHECK(call.weight.shape.rank() == 2 && call.weight.shape[1] == call.x.shape.back() &&
               call.nll.NumElements() == rows);
  const cuda::Element element = ElementOf(call.x, call.weight);
  const bool backward = call.dx.data != nullptr;
  const bool rounds = backward && call.x.dtype == DType::kBF16;
  const bool find_top = call.correct != nullptr;
  const int num_parts = part == nullptr ? 1 : part->num_parts;
  const int64_t num_ends = find_top ? 4 : 2;
  if (rows == 0) return;
  const int64_t most = std::min(
      rows, RowsOfLossChunk(
                rows, part == nullptr ? vocabulary : std::max(vocabulary, part->largest_part)));
  const PooledTensor logits = scratch_.AllocateF32({most, vocabulary});
  const PooledTensor rounded = scratch_.Allocate(DType::kBF16, {rounds ? most : 0, vocabulary});
  const PooledTensor ends = scratch_.Allocate(DType::kF64, {most, num_ends});
  const PooledTensor all_ends =
      scratch_.Allocate(DType::kF64, {part == nullptr ? 0 : num_parts, most, num_ends});
  const PooledTensor statistics = scratch_.AllocateF32({3, most});
  float* const tops = statistics.view().f32();
  float* const factors = tops + most;
  float* const scales = factors + most;
  for (int64_t first = 0; first < rows; first += most) {
    const int64_t count = std::min(most, rows - first);
    const ConstTensorView some_x = RowsOf(call.x, first, count);
    const TensorView some_logits = RowsOf(logits.view(), 0, count);
    const int32_t* some_targets = call.targets + first;
    MatMul(some_logits, some_x, call.weight, {.transpose_b = true});
    const TensorView mine = RowsOf(ends.view(), 0, count);
    Latch(cuda::FindRowEnds(stream_.native(), static_cast<double*>(mine.data), tops,
                            some_logits.f32(), some_targets, count, vocabulary, call.cap,
                            part != nullptr, find_top),
          "LinearCrossEntropy");
    TensorView all = mine;
    if (part != nullptr) {
      all = TensorView(all_ends.view().data, DType::kF64, {num_parts, count, num_ends});
      part->all_gather(all, mine);
    }
    Latch(cuda::FinishRows(stream_.native(), call.nll.f32() + first, scales, factors,
                           find_top ? call.correct + first : nullptr,
                           static_cast<const double*>(all.data), tops, some_targets,
                           call.token_weights == nullptr ? nullptr : call.token_weights + first,
                           count, num_parts, call.gradient_scale),
          "LinearCrossEntropy");
    if (!backward) continue;
    const TensorView gradients = rounds ? RowsOf(rounded.view(), 0, count) : some_logits;
    Latch(cuda::LogitGradients(stream_.native(), gradients.data, element, some_logits.f32(), tops,
                               scales, factors, some_targets, count, vocabulary, call.cap),
          "LinearCrossEntropyWithGradient");
    MatMul(RowsOf(call.dx, first, count), gradients, call.weight, {});
    if (call.dweight.data == nullptr) continue;
    MatMul(call.dweight, gradients, some_x, {.transpose_a = true, .accumulate = true});
  }
}

}  // namespace liquid
