// Ops on NVIDIA GPUs: cuBLASLt for matrix products, kernels/cuda/device for the rest.
#ifndef LIQUID_KERNELS_CUDA_CUDA_OPS_H_
#define LIQUID_KERNELS_CUDA_CUDA_OPS_H_

#include <memory>
#include <string>

#include "kernels/cross_entropy_call.h"
#include "kernels/ops.h"
#include "tensor/cuda/cuda_stream.h"
#include "tensor/pool.h"

namespace liquid {

class CudaProducts;

// Host code: checks shapes and dtypes, takes scratch memory, launches. Scratch tensors may go back
// to the pool as soon as their last reader is enqueued: what takes them next is behind it in the
// same stream. Each instance serves one thread at a time.
class CudaOps final : public Ops {
 public:
  explicit CudaOps(Stream& stream);
  ~CudaOps() override;

  std::string Recipe(DType dtype) const override;
  int64_t WorkspaceBytes() const override;

  // kernels/cuda/matmul.cc
  void MatMul(TensorView out, ConstTensorView a, ConstTensorView b, MatMulOptions options) override;

  // kernels/cuda/elementwise.cc
  void AddBias(TensorView inout, ConstTensorView bias) override;
  void AddBiasBackward(TensorView dbias, ConstTensorView dout) override;
  void Fill(TensorView out, float value) override;
  void Copy(TensorView out, ConstTensorView x) override;
  void Add(TensorView out, ConstTensorView a, ConstTensorView b) override;
  void Scale(TensorView out, ConstTensorView x, float factor) override;
  void ScaleBy(TensorView out, ConstTensorView x, ConstTensorView factor) override;

  // kernels/cuda/random.cc
  void Dropout(TensorView out, ConstTensorView x, float probability,
               const RandomPlace& place) override;
  void AddNoise(TensorView out, ConstTensorView x, float magnitude,
                const RandomPlace& place) override;

  // kernels/cuda/embedding.cc
  void Embedding(TensorView out, const int32_t* ids, ConstTensorView table) override;
  void EmbeddingBackward(TensorView dtable, const int32_t* ids, ConstTensorView dout) override;

  // kernels/cuda/norm.cc
  void RmsNorm(TensorView out, TensorView rstd, ConstTensorView x, ConstTensorView weight,
               float eps, float offset) override;
  void RmsNormBackward(TensorView dx, TensorView dweight, ConstTensorView dout, ConstTensorView x,
                       ConstTensorView weight, ConstTensorView rstd, float offset) override;
  void LayerNorm(TensorView out, TensorView mean, TensorView rstd, ConstTensorView x,
                 ConstTensorView weight, ConstTensorView bias, float eps) override;
  void LayerNormBackward(TensorView dx, TensorView dweight, TensorView dbias, ConstTensorView dout,
                         ConstTensorView x, ConstTensorView weight, ConstTensorView mean,
                         ConstTensorView rstd) override;

  // kernels/cuda/rotary.cc
  void Rotary(TensorView out, ConstTensorView x, ConstTensorView cos, ConstTensorView sin,
              const int32_t* positions, bool inverse) override;

  // kernels/cuda/attention.cc
  void Attention(TensorView out, TensorView lse, ConstTensorView q, ConstTensorView k,
                 ConstTensorView v, const int32_t* document_start,
                 AttentionOptions options) override;
  // kernels/cuda/attention.cc
  void AttentionBackward(TensorView dq, TensorView dk, TensorView dv, ConstTensorView dout,
                         ConstTensorView q, ConstTensorView k, ConstTensorView v,
                         ConstTensorView out, ConstTensorView lse, const int32_t* document_start,
                         AttentionOptions options) override;

  // kernels/cuda/activation.cc
  void Activate(TensorView out, ConstTensorView x, Activation activation) override;
  void ActivateBackward(TensorView dx, ConstTensorView dout, ConstTensorView x,
                        Activation activation) override;
  void GatedActivate(TensorView out, ConstTensorView gate, ConstTensorView up,
                     Activation activation) override;
  void GatedActivateBackward(TensorView dgate, TensorView dup, ConstTensorView dout,
                             ConstTensorView gate, ConstTensorView up,
                             Activation activation) override;

  // kernels/cuda/short_convolution.cc
  void ShortConvolution(TensorView out, ConstTensorView in, ConstTensorView weight,
                        const int32_t* positions) override;
  void ShortConvolutionBackward(TensorView din, TensorView dweight, ConstTensorView dout,
                                ConstTensorView in, ConstTensorView weight,
                                const int32_t* positions) override;

  // kernels/cuda/cross_entropy.cc
  void LinearCrossEntropy(TensorView nll, int32_t* correct, ConstTensorView x,
                          ConstTensorView weight, const int32_t* targets, float cap,
                          const VocabularyPart* part) override;
  void LinearCrossEntropyWithGradient(TensorView nll, TensorView dx, TensorView dweight,
                                      ConstTensorView x, ConstTensorView weight,
                                      const int32_t* targets, const float* token_weights, float cap,
                                      const float* gradient_scale,
                                      const VocabularyPart* part) override;

  // kernels/cuda/optimizer.cc
  void Accumulate(TensorView sum, ConstTensorView gradient, int64_t limit, int32_t* flag) override;
  void SumOfSquares(TensorView chunks, ConstTensorView sum) override;
  void AdamW(TensorView weight, TensorView exp_avg, TensorView exp_avg_sq, TensorView sum,
             const AdamWOptions& options) override;

 private:
  // kernels/cuda/cross_entropy.cc
  // Both forms.
  void CrossEntropy(const CrossEntropyCall& call);

  // Latches the code that a launcher returned.
  void Latch(cudaError_t code, const char* what) { stream_.Latch(code, what); }

  CudaStream& stream_;
  TensorPool scratch_;
  std::unique_ptr<CudaProducts> products_;
};

}  // namespace liquid

#endif  // LIQUID_KERNELS_CUDA_CUDA_OPS_H_
