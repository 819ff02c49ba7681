// What a rank asks for, and the tasks that do it.
#ifndef LIQUID_TESTS_EMULATED_CUDA_NCCL_OPERATIONS_H_
#define LIQUID_TESTS_EMULATED_CUDA_NCCL_OPERATIONS_H_

#include <nccl.h>

#include <memory>

#include "tests/emulated_cuda/nccl_communicator.h"
#include "tests/emulated_cuda/nccl_task.h"

namespace liquid::emulated {

enum class Kind {
  kAllReduce,
  kReduceScatter,
  kAllGather,
  kBroadcast,
  kReduce,
  kAllToAll,
  kSend,
  kReceive
};
const char* NameOf(Kind kind);

struct Operation {
  std::shared_ptr<Communicator> communicator;
  Kind kind;
  const void* in;
  void* out;
  size_t count;
  ncclDataType_t type;
  ncclRedOp_t reduction;
  int peer;  // or root
  cudaStream_t stream;
};

// nccl_collectives.cc. Fails the communicator if the ranks do not call the same.
Task RunCollective(Operation operation);

// nccl_point_to_point.cc. A send is done when the receiver has everything, so that an order of
// calls that only works with buffers hangs.
Task RunSend(Operation operation);
Task RunReceive(Operation operation);

}  // namespace liquid::emulated

#endif  // LIQUID_TESTS_EMULATED_CUDA_NCCL_OPERATIONS_H_
