#include "kernels/plan/plan_ops.h"

#include <string>

#include "base/check.h"

namespace liquid {
namespace {

void CheckSameCount(const ConstTensorView& a, const ConstTensorView& b) {
  LIQUID_CHECK(a.NumElements() == b.NumElements(), a.shape.ToString(), b.shape.ToString());
}

}  // namespace

PlanOps::PlanOps(Stream& stream, const WorkspaceRules& rules)
    : rules_(rules), fixed_bytes_(FixedWorkspaceBytes(rules)), scratch_(stream.device()) {
  LIQUID_CHECK(!stream.device().has_memory() && stream.device().type() == rules.device);
}

void PlanOps::Count(const OpCall& call, const VocabularyPart* part) {
  ++counts_[call];
  TakeWorkspace(rules_, call, part, scratch_);
}

void PlanOps::CountElements(OpKind kind, const ConstTensorView& x, DType out_dtype) {
  Count({.kind = kind, .dtype = x.dtype, .out_dtype = out_dtype, .extents = {x.NumElements()}});
}

void PlanOps::CountRows(OpKind kind, const ConstTensorView& x) {
  Count({.kind = kind,
         .dtype = x.dtype,
         .out_dtype = x.dtype,
         .extents = {x.NumRows(), x.shape.back()}});
}

void PlanOps::MatMul(TensorView out, ConstTensorView a, ConstTensorView b, MatMulOptions options) {
  LIQUID_CHECK(out.shape.rank() == 2 && a.shape.rank() == 2 && b.shape.rank() == 2);
  const int64_t k = a.shape[options.transpose_a ? 0 : 1];
  LIQUID_CHECK(a.shape[options.transpose_a ? 1 : 0] == out.shape[0], a.shape.ToString());
  LIQUID_CHECK(b.shape[options.transpose_b ? 1 : 0] == k, b.shape.ToString());
  LIQUID_CHECK(b.shape[options.transpose_b ? 0 : 1] == out.shape[1], b.shape.ToString());
  LIQUID_CHECK(a.dtype == b.dtype);
  if (out.NumElements() == 0) return;
  Count({.kind = OpKind::kMatMul,
         .dtype = a.dtype,
         .out_dtype = out.dtype,
         .is_first = options.transpose_a,
         .is_second = options.transpose_b,
         .accumulates = options.accumulate,
         .extents = {out.shape[0], out.shape[1], k}});
}

void PlanOps::AddBias(TensorView inout, ConstTensorView bias) {
  LIQUID_CHECK(bias.NumElements() == inout.shape.back() && bias.dtype == inout.dtype);
  CountRows(OpKind::kAddBias, inout);
}

void PlanOps::AddBiasBackward(TensorView dbias, ConstTensorView dout) {
  LIQUID_CHECK(dbias.NumElements() == dout.shape.back() && dbias.dtype == DType::kF32);
  CountRows(OpKind::kAddBiasBackward, dout);
}

void PlanOps::Fill(TensorView out, float /*value*/) {
  CountElements(OpKind::kFill, out, out.dtype);
}

void PlanOps::Copy(TensorView out, ConstTensorView x) {
  CheckSameCount(out, x);
  CountElements(OpKind::kCopy, x, out.dtype);
}

void PlanOps::Add(TensorView out, ConstTensorView a, ConstTensorView b) {
  CheckSameCount(out, a);
  CheckSameCount(a, b);
  LIQUID_CHECK(out.dtype == a.dtype && a.dtype == b.dtype);
  CountElements(OpKind::kAdd, a, out.dtype);
}

void PlanOps::Scale(TensorView out, ConstTensorView x, float /*factor*/) {
  CheckSameCount(out, x);
  CountElements(OpKind::kScale, x, out.dtype);
}

void PlanOps::ScaleBy(TensorView out, ConstTensorView x, ConstTensorView factor) {
  CheckSameCount(out, x);
  LIQUID_CHECK(factor.NumElements() == 1 && factor.dtype == x.dtype);
  CountElements(OpKind::kScale, x, out.dtype);
}

void PlanOps::Embedding(TensorView out, const int32_t* /*ids*/, ConstTensorView table) {
  LIQUID_CHECK(out.shape.back() == table.shape.back());
  Count({.kind = OpKind::kEmbedding,
         .dtype = table.dtype,
         .out_dtype = out.dtype,
         .extents = {out.NumRows(), table.shape.back(), table.shape[0]}});
}

void PlanOps::EmbeddingBackward(TensorView dtable, const int32_t* /*ids*/, ConstTensorView dout) {
  LIQUID_CHECK(dout.shape.back() == dtable.shape.back());
  LIQUID_CHECK(dtable.dtype == DType::kF32 || dtable.dtype == dout.dtype);
  Count({.kind = OpKind::kEmbeddingBackward,
         .dtype = dout.dtype,
         .out_dtype = dtable.dtype,
         .extents = {dout.NumRows(), dtable.shape.back(), dtable.shape[0]}});
}

void PlanOps::RmsNorm(TensorView out, TensorView rstd, ConstTensorView x, ConstTensorView weight,
                      float /*eps*/, float /*offset*/) {
  CheckSameCount(out, x);
  LIQUID_CHECK(weight.NumElements() == x.shape.back() && rstd.NumElements() == x.NumRows());
  CountRows(OpKind::kRmsNorm, x);
}

void PlanOps::RmsNormBackward(TensorView dx, TensorView dweight, ConstTensorView dout,
                              ConstTensorView x, ConstTensorView weight, ConstTensorView rstd,
                              float /*offset*/) {
  CheckSameCount(dx, x);
  CheckSameCount(dout, x);
  LIQUID_CHECK(weight.NumElements() == x.shape.back() && rstd.NumElements() == x.NumRows() &&
               dweight.NumElements() == x.shape.back());
  CountRows(OpKind::kRmsNormBackward, x);
}

void PlanOps::LayerNorm(TensorView out, TensorView mean, TensorView rstd, ConstTensorView x,
                        ConstTensorView weight, ConstTensorView bias, float /*eps*/) {
  CheckSameCount(out, x);
  LIQUID_CHECK(weight.NumElements() == x.shape.back() && bias.NumElements() == x.shape.back() &&
               rstd.NumElements() == x.NumRows() && mean.NumElements() == x.NumRows());
  CountRows(OpKind::kLayerNorm, x);
}

void PlanOps::LayerNormBackward(TensorView dx, TensorView dweight, TensorView dbias,
                                ConstTensorView dout, ConstTensorView x, ConstTensorView weight,
                                ConstTensorView mean, ConstTensorView rstd) {
  CheckSameCount(dx, x);
  CheckSameCount(dout, x);
  LIQUID_CHECK(weight.NumElements() == x.shape.back() && dweight.NumElements() == x.shape.back() &&
               dbias.NumElements() == x.shape.back() && mean.NumElements() == x.NumRows() &&
               rstd.NumElements() == x.NumRows());
  CountRows(OpKind::kLayerNormBackward, x);
}

void PlanOps::Rotary(TensorView out, ConstTensorView x, ConstTensorView cos, ConstTensorView sin,
                     const int32_t* /*positions*/, bool /*inverse*/) {
  LIQUID_CHECK(x.shape.rank() >= 2);
  CheckSameCount(out, x);
  const int64_t width = x.shape.back();
  const int64_t heads = x.shape[x.shape.rank() - 2];
  LIQUID_CHECK(width % 2 == 0 && cos.shape.back() == width / 2 && sin.shape == cos.shape);
  Count({.kind = OpKind::kRotary,
         .dtype = x.dtype,
         .out_dtype = out.dtype,
         .extents = {x.NumElements() / (heads * width), heads, width}});
}

namespace {

OpCall AttentionCall(OpKind kind, const ConstTensorView& q, const ConstTensorView& k,
                     const ConstTensorView& v, const AttentionOptions& options) {
  LIQUID_CHECK(q.shape.rank() == 4 && k.shape.rank() == 4 && v.shape == k.shape, q.shape.ToString(),
               k.shape.ToString(), v.shape.ToString());
  LIQUID_CHECK(k.shape[0] == q.shape[0] && k.shape[3] == q.shape[3] &&
                   q.shape[2] % k.shape[2] == 0 && options.query_offset >= 0 &&
                   options.query_offset + q.shape[1] <= k.shape[1],
               q.shape.ToString(), k.shape.ToString());
  return {.kind = kind,
          .dtype = q.dtype,
          .out_dtype = q.dtype,
          .extents = {q.shape[0], q.shape[1], k.shape[1], q.shape[2], k.shape[2], q.shape[3],
                      options.window}};
}

}  // namespace

void PlanOps::Attention(TensorView out, TensorView lse, ConstTensorView q, ConstTensorView k,
                        ConstTensorView v, const int32_t* /*document_start*/,
                        AttentionOptions options) {
  LIQUID_CHECK(out.shape == q.shape && lse.NumElements() == q.NumElements() / q.shape.back());
  Count(AttentionCall(OpKind::kAttention, q, k, v, options));
}

void PlanOps::AttentionBackward(TensorView dq, TensorView dk, TensorView dv, ConstTensorView dout,
                                ConstTensorView q, ConstTensorView k, ConstTensorView v,
                                ConstTensorView out, ConstTensorView lse,
                                const int32_t* /*document_start*/, AttentionOptions options) {
  LIQUID_CHECK(dq.shape == q.shape && dk.shape == k.shape && dv.shape == v.shape &&
               dout.shape == q.shape && out.shape == q.shape && q.shape[1] == k.shape[1] &&
               options.query_offset == 0);
  LIQUID_CHECK(lse.NumElements() == q.NumElements() / q.shape.back());
  Count(AttentionCall(OpKind::kAttentionBackward, q, k, v, options));
}

void PlanOps::Activate(TensorView out, ConstTensorView x, Activation /*activation*/) {
  CheckSameCount(out, x);
  CountElements(OpKind::kActivate, x, out.dtype);
}

void PlanOps::ActivateBackward(TensorView dx, ConstTensorView dout, ConstTensorView x,
                               Activation /*activation*/) {
  CheckSameCount(dx, x);
  CheckSameCount(dout, x);
  CountElements(OpKind::kActivateBackward, x, dx.dtype);
}

void PlanOps::GatedActivate(TensorView out, ConstTensorView gate, ConstTensorView up,
                            Activation /*activation*/) {
  CheckSameCount(out, gate);
  CheckSameCount(gate, up);
  CountElements(OpKind::kGatedActivate, gate, out.dtype);
}

void PlanOps::GatedActivateBackward(TensorView dgate, TensorView dup, ConstTensorView dout,
                                    ConstTensorView gate, ConstTensorView up,
                                    Activation /*activation*/) {
  CheckSameCount(dgate, gate);
  CheckSameCount(dup, up);
  CheckSameCount(dout, gate);
  CheckSameCount(gate, up);
  CountElements(OpKind::kGatedActivateBackward, gate, dgate.dtype);
}

void PlanOps::ShortConvolution(TensorView out, ConstTensorView in, ConstTensorView weight,
                               const int32_t* /*positions*/) {
  LIQUID_CHECK(3 * out.NumElements() == in.NumElements() && weight.shape.rank() == 2 &&
               in.shape.back() == 3 * weight.shape[0]);
  Count({.kind = OpKind::kShortConvolution,
         .dtype = in.dtype,
         .out_dtype = out.dtype,
         .extents = {in.NumRows(), weight.shape[0], weight.shape[1]}});
}

void PlanOps::ShortConvolutionBackward(TensorView din, TensorView dweight, ConstTensorView dout,
                                       ConstTensorView in, ConstTensorView weight,
                                       const int32_t* /*positions*/) {
  CheckSameCount(din, in);
  CheckSameCount(dweight, weight);
  LIQUID_CHECK(3 * dout.NumElements() == in.NumElements() && weight.shape.rank() == 2 &&
               in.shape.back() == 3 * weight.shape[0]);
  Count({.kind = OpKind::kShortConvolutionBackward,
         .dtype = in.dtype,
         .out_dtype = din.dtype,
         .extents = {in.NumRows(), weight.shape[0], weight.shape[1]}});
}

void PlanOps::Dropout(TensorView out, ConstTensorView x, float /*probability*/,
                      const RandomPlace& /*place*/) {
  CheckSameCount(out, x);
  CountRows(OpKind::kDropout, x);
}

void PlanOps::AddNoise(TensorView out, ConstTensorView x, float /*magnitude*/,
                       const RandomPlace& /*place*/) {
  CheckSameCount(out, x);
  CountRows(OpKind::kAddNoise, x);
}

void PlanOps::CountLoss(OpCall call, const ConstTensorView& x, const ConstTensorView& weight,
                        float cap, const VocabularyPart* part) {
  LIQUID_CHECK(weight.shape.rank() == 2 && weight.shape[1] == x.shape.back() &&
               weight.dtype == x.dtype);
  call.dtype = call.out_dtype = x.dtype;
  call.is_first = cap > 0;
  call.extents = {x.NumRows(), x.shape.back(), weight.shape[0]};
  Count(call, part);
}

void PlanOps::LinearCrossEntropy(TensorView nll, int32_t* correct, ConstTensorView x,
                                 ConstTensorView weight, const int32_t* /*targets*/, float cap,
                                 const VocabularyPart* part) {
  LIQUID_CHECK(nll.NumElements() == x.NumRows());
  CountLoss({.kind = OpKind::kCrossEntropy, .is_second = correct != nullptr}, x, weight, cap, part);
}

void PlanOps::LinearCrossEntropyWithGradient(TensorView nll, TensorView dx, TensorView dweight,
                                             ConstTensorView x, ConstTensorView weight,
                                             const int32_t* /*targets*/,
                                             const float* /*token_weights*/, float cap,
                                             const float* /*gradient_scale*/,
                                             const VocabularyPart* part) {
  LIQUID_CHECK(nll.NumElements() == x.NumRows());
  CheckSameCount(dx, x);
  const bool has_gradient = dweight.data != nullptr;
  if (has_gradient) CheckSameCount(dweight, weight);
  CountLoss({.kind = OpKind::kCrossEntropyWithGradient, .accumulates = has_gradient}, x, weight,
            cap, part);
}

void PlanOps::Accumulate(TensorView sum, ConstTensorView gradient, int64_t /*limit*/,
                         int32_t* /*flag*/) {
  CheckSameCount(sum, gradient);
  CountElements(OpKind::kAccumulate, sum, sum.dtype);
}

void PlanOps::SumOfSquares(TensorView chunks, ConstTensorView sum) {
  LIQUID_CHECK(chunks.dtype == DType::kF64 &&
               chunks.NumElements() == (sum.NumElements() + kNormChunk - 1) / kNormChunk);
  CountElements(OpKind::kSumOfSquares, sum, sum.dtype);
}

void PlanOps::AdamW(TensorView weight, TensorView exp_avg, TensorView exp_avg_sq, TensorView sum,
                    const AdamWOptions& options) {
  static_cast<void>(CoefficientsOf(options));  // which checks them
  CheckSameCount(exp_avg, weight);
  CheckSameCount(exp_avg_sq, weight);
  CheckSameCount(sum, weight);
  CountElements(OpKind::kAdamW, sum, sum.dtype);
}

}  // namespace liquid
