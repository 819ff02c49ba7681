#include "parallel/gang_mesh.h"

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace liquid {

absl::StatusOr<GangMesh> GangMesh::Create(GangCommunicator& gang, int tensor_parallel) {
  LIQUID_CHECK(tensor_parallel >= 1, tensor_parallel);
  if (gang.size() % tensor_parallel != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("model.tensor_parallel is ", tensor_parallel, ", but the gang has ",
                     gang.size(), " ranks, which is not a multiple of it: start mpirun with -n ",
                     tensor_parallel, ", ", 2 * tensor_parallel, ", .."));
  }
  GangMesh mesh;
  mesh.gang_ = &gang;
  const int tensor_rank = gang.rank() % tensor_parallel;
  mesh.tensor_ = gang.Split(gang.rank() / tensor_parallel);
  mesh.replicas_ = gang.Split(tensor_rank);
  for (int size = 2; size < tensor_parallel; ++size) {
    if (tensor_parallel % size != 0) continue;
    mesh.holders_.push_back(mesh.tensor_->Split(tensor_rank / size));
  }
  return mesh;
}

absl::Status GangMesh::Wait() const {
  absl::Status status = gang_->Wait(absl::InfiniteFuture());
  status.Update(tensor_->Wait(absl::InfiniteFuture()));
  status.Update(replicas_->Wait(absl::InfiniteFuture()));
  for (const auto& group : holders_) status.Update(group->Wait(absl::InfiniteFuture()));
  return status;
}

GangCommunicator* GangMesh::holders(int num_holders) const {
  if (num_holders == 1) return nullptr;
  if (num_holders == tensor_size()) return tensor_.get();
  for (const auto& group : holders_) {
    if (group->size() == num_holders) return group.get();
  }
  LIQUID_CHECK(false, num_holders, " holders of ", tensor_size(), " tensor ranks");
}

}  // namespace liquid
