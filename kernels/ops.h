// Every operation that a model or an optimizer may ask of a device.
//
// An Ops enqueues on one stream (tensor/device.h); what goes wrong on the device surfaces in
// Stream::Synchronize(). A wrong shape or dtype is a bug: LIQUID_CHECK fails. Outputs come first.
// Gradients of parameters are added (+=), gradients of activations are assigned (=).
// The result of an operation is a function of its inputs alone, to the last bit: not of the number
// of threads, nor of what ran before. Where a sum is longer than a vector register its order is
// fixed by the shape. Integer inputs (ids, positions, targets) are int32 in the device's memory.
//
// Shapes use the letters of docs/GLOSSARY.md: N tokens of a slot (B rows of T), D model width,
// F MLP width, H query heads, G key/value heads, K head width, V vocabulary.
//
// Activations, their gradients and weights are kF32, or all kBF16: then they are converted when
// they are read, the arithmetic is that of kF32, and what is written is rounded once, to nearest
// even. Gradients of parameters, statistics (rstd, mean, lse), losses, cos and sin are kF32 always;
// other tensors are what their contract says.
#ifndef LIQUID_KERNELS_OPS_H_
#define LIQUID_KERNELS_OPS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "kernels/adamw_coefficients.h"
#include "tensor/device.h"
#include "tensor/tensor.h"

namespace liquid {

struct MatMulOptions {
  bool transpose_a = false;  // use a^T
  bool transpose_b = false;  // use b^T
  bool accumulate = false;   // out += instead of out =
};

enum class Activation { kSilu, kGeluTanh };

// Which keys a query sees: j with i - window < j <= i (window 0: no lower bound) that belong to the
// same document. i = query_offset + the query's row; j, the key's row.
struct AttentionOptions {
  float scale = 1.0f;  // of the scores
  int32_t window = 0;
  int32_t query_offset = 0;  // keys that lie before the first query (a cache); 0 in training
};

struct AdamWOptions {
  float learning_rate = 0;  // > 0
  float beta1 = 0.9f;
  float beta2 = 0.95f;
  float epsilon = 1e-8f;
  float weight_decay = 0;
  int64_t step = 1;          // 1 for the first update; for the bias correction
  float gradient_scale = 1;  // multiplies the gradient before everything else (clipping)
};

// What is random about an element of a tensor [N,C] of tokens: a function of the batch's row that
// it is of, and of its place there. So it does not depend on how rows are put into slots, nor on
// what part of the tensor a rank holds. The bits of token t of its row and channel c are word c % 4
// of Philox4x32(counter (c / 4, t, stream, 0), the row's key) (base/random.h).
struct RandomPlace {
  const int32_t* row_keys =
      nullptr;                 // [B,2] in the device's memory: the halves of a key, low first
  uint32_t stream = 0;         // another one for each use in a pass
  int64_t tokens_per_row = 0;  // T
  int64_t first_token = 0;     // where the tensor begins in the batch's tokens, B*T
  int64_t first_channel = 0;   // and in the whole tensor's channels
};

// Fixed point of exact gradient sums: a gradient g is held as llrint(g * 2^50) in int64.
inline constexpr int kFixedPointBits = 50;
// Targets with this value are not scored.
inline constexpr int32_t kIgnoredTarget = -100;
// A row of a table, or a target, that another rank's part of the vocabulary has.
inline constexpr int32_t kElsewhere = -1;
// Taps of a short convolution, at most.
inline constexpr int kMaxTaps = 8;
// Elements per partial sum of SumOfSquares.
inline constexpr int64_t kNormChunk = 1024;

// A vocabulary that is spread over ranks: each has some rows of the weight, in order, and the same
// inputs. What ranks must know of each other's part of a softmax is small.
struct VocabularyPart {
  int num_parts = 1;
  int64_t largest_part = 0;  // rows
  // all [num_parts,R,W] = every rank's `mine` [R,W], by rank; kF64. Enqueued like an operation.
  std::function<void(TensorView all, ConstTensorView mine)> all_gather;
};

class Ops {
 public:
  virtual ~Ops() = default;

  // What, beside its inputs, the bits of a result of operations on `dtype` (kF32 or kBF16) depend
  // on here, such as "cpu x86-64-v4, oneDNN 2.6.0": equal recipes and equal inputs give equal bits.
  virtual std::string Recipe(DType dtype) const = 0;
  // Memory of its own, beside the tensors given to it, that operations have needed so far.
  virtual int64_t WorkspaceBytes() const = 0;

  // ---- Matrix products ----
  // out [M,N] = op(a) op(b), op(a) [M,K], op(b) [K,N], sums in kF32; `out` is kF32, or kBF16 as a
  // and b are. `out` may not overlap an input.
  virtual void MatMul(TensorView out, ConstTensorView a, ConstTensorView b,
                      MatMulOptions options) = 0;
  // inout [N,D] += bias [D], to every row; and its gradient dbias [D] += sum over rows of dout.
  virtual void AddBias(TensorView inout, ConstTensorView bias) = 0;
  virtual void AddBiasBackward(TensorView dbias, ConstTensorView dout) = 0;

