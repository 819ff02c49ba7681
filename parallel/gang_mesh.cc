#include "parallel/gang_mesh.h"

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"

namespace liquid {

absl::StatusOr<GangMesh> GangMesh::Create(GangCommunicator& gang, int tensor_parallel,
                                          const DeviceGroups& devices) {
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
  mesh.tensor_.hosts = gang.Split(gang.rank() / tensor_parallel);
  mesh.replicas_.hosts = gang.Split(tensor_rank);
  for (int size = 2; size < tensor_parallel; ++size) {
    if (tensor_parallel % size != 0) continue;
    mesh.holders_.push_back({mesh.tensor_hosts().Split(tensor_rank / size), nullptr});
  }
  if (devices.create != nullptr) {
    mesh.beside_.hosts = gang.Split(tensor_rank);
    LIQUID_RETURN_IF_ERROR(mesh.CreateOnDevices(devices));
  }
  return mesh;
}

GangMesh GangMesh::CreateAlone(GangCommunicator& gang, int tensor_parallel,
                               const CreateGroupOfOne& create, Stream* beside) {
  LIQUID_CHECK(tensor_parallel >= 1 && gang.size() % tensor_parallel == 0, gang.size());
  GangMesh mesh;
  mesh.gang_ = &gang;
  const int tensor_rank = gang.rank() % tensor_parallel;
  const int replica = gang.rank() / tensor_parallel;
  const int num_replicas = gang.size() / tensor_parallel;
  mesh.tensor_.hosts = create(tensor_rank, tensor_parallel, 1);
  mesh.replicas_.hosts = create(replica, num_replicas, tensor_parallel);
  for (int size = 2; size < tensor_parallel; ++size) {
    if (tensor_parallel % size != 0) continue;
    mesh.holders_.push_back({create(tensor_rank % size, size, 1), nullptr});
  }
  if (beside == nullptr) return mesh;
  mesh.beside_.hosts = create(replica, num_replicas, tensor_parallel);
  mesh.beside_stream_ = beside;
  return mesh;
}

// All ranks of the gang go through the same groups in the same order.
absl::Status GangMesh::CreateOnDevices(const DeviceGroups& devices) {
  LIQUID_ASSIGN_OR_RETURN(tensor_.devices,
                          devices.create(*tensor_.hosts, *devices.stream, "a replica"));
  LIQUID_ASSIGN_OR_RETURN(replicas_.devices,
                          devices.create(*replicas_.hosts, *devices.stream, "replicas"));
  for (Group& group : holders_) {
    LIQUID_ASSIGN_OR_RETURN(group.devices,
                            devices.create(*group.hosts, *devices.stream, "a part's holders"));
  }
  LIQUID_ASSIGN_OR_RETURN(beside_.devices, devices.create(*beside_.hosts, *devices.beside,
                                                          "replicas, beside the backward"));
  beside_stream_ = devices.beside;
  return absl::OkStatus();
}

absl::Status GangMesh::Wait() const {
  absl::Status status = gang_->Wait(absl::InfiniteFuture());
  // First: the others' stream may wait for its stream.
  status.Update(beside().Wait(absl::InfiniteFuture()));
  status.Update(tensor().Wait(absl::InfiniteFuture()));
  status.Update(replicas().Wait(absl::InfiniteFuture()));
  for (const Group& group : holders_) status.Update(group.computing().Wait(absl::InfiniteFuture()));
  return status;
}

GangCommunicator* GangMesh::holders(int num_holders) const {
  if (num_holders == 1) return nullptr;
  if (num_holders == tensor_size()) return &tensor();
  for (const Group& group : holders_) {
    if (group.hosts->size() == num_holders) return &group.computing();
  }
  LIQUID_CHECK(false, num_holders, " holders of ", tensor_size(), " tensor ranks");
}

}  // namespace liquid
