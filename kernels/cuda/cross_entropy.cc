#include "kernels/cuda/device/cross_entropy.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/element_type.h"

namespace liquid {
namespace {

static_assert(cuda::kElsewhere == kElsewhere && cuda::kIgnoredTarget == kIgnoredTarget);

// Many rows in a chunk spare memory traffic: each chunk reads and writes all of dweight.
constexpr int64_t kMostLogits = int64_t{128} << 20;  // 512 MiB
constexpr int64_t kLeastRows = 128;
constexpr int64_t kMostRows = 8192;
constexpr int64_t kRowUnit = 128;  // what suits matrix products

int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Rows are cut into equal chunks. `largest_part`: of all ranks', so that their chunks are the same
// rows.
int64_t RowsOfChunk(int64_t rows, int64_t largest_part) {
  const int64_t most =
      std::clamp(kMostLogits / largest_part / kRowUnit * kRowUnit, kLeastRows, kMostRows);
  const int64_t chunks = CeilDivide(rows, most);
  return CeilDivide(CeilDivide(rows, chunks), kRowUnit) * kRowUnit;
}

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

void CudaOps::LinearCrossEntropy(TensorView nll, ConstTensorView x, ConstTensorView weight,
                                 const int32_t* targets, float cap, const VocabularyPart* part) {
  CrossEntropy(nll, TensorView(), TensorView(), x, weight, targets, cap, nullptr, part);
}

void CudaOps::LinearCrossEntropyWithGradient(TensorView nll, TensorView dx, TensorView dweight,
                                             ConstTensorView x, ConstTensorView weight,
                                             const int32_t* targets, float cap,
                                             const float* gradient_scale,
                                             const VocabularyPart* part) {
  LIQUID_CHECK(dx.NumElements() == x.NumElements() && dx.dtype == x.dtype &&
               dweight.NumElements() == weight.NumElements());
  CrossEntropy(nll, dx, dweight, x, weight, targets, cap, gradient_scale, part);
}

void CudaOps::CrossEntropy(const TensorView& nll, const TensorView& dx, const TensorView& dweight,
                           const ConstTensorView& x, const ConstTensorView& weight,
                           const int32_t* targets, float cap, const float* gradient_scale,
                           const VocabularyPart* part) {
  const int64_t rows = x.NumRows();
  LIQUID_CHECK(weight.shape.rank() == 2 && weight.shape[1] == x.shape.back() &&
               nll.NumElements() == rows);
  const cuda::Element element = ElementOf(x, weight);
  const bool backward = dx.data != nullptr;
  const bool rounds = backward && x.dtype == DType::kBF16;
  const int num_parts = part == nullptr ? 1 : part->num_parts;
  const int64_t vocabulary = weight.shape[0];
  if (rows == 0) return;
  const int64_t most = std::min(
      rows,
      RowsOfChunk(rows, part == nullptr ? vocabulary : std::max(vocabulary, part->largest_part)));
  const PooledTensor logits = scratch_.AllocateF32({most, vocabulary});
  const PooledTensor rounded = scratch_.Allocate(DType::kBF16, {rounds ? most : 0, vocabulary});
  const PooledTensor ends = scratch_.Allocate(DType::kF64, {most, 2});
  const PooledTensor all_ends =
      scratch_.Allocate(DType::kF64, {part == nullptr ? 0 : num_parts, most, 2});
  const PooledTensor statistics = scratch_.AllocateF32({2, most});
  float* const tops = statistics.view().f32();
  float* const factors = tops + most;
  for (int64_t first = 0; first < rows; first += most) {
    const int64_t count = std::min(most, rows - first);
    const ConstTensorView some_x = RowsOf(x, first, count);
    const TensorView some_logits = RowsOf(logits.view(), 0, count);
    const int32_t* some_targets = targets + first;
    MatMul(some_logits, some_x, weight, {.transpose_b = true});
    const TensorView mine = RowsOf(ends.view(), 0, count);
    Latch(
        cuda::FindRowEnds(stream_.native(), static_cast<double*>(mine.data), tops,
                          some_logits.f32(), some_targets, count, vocabulary, cap, part != nullptr),
        "LinearCrossEntropy");
    TensorView all = mine;
    if (part != nullptr) {
      all = TensorView(all_ends.view().data, DType::kF64, {num_parts, count, 2});
      part->all_gather(all, mine);
    }
    Latch(cuda::FinishRows(stream_.native(), nll.f32() + first, factors,
                           static_cast<const double*>(all.data), tops, some_targets, count,
                           num_parts, gradient_scale),
          "LinearCrossEntropy");
    if (!backward) continue;
    const TensorView gradients = rounds ? RowsOf(rounded.view(), 0, count) : some_logits;
    Latch(cuda::LogitGradients(stream_.native(), gradients.data, element, some_logits.f32(), tops,
                               factors, some_targets, count, vocabulary, cap, gradient_scale),
          "LinearCrossEntropyWithGradient");
    MatMul(RowsOf(dx, first, count), gradients, weight, {});
    MatMul(dweight, gradients, some_x, {.transpose_a = true, .accumulate = true});
  }
}

}  // namespace liquid
