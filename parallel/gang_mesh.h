// How the ranks of a gang are arranged: replicas, each of which holds one whole model, spread over
// its tensor-parallel ranks.
#ifndef LIQUID_PARALLEL_GANG_MESH_H_
#define LIQUID_PARALLEL_GANG_MESH_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "parallel/gang_communicator.h"

namespace liquid {

// Rank r of the gang is tensor rank r mod T of replica r / T, so that the ranks of a replica, which
// talk most, are neighbours.
class GangMesh {
 public:
  // Collective. `gang` must outlive this. InvalidArgument, with the arithmetic, if the gang's size
  // is not a multiple of `tensor_parallel`.
  static absl::StatusOr<GangMesh> Create(GangCommunicator& gang, int tensor_parallel);

  GangCommunicator& gang() const { return *gang_; }
  // The ranks of this one's replica: its rank is the tensor rank.
  GangCommunicator& tensor() const { return *tensor_; }
  // The ranks with this one's tensor rank: its rank is the replica's number.
  GangCommunicator& replicas() const { return *replicas_; }
  // Tensor ranks h i .. h i + h - 1 of this replica, this one among them: those that hold the same
  // part of a parameter which is held `num_holders` (h) times. A divisor of T; null for 1.
  GangCommunicator* holders(int num_holders) const;

  // As Communicator::Wait, of all groups: the first failure of any.
  absl::Status Wait() const;

  int num_replicas() const { return replicas_->size(); }
  int replica() const { return replicas_->rank(); }
  int tensor_size() const { return tensor_->size(); }
  int tensor_rank() const { return tensor_->rank(); }

 private:
  GangMesh() = default;
  GangCommunicator* gang_ = nullptr;
  std::unique_ptr<GangCommunicator> tensor_;
  std::unique_ptr<GangCommunicator> replicas_;
  std::vector<std::unique_ptr<GangCommunicator>> holders_;  // by their size
};

}  // namespace liquid

#endif  // LIQUID_PARALLEL_GANG_MESH_H_