  // ---- Elementwise; `out` may be an input ----
  virtual void Fill(TensorView out, float value) = 0;
  virtual void Copy(TensorView out, ConstTensorView x) = 0;  // converts between dtypes
  virtual void Add(TensorView out, ConstTensorView a, ConstTensorView b) = 0;
  virtual void Scale(TensorView out, ConstTensorView x, float factor) = 0;
  // The same by factor [1] in the device's memory, of the dtype of x.
  virtual void ScaleBy(TensorView out, ConstTensorView x, ConstTensorView factor) = 0;

  // ---- Random; x, out [N,C]; `out` may be `x` ----
  // Each element is 0 with the given probability (in [0, 1): bits / 2^32 below it), or else
  // x / (1 - probability). It is its own backward. Source: Srivastava et al. 2014, JMLR 15.
  virtual void Dropout(TensorView out, ConstTensorView x, float probability,
                       const RandomPlace& place) = 0;
  // out = x + magnitude * u, u uniform in (-1, 1): (bits / 2^9, rounded down, + 1/2) / 2^22 - 1.
  virtual void AddNoise(TensorView out, ConstTensorView x, float magnitude,
                        const RandomPlace& place) = 0;

  // ---- Embedding ----
  // out [N,D] = table [V,D] rows at ids [N]; 0 <= ids < V, or kElsewhere: zeros. Backward: dtable
  // rows += dout, in the order of n for equal ids; dtable kF32 or of the dtype of dout.
  virtual void Embedding(TensorView out, const int32_t* ids, ConstTensorView table) = 0;
  virtual void EmbeddingBackward(TensorView dtable, const int32_t* ids, ConstTensorView dout) = 0;

  // ---- Norms over the last axis; x [..,D] seen as rows; weight, bias [D]; eps > 0 ----
  // rstd[n] = 1 / sqrt(mean_d(x[n,d]^2) + eps);  out[n,d] = x[n,d] * rstd[n] * (offset + weight[d])
  // rstd [rows] is kept for the backward. offset: 0, or 1 for Gemma 3. `out` may be `x`.
  // Source: Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4.
  virtual void RmsNorm(TensorView out, TensorView rstd, ConstTensorView x, ConstTensorView weight,
                       float eps, float offset) = 0;
  virtual void RmsNormBackward(TensorView dx, TensorView dweight, ConstTensorView dout,
                               ConstTensorView x, ConstTensorView weight, ConstTensorView rstd,
                               float offset) = 0;
  // mean, rstd [rows] of each row (biased variance); out = (x - mean) * rstd * weight + bias.
  // Source: Ba et al. 2016, arXiv:1607.06450, eq. 4.
  virtual void LayerNorm(TensorView out, TensorView mean, TensorView rstd, ConstTensorView x,
                         ConstTensorView weight, ConstTensorView bias, float eps) = 0;
  virtual void LayerNormBackward(TensorView dx, TensorView dweight, TensorView dbias,
                                 ConstTensorView dout, ConstTensorView x, ConstTensorView weight,
                                 ConstTensorView mean, ConstTensorView rstd) = 0;

  // ---- Rotary position embedding (half-split pairs) ----
  // x, out [N,heads,K]; cos, sin [P,K/2]; positions [N] < P. For i < K/2, p = positions[n]:
  //   out[i]     = x[i] cos[p,i] - x[i+K/2] sin[p,i]
  //   out[i+K/2] = x[i+K/2] cos[p,i] + x[i] sin[p,i]
  // `inverse` turns the other way: the backward. `out` may be `x`.
  // Source: Su et al. 2021, arXiv:2104.09864, in the pairing of Hugging Face's rotate_half.
  virtual void Rotary(TensorView out, ConstTensorView x, ConstTensorView cos, ConstTensorView sin,
                      const int32_t* positions, bool inverse) = 0;

  // ---- Attention over packed documents ----
  // q, out [B,Tq,H,K]; k, v [B,Tk,G,K], H a multiple of G, query head h uses key/value head
  // h / (H/G); lse [B,H,Tq] keeps the log-sum-exp of the scaled scores for the backward.
  // document_start [B,Tk]: the row index of the first token of a key's document; a query sees only
  // keys j >= document_start[query's row]; null: one document. Never stores Tq x Tk scores.
  // Source: Dao 2023, arXiv:2307.08691 (online softmax, recomputation in the backward).
  virtual void Attention(TensorView out, TensorView lse, ConstTensorView q, ConstTensorView k,
                         ConstTensorView v, const int32_t* document_start,
                         AttentionOptions options) = 0;
  // dq, dk, dv are shaped as q, k, v. REQUIRES: Tq == Tk, query_offset == 0.
  virtual void AttentionBackward(TensorView dq, TensorView dk, TensorView dv, ConstTensorView dout,
                                 ConstTensorView q, ConstTensorView k, ConstTensorView v,
                                 ConstTensorView out, ConstTensorView lse,
                                 const int32_t* document_start, AttentionOptions options) = 0;

