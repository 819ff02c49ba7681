// Ops on the CPU: oneDNN for matrix products, own loops for the rest.
#ifndef LIQUID_KERNELS_CPU_CPU_OPS_H_
#define LIQUID_KERNELS_CPU_CPU_OPS_H_

#include <string>

#include "kernels/cpu/simd/loops.h"
#include "kernels/cross_entropy_call.h"
#include "kernels/ops.h"
#include "tensor/pool.h"

namespace liquid {

// Calls return when the work is done. Work is cut into chunks by shape
// (kernels/cpu/parallel_for.h) and scratch memory is kept for the next call.
// Each instance serves one thread at a time.
class CpuOps final : public Ops {
 public:
  // With the loops for this machine's best instruction set, or with the given ones.
  explicit CpuOps(Stream& stream) : CpuOps(stream, *SimdLoopsAt(0)) {}
  CpuOps(Stream& stream, const SimdLoops& loops);  // kernels/ops.cc

  std::string Recipe(DType dtype) const override;  // kernels/ops.cc

  // kernels/cpu/matmul.cc
  void MatMul(TensorView out, ConstTensorView a, ConstTensorView b, MatMulOptions options) override;

  // kernels/cpu/elementwise.cc
  void AddBias(TensorView inout, ConstTensorView bias) override;
  void AddBiasBackward(TensorView dbias, ConstTensorView dout) override;
  void Fill(TensorView out, float value) override;
  void Copy(TensorView out, ConstTensorView x) override;
  void Add(TensorView out, ConstTensorView a, ConstTensorView b) override;
  void Scale(TensorView out, ConstTensorView x, float factor) override;
  void ScaleBy(TensorView out, ConstTensorView x, ConstTensorView factor) override;

  // kernels/cpu/random.cc
  void Dropout(TensorView out, ConstTensorView x, float probability,
               const RandomPlace& place) override;
  void AddNoise(TensorView out, ConstTensorView x, float magnitude,
                const RandomPlace& place) override;

  // kernels/cpu/embedding.cc
  void Embedding(TensorView out, const int32_t* ids, ConstTensorView table) override;
  void EmbeddingBackward(TensorView dtable, const int32_t* ids, ConstTensorView dout) override;

  // kernels/cpu/norm.cc
  void RmsNorm(TensorView out, TensorView rstd, ConstTensorView x, ConstTensorView weight,
               float eps, float offset) override;
  void RmsNormBackward(TensorView dx, TensorView dweight, ConstTensorView dout, ConstTensorView x,
                       ConstTensorView weight, ConstTensorView rstd, float offset) override;
  void LayerNorm(TensorView out, TensorView mean, TensorView rstd, ConstTensorView x,
                 ConstTensorView weight, ConstTensorView bias, float eps) override;
  void LayerNormBackward(TensorView dx, TensorView dweight, TensorView dbias, ConstTensorView dout,
                         ConstTensorView x, ConstTensorView weight, ConstTensorView mean,
                         ConstTensorView rstd) override;

  // kernels/cpu/rotary.cc
  void Rotary(TensorView out, ConstTensorView x, ConstTensorView cos, ConstTensorView sin,
              const int32_t* positions, bool inverse) override;

  // kernels/cpu/attention.cc
  void Attention(TensorView out, TensorView lse, ConstTensorView q, ConstTensorView k,
                 ConstTensorView v, const int32_t* document_start,
                 AttentionOptions options) override;
  // kernels/cpu/attention_backward.cc
  void AttentionBackward(TensorView dq, TensorView dk, TensorView dv, ConstTensorView dout,
                         ConstTensorView q, ConstTensorView k, ConstTensorView v,
                         ConstTensorView out, ConstTensorView lse, const int32_t* document_start,
                         AttentionOptions options) override;

  // kernels/cpu/activation.cc
  void Activate(TensorView out, ConstTensorView x, Activation activation) override;
  void ActivateBackward(TensorView dx, ConstTensorView dout, ConstTensorView x,
                        Activation activation) override;
  void GatedActivate(TensorView out, ConstTensorView gate, ConstTensorView up,
                     Activation activation) override;
  void GatedActivateBackward(TensorView dgate, TensorView dup, ConstTensorView dout,
                             ConstTensorView gate, ConstTensorView up,
                             Activation activation) override;

  // kernels/cpu/short_convolution.cc
  void ShortConvolution(TensorView out, ConstTensorView in, ConstTensorView weight,
                        const int32_t* positions) override;
  void ShortConvolutionBackward(TensorView din, TensorView dweight, ConstTensorView dout,
                                ConstTensorView in, ConstTensorView weight,
                                const int32_t* positions) override;

  // kernels/cpu/cross_entropy.cc
  void LinearCrossEntropy(TensorView nll, int32_t* correct, ConstTensorView x,
                          ConstTensorView weight, const int32_t* targets, float cap,
                          const VocabularyPart* part) override;
  void LinearCrossEntropyWithGradient(TensorView nll, TensorView dx, TensorView dweight,
                                      ConstTensorView x, ConstTensorView weight,
                                      const int32_t* targets, const float* token_weights, float cap,
                                      const float* gradient_scale,
                                      const VocabularyPart* part) override;

  // kernels/cpu/optimizer.cc
  void Accumulate(TensorView sum, ConstTensorView gradient, int64_t limit, int32_t* flag) override;
  void SumOfSquares(TensorView chunks, ConstTensorView sum) override;
  void AdamW(TensorView weight, TensorView exp_avg, TensorView exp_avg_sq, TensorView sum,
             const AdamWOptions& options) override;

  int64_t WorkspaceBytes() const override { return scratch_.allocated_bytes(); }

 private:
  // T: what is multiplied, float or BFloat16. Operands are of it.
  template <typename T>
  void Product(const TensorView& out, const ConstTensorView& a, const ConstTensorView& b,
               MatMulOptions options);
  // Both forms.
  void CrossEntropy(const CrossEntropyCall& call);
  // The call's weight is of type T, x of any.
  template <typename T>
  void CrossEntropyBy(const CrossEntropyCall& call);
  // Of a chunk's rows, numbers row_ids of all, from the ends [R,2 or 4]: what the call wants to
  // know of them, their log-sum-exp and the scale of their gradient.
  static void FinishRows(const CrossEntropyCall& call, const TensorView& ends,
                         const int64_t* row_ids, float* lse, float* scales);

  const SimdLoops& loops_;
  const bool has_bf16_products_;  // otherwise they are products of converted floats
  TensorPool scratch_;
};

}  // namespace liquid

#endif  // LIQUID_KERNELS_CPU_CPU_OPS_H_
