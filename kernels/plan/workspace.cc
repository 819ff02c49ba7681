#include "kernels/plan/workspace.h"

#include <omp.h>

#include <algorithm>

#include "kernels/cpu/attention_pack.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/product_tiles.h"
#include "kernels/cpu/row_sums.h"
#include "kernels/cpu/vocabulary_cut.h"
#include "kernels/cuda/device/workspace.h"
#include "kernels/cuda/loss_chunks.h"

namespace liquid {
namespace {

// ---- CPU: as kernels/cpu takes it, file by file.

void TakeForProduct(const WorkspaceRules& rules, const OpCall& call, TensorPool& scratch) {
  const auto [m, n, k, unused3, unused4, unused5, unused6] = call.extents;
  const bool converts = call.dtype == DType::kBF16 && !rules.has_bf16_products;
  const PooledTensor left = converts ? scratch.AllocateF32({m, k}) : PooledTensor();
  const PooledTensor right = converts ? scratch.AllocateF32({k, n}) : PooledTensor();
  const ProductTiles tiles(m, n);
  const bool is_float = call.dtype == DType::kF32 || converts;
  const bool packs = is_float && call.is_second && m >= ProductTiles::kLeastRowsToPack;
  const PooledTensor panels =
      packs ? scratch.AllocateF32({tiles.column_tiles, k, tiles.tile_columns}) : PooledTensor();
  const bool is_rounded = call.out_dtype == DType::kBF16;
  const PooledTensor sums =
      scratch.AllocateF32({rules.threads, is_rounded ? tiles.tile_size() : 0});
}

AttentionShape ShapeOf(const OpCall& call) {
  const auto [batch, queries, keys, heads, groups, width, window] = call.extents;
  const ConstTensorView q(nullptr, call.dtype, {batch, queries, heads, width});
  const ConstTensorView k(nullptr, call.dtype, {batch, keys, groups, width});
  return {q, k, k, AttentionOptions()};
}

void TakeForAttention(const WorkspaceRules& rules, const OpCall& call, TensorPool& scratch) {
  const AttentionShape shape = ShapeOf(call);
  const PooledTensor k = scratch.AllocateF32({shape.batch * shape.groups, shape.HeadFloats()});
  const PooledTensor v = scratch.AllocateF32({shape.batch * shape.groups, shape.HeadFloats()});
  const PooledTensor first = scratch.Allocate(DType::kI32, {shape.batch, shape.queries});
  const PooledTensor workspace =
      scratch.AllocateF32({rules.threads, AttentionWorkspace(shape.width)});
  if (call.kind == OpKind::kAttention) return;
  const int64_t tasks = shape.batch * shape.groups * shape.KeyGradientParts();
  const PooledTensor gradients = scratch.AllocateF32({2, tasks, shape.HeadFloats()});
}

void TakeForConvolution(const OpCall& call, TensorPool& scratch) {
  const auto [tokens, width, num_taps, unused3, unused4, unused5, unused6] = call.extents;
  const PooledTensor taps = scratch.AllocateF32({num_taps, width});
  if (call.kind == OpKind::kShortConvolution) return;
  const RowSums sums(scratch, tokens, num_taps * width);
  const PooledTensor total = scratch.AllocateF32({num_taps, width});
}

void TakeForLoss(const WorkspaceRules& rules, const OpCall& call, const VocabularyPart* part,
                 TensorPool& scratch) {
  const auto [tokens, width, vocabulary, unused3, unused4, unused5, unused6] = call.extents;
  const bool backward = call.kind == OpKind::kCrossEntropyWithGradient;
  const bool converts = call.dtype == DType::kBF16 && !rules.has_bf16_products;
  const DType type = converts ? DType::kF32 : call.dtype;
  const PooledTensor converted =
      converts ? scratch.AllocateF32({vocabulary, width}) : PooledTensor();
  const VocabularyCut cut(vocabulary, part == nullptr ? vocabulary : part->largest_part);
  const bool rounds = backward && type == DType::kBF16;
  constexpr int64_t kStride = VocabularyCut::kStride;
  const PooledTensor logits =
      scratch.AllocateF32({backward ? cut.blocks : rules.threads, cut.rows, kStride});
  const PooledTensor panels = scratch.AllocateF32({rules.threads, width, VocabularyCut::kPanel});
  const PooledTensor gathered = scratch.Allocate(type, {cut.rows, width});
  const PooledTensor targets = scratch.Allocate(DType::kI32, {cut.rows});
  const PooledTensor statistics = scratch.AllocateF32({2 * cut.blocks + 3, cut.rows});
  const bool finds_tops = call.is_second;
  const int64_t num_ends = finds_tops ? 4 : 2;
  const PooledTensor tops = scratch.Allocate(DType::kI32, {finds_tops ? cut.blocks : 0, cut.rows});
  const PooledTensor ends = scratch.Allocate(DType::kF64, {cut.rows, num_ends});
  const PooledTensor dx = scratch.AllocateF32({backward ? cut.groups : 0, cut.rows, width});
  const PooledTensor rounded =
      scratch.Allocate(type, {rounds ? rules.threads : 0, cut.rows, kStride});
  if (part == nullptr) return;
  for (int64_t first = 0; first < tokens; first += cut.rows) {
    const int64_t count = std::min(cut.rows, tokens - first);
    const PooledTensor all = scratch.Allocate(DType::kF64, {part->num_parts, cut.rows, num_ends});
    part->all_gather(TensorView(all.view().data, DType::kF64, {part->num_parts, count, num_ends}),
                     TensorView(ends.view().data, DType::kF64, {count, num_ends}));
  }
}

void TakeOnCpu(const WorkspaceRules& rules, const OpCall& call, const VocabularyPart* part,
               TensorPool& scratch) {
  const int64_t rows = call.extents[0];
  const int64_t width = call.extents[1];
  switch (call.kind) {
    case OpKind::kMatMul:
      return TakeForProduct(rules, call, scratch);
    case OpKind::kAddBiasBackward:
    case OpKind::kRmsNormBackward: {
      const RowSums sums(scratch, rows, width);
      return;
    }
    case OpKind::kLayerNormBackward: {
      const RowSums weight_sums(scratch, rows, width);
      const RowSums bias_sums(scratch, rows, width);
      return;
    }
    case OpKind::kAttention:
    case OpKind::kAttentionBackward:
      return TakeForAttention(rules, call, scratch);
    case OpKind::kShortConvolution:
    case OpKind::kShortConvolutionBackward:
      return TakeForConvolution(call, scratch);
    case OpKind::kCrossEntropy:
    case OpKind::kCrossEntropyWithGradient:
      return TakeForLoss(rules, call, part, scratch);
    default:
      return;
  }
}

// ---- CUDA: as kernels/cuda takes it.

void TakeForLossOnCuda(const OpCall& call, const VocabularyPart* part, TensorPool& scratch) {
  const auto [tokens, width, vocabulary, unused3, unused4, unused5, unused6] = call.extents;
  if (tokens == 0) return;
  const bool backward = call.kind == OpKind::kCrossEntropyWithGradient;
  const bool rounds = backward && call.dtype == DType::kBF16;
  const int num_parts = part == nullptr ? 1 : part->num_parts;
  const int64_t largest = part == nullptr ? vocabulary : std::max(vocabulary, part->largest_part);
  const int64_t most = std::min(tokens, RowsOfLossChunk(tokens, largest));
  const PooledTensor logits = scratch.AllocateF32({most, vocabulary});
  const PooledTensor rounded = scratch.Allocate(DType::kBF16, {rounds ? most : 0, vocabulary});
  const int64_t num_ends = call.is_second ? 4 : 2;
  const PooledTensor ends = scratch.Allocate(DType::kF64, {most, num_ends});
  const PooledTensor all =
      scratch.Allocate(DType::kF64, {part == nullptr ? 0 : num_parts, most, num_ends});
  const PooledTensor statistics = scratch.AllocateF32({3, most});
  for (int64_t first = 0; part != nullptr && first < tokens; first += most) {
    const int64_t count = std::min(most, tokens - first);
    part->all_gather(TensorView(all.view().data, DType::kF64, {num_parts, count, num_ends}),
                     TensorView(ends.view().data, DType::kF64, {count, num_ends}));
  }
}

void TakeOnCuda(const OpCall& call, const VocabularyPart* part, TensorPool& scratch) {
  const int64_t rows = call.extents[0];
  const int64_t width = call.extents[1];
  PooledTensor taken;
  switch (call.kind) {
    case OpKind::kAddBiasBackward:
      taken = scratch.AllocateF32({cuda::NumSumRuns(rows), width});
      return;
    case OpKind::kEmbeddingBackward:
      taken = scratch.Allocate(DType::kI32, {cuda::EmbeddingBackwardWorkspace(rows)});
      return;
    case OpKind::kRmsNormBackward:
      taken = scratch.AllocateF32({cuda::NormChunks(rows, width), width});
      return;
    case OpKind::kLayerNormBackward:
      taken = scratch.AllocateF32({2, cuda::NormChunks(rows, width), width});
      return;
    case OpKind::kAttentionBackward:
      taken = scratch.AllocateF32({call.extents[0], call.extents[3], call.extents[1]});
      return;
    case OpKind::kShortConvolutionBackward:
      taken = scratch.AllocateF32({cuda::NumConvolutionChunks(rows), call.extents[2], width});
      return;
    case OpKind::kCrossEntropy:
    case OpKind::kCrossEntropyWithGradient:
      return TakeForLossOnCuda(call, part, scratch);
    default:
      return;
  }
}

}  // namespace

WorkspaceRules RulesOfThisCpu() {
  return {.device = DeviceType::kCpu,
          .threads = omp_get_max_threads(),
          .has_bf16_products = HasBFloat16Products()};
}

void TakeWorkspace(const WorkspaceRules& rules, const OpCall& call, const VocabularyPart* part,
                   TensorPool& scratch) {
  if (rules.device == DeviceType::kCpu) return TakeOnCpu(rules, call, part, scratch);
  TakeOnCuda(call, part, scratch);
}

int64_t FixedWorkspaceBytes(const WorkspaceRules& rules) {
  return rules.device == DeviceType::kCuda ? cuda::kProductWorkspaceBytes : 0;
}

}  // namespace liquid
