// What an AdamW update multiplies by, worked out once for all elements.
#ifndef LIQUID_KERNELS_ADAMW_COEFFICIENTS_H_
#define LIQUID_KERNELS_ADAMW_COEFFICIENTS_H_

namespace liquid {

struct AdamWCoefficients {
  float beta1;
  float beta2;
  float gradient_scale;
  float decay;          // 1 - learning_rate * weight_decay
  float rate;           // learning_rate / (1 - beta1^step)
  float second_factor;  // 1 / sqrt(1 - beta2^step)
  float epsilon;
};

}  // namespace liquid

#endif  // LIQUID_KERNELS_ADAMW_COEFFICIENTS_H_
