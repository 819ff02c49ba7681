// An operation of kernels/ops.h as numbers: which, on what shape. What it costs follows from them.
#ifndef LIQUID_KERNELS_PLAN_OP_CALL_H_
#define LIQUID_KERNELS_PLAN_OP_CALL_H_

#include <array>
#include <compare>
#include <cstdint>
#include <map>

#include "tensor/dtype.h"

namespace liquid {

// With the meaning of OpCall::extents, in order.
enum class OpKind : uint8_t {
  kMatMul,                    // m n k; is_first: transpose_a, is_second: transpose_b, accumulates
  kAddBias,                   // rows width
  kAddBiasBackward,           // rows width
  kFill,                      // elements
  kCopy,                      // elements; from dtype to out_dtype
  kAdd,                       // elements
  kScale,                     // elements
  kEmbedding,                 // tokens width vocabulary
  kEmbeddingBackward,         // tokens width vocabulary; into out_dtype
  kRmsNorm,                   // rows width
  kRmsNormBackward,           // rows width
  kLayerNorm,                 // rows width
  kLayerNormBackward,         // rows width
  kRotary,                    // tokens heads width
  kAttention,                 // batch queries keys heads groups width window
  kAttentionBackward,         // the same
  kActivate,                  // elements; is_first: GELU
  kActivateBackward,          // the same
  kGatedActivate,             // the same
  kGatedActivateBackward,     // the same
  kShortConvolution,          // tokens width taps
  kShortConvolutionBackward,  // tokens width taps
  kCrossEntropy,              // tokens width vocabulary; is_first: capped, is_second: finds tops
  kCrossEntropyWithGradient,  // the same; accumulates: the weight has a gradient
  kDropout,                   // rows width
  kAddNoise,                  // rows width
  kAccumulate,                // elements; dtype of the sum
  kSumOfSquares,              // elements; the same
  kAdamW,                     // elements; the same
};
inline constexpr int kNumOpKinds = static_cast<int>(OpKind::kAdamW) + 1;
// As the method of Ops is called: "MatMul".
const char* OpName(OpKind kind);

struct OpCall {
  OpKind kind = OpKind::kMatMul;
  DType dtype = DType::kF32;      // of what is read
  DType out_dtype = DType::kF32;  // of what is written, where it may be another
  bool is_first = false;          // what these are, the kind says
  bool is_second = false;
  bool accumulates = false;
  std::array<int64_t, 7> extents = {};

  auto operator<=>(const OpCall&) const = default;
};

// Calls and how often each was made.
using OpCounts = std::map<OpCall, int64_t>;

// What a call must do at least. Attention sees whole causal rows (worst case), in its window.
struct OpCost {
  double flops = 0;  // of products, which tensor cores may do; an fma is two
  double bytes = 0;  // each operand is read once, each result written once
};
OpCost CostOf(const OpCall& call);
// Of all calls.
OpCost CostOf(const OpCounts& counts);

}  // namespace liquid

#endif  // LIQUID_KERNELS_PLAN_OP_CALL_H_
