// The storage of a bfloat16. Apart from tensor/dtype.h, which converts it, because the loops of
// kernels/cpu/simd may include no header that has inline functions.
#ifndef LIQUID_TENSOR_BFLOAT16_H_
#define LIQUID_TENSOR_BFLOAT16_H_

#include <stdint.h>

namespace liquid {

// bfloat16: the high half of an IEEE-754 binary32.
struct BFloat16 {
  uint16_t bits;
};

}  // namespace liquid

#endif  // LIQUID_TENSOR_BFLOAT16_H_
