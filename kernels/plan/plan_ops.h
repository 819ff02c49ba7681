// Ops that compute nothing: they account for what each operation needs on some machine.
#ifndef LIQUID_KERNELS_PLAN_PLAN_OPS_H_
#define LIQUID_KERNELS_PLAN_PLAN_OPS_H_

#include <memory>
#include <string>

#include "kernels/ops.h"
#include "kernels/plan/op_call.h"
#include "kernels/plan/workspace.h"
#include "tensor/pool.h"

namespace liquid {

// For streams of a PlanDevice (tensor/plan/). Shapes are checked as by the Ops that it stands for,
// and workspace is taken as they take it. Targets all count, and a row is one document: the worst
// case. Not thread-safe.
class PlanOps final : public Ops {
 public:
  // `stream` must outlive this.
  PlanOps(Stream& stream, const WorkspaceRules& rules);

  // The calls since the last time, or ever.
  OpCounts TakeCounts() { return std::exchange(counts_, {}); }

  std::string Recipe(DType /*dtype*/) const override { return "plan"; }
  int64_t WorkspaceBytes() const override { return scratch_.allocated_bytes() + fixed_bytes_; }

  void MatMul(TensorView out, ConstTensorView a, ConstTensorView b, MatMulOptions options) override;
  void AddBias(TensorView inout, ConstTensorView bias) override;
  void AddBiasBackward(TensorView dbias, ConstTensorView dout) override;
  void Fill(TensorView out, float value) override;
  void Copy(TensorView out, ConstTensorView x) override;
  void Add(TensorView out, ConstTensorView a, ConstTensorView b) override;
  void Scale(TensorView out, ConstTensorView x, float factor) override;
  void ScaleBy(TensorView out, ConstTensorView x, ConstTensorView factor) override;
  void Embedding(TensorView out, const int32_t* ids, ConstTensorView table) override;
  void EmbeddingBackward(TensorView dtable, const int32_t* ids, ConstTensorView dout) override;
  void RmsNorm(TensorView out, TensorView rstd, ConstTensorView x, ConstTensorView weight,
               float eps, float offset) override;
  void RmsNormBackward(TensorView dx, TensorView dweight, ConstTensorView dout, ConstTensorView x,
                       ConstTensorView weight, ConstTensorView rstd, float offset) override;
  void LayerNorm(TensorView out, TensorView mean, TensorView rstd, ConstTensorView x,
                 ConstTensorView weight, ConstTensorView bias, float eps) override;
  void LayerNormBackward(TensorView dx, TensorView dweight, TensorView dbias, ConstTensorView dout,
                         ConstTensorView x, ConstTensorView weight, ConstTensorView mean,
                         ConstTensorView rstd) override;
  void Rotary(TensorView out, ConstTensorView x, ConstTensorView cos, ConstTensorView sin,
              const int32_t* positions, bool inverse) override;
  void Attention(TensorView out, TensorView lse, ConstTensorView q, ConstTensorView k,
                 ConstTensorView v, const int32_t* document_start,
                 AttentionOptions options) override;
  void AttentionBackward(TensorView dq, TensorView dk, TensorView dv, ConstTensorView dout,
                         ConstTensorView q, ConstTensorView k, ConstTensorView v,
                         ConstTensorView out, ConstTensorView lse, const int32_t* document_start,
                         AttentionOptions options) override;
  void Activate(TensorView out, ConstTensorView x, Activation activation) override;
  void ActivateBackward(TensorView dx, ConstTensorView dout, ConstTensorView x,
                        Activation activation) override;
  void GatedActivate(TensorView out, ConstTensorView gate, ConstTensorView up,
                     Activation activation) override;
  void GatedActivateBackward(TensorView dgate, TensorView dup, ConstTensorView dout,
                             ConstTensorView gate, ConstTensorView up,
                             Activation activation) override;
  void ShortConvolution(TensorView out, ConstTensorView in, ConstTensorView weight,
                        const int32_t* positions) override;
  void ShortConvolutionBackward(TensorView din, TensorView dweight, ConstTensorView dout,
                                ConstTensorView in, ConstTensorView weight,
                                const int32_t* positions) override;
  void Dropout(TensorView out, ConstTensorView x, float probability,
               const RandomPlace& place) override;
  void AddNoise(TensorView out, ConstTensorView x, float magnitude,
                const RandomPlace& place) override;
  void LinearCrossEntropy(TensorView nll, int32_t* correct, ConstTensorView x,
                          ConstTensorView weight, const int32_t* targets, float cap,
                          const VocabularyPart* part) override;
  void LinearCrossEntropyWithGradient(TensorView nll, TensorView dx, TensorView dweight,
                                      ConstTensorView x, ConstTensorView weight,
                                      const int32_t* targets, const float* token_weights, float cap,
                                      const float* gradient_scale,
                                      const VocabularyPart* part) override;
  void Accumulate(TensorView sum, ConstTensorView gradient, int64_t limit, int32_t* flag) override;
  void SumOfSquares(TensorView chunks, ConstTensorView sum) override;
  void AdamW(TensorView weight, TensorView exp_avg, TensorView exp_avg_sq, TensorView sum,
             const AdamWOptions& options) override;

 private:
  void Count(const OpCall& call, const VocabularyPart* part = nullptr);
  void CountElements(OpKind kind, const ConstTensorView& x, DType out_dtype);
  void CountRows(OpKind kind, const ConstTensorView& x);
  void CountLoss(OpCall call, const ConstTensorView& x, const ConstTensorView& weight, float cap,
                 const VocabularyPart* part);

  const WorkspaceRules rules_;
  const int64_t fixed_bytes_;
  TensorPool scratch_;
  OpCounts counts_;
};

}  // namespace liquid

#endif  // LIQUID_KERNELS_PLAN_PLAN_OPS_H_
