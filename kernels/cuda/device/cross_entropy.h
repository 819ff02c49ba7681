// Softmax cross entropy of logits [rows,vocabulary] (kF32, kernels/ops.h) in three steps, `cap` >
// 0: of cap tanh(logits / cap), which is what `logit` is below. Between the first step and the
// second, ranks that have parts of a vocabulary may gather each other's ends. targets [rows]:
// columns, kElsewhere if `is_part`, or kIgnoredTarget; any other stops the kernel: the stream
// fails. A row is summed in an order that its length fixes. rows < 2^31.
#ifndef LIQUID_KERNELS_CUDA_DEVICE_CROSS_ENTROPY_H_
#define LIQUID_KERNELS_CUDA_DEVICE_CROSS_ENTROPY_H_

#include <cstdint>

#include "kernels/cuda/device/element.h"

namespace liquid::cuda {

// ends [rows,2] = each row's log-sum-exp and its target's logit, 0 if that is elsewhere; with
// `find_top` ends [rows,4]: then its largest logit, and 1 if that is the target's and at no lower
// column, else 0. tops [rows] = its largest logit. Zeros for ignored targets, whose logits are not
// read.
cudaError_t FindRowEnds(cudaStream_t stream, double* ends, float* tops, const float* logits,
                        const int32_t* targets, int64_t rows, int64_t vocabulary, float cap,
                        bool is_part, bool find_top);

// From the ends of all parts, all_ends [num_parts,rows,2], or [num_parts,rows,4] with `correct`:
// nll [rows], and scales [rows] = *scale * token_weights[row], factors [rows] = that times
// e^(top - log-sum-exp), all 0 for ignored targets; `scale` null: 1; `token_weights` null: all 1.
// correct [rows], if not null: 1 where the target has the largest logit, else 0.
cudaError_t FinishRows(cudaStream_t stream, float* nll, float* scales, float* factors,
                       int32_t* correct, const double* all_ends, const float* tops,
                       const int32_t* targets, const float* token_weights, int64_t rows,
                       int num_parts, const float* scale);

// gradients [rows,vocabulary] of `element` = factor * e^(logit - top), less scale at the target,
// and with a cap all that times 1 - (logit / cap)^2; zeros for ignored targets. kF32: `gradients`
// may be `logits`.
cudaError_t LogitGradients(cudaStream_t stream, void* gradients, Element element,
                           const float* logits, const float* tops, const float* scales,
                           const float* factors, const int32_t* targets, int64_t rows,
                           int64_t vocabulary, float cap);

}  // namespace liquid::cuda

#endif  // LIQUID_KERNELS_CUDA_DEVICE_CROSS_ENTROPY_H_
