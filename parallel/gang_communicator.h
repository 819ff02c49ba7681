// Collectives among the ranks of one gang, or some of them: what sharding a model needs beyond a
// Communicator. Not between gangs, which come and go.
#ifndef LIQUID_PARALLEL_GANG_COMMUNICATOR_H_
#define LIQUID_PARALLEL_GANG_COMMUNICATOR_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace liquid {

// Sums of floats in these calls are taken in the order of ranks, so that their bits are a
// function of the inputs alone, on any machine (of more than 64 GPUs: in an order of NCCL's).
class GangCommunicator : public Communicator {
 public:
  // out = every rank's `in`, one after the other, by rank. out.NumElements() ==
  // size() * in.NumElements(); any dtype. No overlap.
  virtual void AllGatherParts(TensorView out, ConstTensorView in) = 0;
  // out = part rank() of the sum of every rank's `in`, which is cut into size() equal parts.
  // in.NumElements() == size() * out.NumElements(); kF32 or kI64. No overlap.
  virtual void ReduceScatterPartsSum(TensorView out, ConstTensorView in) = 0;
  // `inout` of rank `root` becomes the sum of every rank's; the others' stay as they are. kF32 or
  // kI64.
  virtual void ReduceSum(TensorView inout, int root) = 0;

  // For a group that waits for something in vain: every rank's `message` (at most 63 bytes), by
  // rank, as far as they come within `patience`; nothing of ranks that do not call this. Empty
  // where ranks have no way to tell.
  virtual std::vector<std::optional<std::string>> RollCall(const std::string& /*message*/,
                                                           absl::Duration /*patience*/) {
    return {};
  }

  // Collective. A group of those ranks that gave the same `color`, in their order here. One thread
  // may use it while another one uses another group of this rank. Not for groups on GPUs: they are
  // made of groups of their hosts (parallel/nccl).
  virtual std::unique_ptr<GangCommunicator> Split(int color) = 0;
};

}  // namespace liquid

#endif  // LIQUID_PARALLEL_GANG_COMMUNICATOR_H_