  // ---- Activations ----
  // out = act(x);  dx = dout * act'(x). kGeluTanh: Hendrycks & Gimpel 2016, arXiv:1606.08415.
  virtual void Activate(TensorView out, ConstTensorView x, Activation activation) = 0;
  virtual void ActivateBackward(TensorView dx, ConstTensorView dout, ConstTensorView x,
                                Activation activation) = 0;
  // out = act(gate) * up (Shazeer 2020, arXiv:2002.05202). dgate, dup may be gate, up.
  virtual void GatedActivate(TensorView out, ConstTensorView gate, ConstTensorView up,
                             Activation activation) = 0;
  virtual void GatedActivateBackward(TensorView dgate, TensorView dup, ConstTensorView dout,
                                     ConstTensorView gate, ConstTensorView up,
                                     Activation activation) = 0;

  // ---- Gated short convolution along the tokens, channel by channel ----
  // in [N,3D]: b, c, u side by side; weight [D,W], W <= kMaxTaps; positions [N]: of each token in
  // its document, of which it sees no more. z = b u;
  //   out[n,d] = c[n,d] * sum_j weight[d,j] z[n-(W-1)+j, d], over those j with W-1-j <=
  //   positions[n]
  // Backward: din [N,3D] =, dweight [D,W] +=, its sum over n in an order fixed by the shape.
  // Source: LFM2's Lfm2ShortConv, with a start from zero in each document.
  virtual void ShortConvolution(TensorView out, ConstTensorView in, ConstTensorView weight,
                                const int32_t* positions) = 0;
  virtual void ShortConvolutionBackward(TensorView din, TensorView dweight, ConstTensorView dout,
                                        ConstTensorView in, ConstTensorView weight,
                                        const int32_t* positions) = 0;

  // ---- Loss: output projection and softmax cross entropy in one ----
  // logits (kF32) = x weight^T, x [N,D], weight [V,D], and with cap > 0: cap tanh(logits / cap)
  // (Gemma Team 2024, arXiv:2408.00118, section 2); nll[n] = logsumexp_v(logits[n]) -
  // logits[n,target], 0 where targets[n] is kIgnoredTarget. No more than a chunk of logits is ever
  // stored. `part`: if not null, `weight` is this rank's part, targets are rows of it or
  // kElsewhere, nll is that of the whole vocabulary, and dx this rank's share, to be summed over
  // ranks. correct [N], if not null: 1 where the target's logit is the largest of the whole
  // vocabulary (of equal ones, that of the lowest index counts), else 0.
  virtual void LinearCrossEntropy(TensorView nll, int32_t* correct, ConstTensorView x,
                                  ConstTensorView weight, const int32_t* targets, float cap,
                                  const VocabularyPart* part) = 0;
  // The same, and the gradient of *gradient_scale * sum_n token_weights[n] nll[n]: dx [N,D] =,
  // dweight [V,D] +=, unless it has no data. token_weights [N] null: all are 1; the nll has no
  // weights. Both numbers are in the device's memory, as ids are.
  virtual void LinearCrossEntropyWithGradient(TensorView nll, TensorView dx, TensorView dweight,
                                              ConstTensorView x, ConstTensorView weight,
                                              const int32_t* targets, const float* token_weights,
                                              float cap, const float* gradient_scale,
                                              const VocabularyPart* part) = 0;

  // ---- Sums of gradients, norms, update ----
  // sum += gradient (kF32). With sum kI64: sum += llrint(gradient * 2^50), each element clamped to
  // +-limit (limit <= 2^62 / number of contributions); *flag (int32, device) is set to 1 if an
  // element was clamped or not finite (then it adds 0), else left alone. With sum kF32: a plain
  // sum; `flag` is set for elements that are not finite. Sum and gradient have as many elements.
  virtual void Accumulate(TensorView sum, ConstTensorView gradient, int64_t limit,
                          int32_t* flag) = 0;
  // chunks[c] (kF64) = sum of squares, in kF64, of elements c*1024 .. of `sum` (kF32, or kI64 read
  // as float(sum * 2^-50)); ceil(elements/1024) chunks, the order inside a chunk fixed.
  virtual void SumOfSquares(TensorView chunks, ConstTensorView sum) = 0;
  // One AdamW update of weight, exp_avg, exp_avg_sq (kF32) from `sum` (kF32 or kI64 as above),
  // which is cleared to zero on the way. g = gradient_scale * sum:
  //   weight *= 1 - lr * weight_decay;  m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2
  //   weight -= lr * (m / (1-b1^step)) / (sqrt(v / (1-b2^step)) + epsilon)
  // Source: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2, as in torch.optim.AdamW.
  virtual void AdamW(TensorView weight, TensorView exp_avg, TensorView exp_avg_sq, TensorView sum,
                     const AdamWOptions& options) = 0;
};

// What every backend's AdamW multiplies by. REQUIRES: options.step >= 1.
AdamWCoefficients CoefficientsOf(const AdamWOptions& options);

// The Ops of the device that `stream`, which must outlive it, belongs to.
std::unique_ptr<Ops> CreateOps(Stream& stream);

}  // namespace liquid

#endif  // LIQUID_KERNELS_OPS_H_
