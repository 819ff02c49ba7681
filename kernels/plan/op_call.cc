#include "kernels/plan/op_call.h"

#include <algorithm>

namespace liquid {
namespace {

constexpr std::array<const char*, kNumOpKinds> kNames = {"MatMul",
                                                         "AddBias",
                                                         "AddBiasBackward",
                                                         "Fill",
                                                         "Copy",
                                                         "Add",
                                                         "Scale",
                                                         "Embedding",
                                                         "EmbeddingBackward",
                                                         "RmsNorm",
                                                         "RmsNormBackward",
                                                         "LayerNorm",
                                                         "LayerNormBackward",
                                                         "Rotary",
                                                         "Attention",
                                                         "AttentionBackward",
                                                         "Activate",
                                                         "ActivateBackward",
                                                         "GatedActivate",
                                                         "GatedActivateBackward",
                                                         "ShortConvolution",
                                                         "ShortConvolutionBackward",
                                                         "LinearCrossEntropy",
                                                         "LinearCrossEntropyWithGradient",
                                                         "Dropout",
                                                         "AddNoise",
                                                         "Accumulate",
                                                         "SumOfSquares",
                                                         "AdamW"};

// Queries and keys that they see, of one row and head.
double PairsOf(int64_t queries, int64_t window) {
  const auto length = static_cast<double>(queries);
  if (window <= 0 || window >= queries) return length * (length + 1) / 2;
  const auto seen = static_cast<double>(window);
  return seen * (seen + 1) / 2 + (length - seen) * seen;
}

OpCost CostOfAttention(const OpCall& call, double size) {
  const auto [batch, queries, keys, heads, groups, width, window] = call.extents;
  const auto rows = static_cast<double>(batch);
  const double pairs =
      rows * static_cast<double>(heads * width) * PairsOf(queries, window);  // times head width
  const auto of_queries = rows * static_cast<double>(queries * heads * width);
  const auto of_keys = rows * static_cast<double>(keys * groups * width);
  const auto statistics = 4 * rows * static_cast<double>(queries * heads);
  if (call.kind == OpKind::kAttention) {
    return {4 * pairs, size * (2 * of_queries + 2 * of_keys) + statistics};
  }
  // Scores again, and the gradients of probabilities, values, keys, queries.
  return {10 * pairs, size * (4 * of_queries + 4 * of_keys) + statistics};
}

// Logits are written, read for the softmax, and read for each gradient.
OpCost CostOfLoss(const OpCall& call, double size) {
  const auto tokens = static_cast<double>(call.extents[0]);
  const auto width = static_cast<double>(call.extents[1]);
  const auto vocabulary = static_cast<double>(call.extents[2]);
  const double product = 2 * tokens * width * vocabulary;
  const double operands = tokens * width + vocabulary * width;
  if (call.kind == OpKind::kCrossEntropy) {
    return {product, size * operands + 8 * tokens * vocabulary};
  }
  const double of_weight = call.accumulates ? 1 : 0;
  return {(2 + of_weight) * product, size * (2 * tokens * width + 2 * vocabulary * width) +
                                         of_weight * 8 * vocabulary * width +
                                         (8 + (2 + of_weight) * size) * tokens * vocabulary};
}

// Bytes per element of the activations that the operation is about; weights are small beside them.
double BytesOfElement(const OpCall& call, double size, double out_size) {
  switch (call.kind) {
    case OpKind::kFill:
    case OpKind::kAddBiasBackward:
      return size;
    case OpKind::kCopy:
    case OpKind::kEmbedding:
      return size + out_size;
    case OpKind::kEmbeddingBackward:
      return size + 2 * out_size;
    case OpKind::kAdd:
    case OpKind::kActivateBackward:
    case OpKind::kGatedActivate:
    case OpKind::kRmsNormBackward:
    case OpKind::kLayerNormBackward:
      return 3 * size;
    case OpKind::kGatedActivateBackward:
      return 5 * size;
    case OpKind::kShortConvolution:
      return 4 * size;
    case OpKind::kShortConvolutionBackward:
      return 7 * size;
    case OpKind::kAccumulate:
      return 2 * size + 4;
    case OpKind::kSumOfSquares:
      return size;
    case OpKind::kAdamW:
      return 2 * size + 24;  // the sum is read and cleared; weight and moments read and written
    default:
      return 2 * size;
  }
}

double NumElements(const OpCall& call) {
  const auto& e = call.extents;
  switch (call.kind) {
    case OpKind::kAddBias:
    case OpKind::kAddBiasBackward:
    case OpKind::kEmbedding:
    case OpKind::kEmbeddingBackward:
    case OpKind::kRmsNorm:
    case OpKind::kRmsNormBackward:
    case OpKind::kLayerNorm:
    case OpKind::kLayerNormBackward:
    case OpKind::kShortConvolution:
    case OpKind::kShortConvolutionBackward:
    case OpKind::kDropout:
    case OpKind::kAddNoise:
      return static_cast<double>(e[0] * e[1]);
    case OpKind::kRotary:
      return static_cast<double>(e[0] * e[1] * e[2]);
    default:
      return static_cast<double>(e[0]);
  }
}

}  // namespace

const char* OpName(OpKind kind) { return kNames[static_cast<size_t>(kind)]; }

OpCost CostOf(const OpCall& call) {
  const double size = SizeOf(call.dtype);
  const double out_size = SizeOf(call.out_dtype);
  switch (call.kind) {
    case OpKind::kMatMul: {
      const auto m = static_cast<double>(call.extents[0]);
      const auto n = static_cast<double>(call.extents[1]);
      const auto k = static_cast<double>(call.extents[2]);
      return {2 * m * n * k,
              size * (m * k + k * n) + (call.accumulates ? 2 : 1) * out_size * m * n};
    }
    case OpKind::kAttention:
    case OpKind::kAttentionBackward:
      return CostOfAttention(call, size);
    case OpKind::kCrossEntropy:
    case OpKind::kCrossEntropyWithGradient:
      return CostOfLoss(call, size);
    default:
      return {0, NumElements(call) * BytesOfElement(call, size, out_size)};
  }
}

OpCost CostOf(const OpCounts& counts) {
  OpCost total;
  for (const auto& [call, count] : counts) {
    const OpCost cost = CostOf(call);
    total.flops += cost.flops * static_cast<double>(count);
    total.bytes += cost.bytes * static_cast<double>(count);
  }
  return total;
}

}  // namespace liquid
