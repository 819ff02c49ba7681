// Elements of NCCL's types, and what reductions do with them.
#ifndef LIQUID_TESTS_EMULATED_CUDA_NCCL_ARITHMETIC_H_
#define LIQUID_TESTS_EMULATED_CUDA_NCCL_ARITHMETIC_H_

#include <nccl.h>

#include <cstddef>

namespace liquid::emulated {

// Zero for a type that is not emulated.
size_t BytesOf(ncclDataType_t type);

// sums[i] = sums[i] (op) values[i], rounded to the type each time, as a ring does.
void ReduceInto(void* sums, const void* values, size_t count, ncclDataType_t type, ncclRedOp_t op);

// What ncclAvg does with a sum.
void DivideBy(int num_ranks, void* sums, size_t count, ncclDataType_t type);

}  // namespace liquid::emulated

#endif  // LIQUID_TESTS_EMULATED_CUDA_NCCL_ARITHMETIC_H_
