// How the ranks of a gang are arranged: replicas, each of which holds one whole model, spread over
// its tensor-parallel ranks.
#ifndef LIQUID_PARALLEL_GANG_MESH_H_
#define LIQUID_PARALLEL_GANG_MESH_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "parallel/gang_communicator.h"
#include "tensor/device.h"

namespace liquid {

// How groups for the memory of devices are made of groups of their hosts.
struct DeviceGroups {
  Stream* stream = nullptr;  // where the ranks compute
  Stream* beside = nullptr;  // for reductions that run beside it
  // Collective among `hosts`, which outlives the result. Fails on every rank of the gang or on
  // none. `name` is for errors.
  std::function<absl::StatusOr<std::unique_ptr<GangCommunicator>>(
      GangCommunicator& hosts, Stream& stream, const std::string& name)>
      create;
};

// Rank r of the gang is tensor rank r mod T of replica r / T, so that the ranks of a replica, which
// talk most, are neighbours.
class GangMesh {
 public:
  // Collective. `gang`, whose tensors are in the hosts' memory, must outlive this. Without
  // `devices` the ranks compute there too. InvalidArgument, with the arithmetic, if the gang's size
  // is not a multiple of `tensor_parallel`; or as devices.create.
  static absl::StatusOr<GangMesh> Create(GangCommunicator& gang, int tensor_parallel,
                                         const DeviceGroups& devices = {});

  // One rank's place in a mesh whose other ranks are not there, for a plan: `create` makes a group
  // of `size` ranks, neighbours of which are `stride` ranks of the gang apart, as its rank `rank`
  // sees it. REQUIRES: a gang of a multiple of `tensor_parallel` ranks.
  using CreateGroupOfOne =
      std::function<std::unique_ptr<GangCommunicator>(int rank, int size, int stride)>;
  static GangMesh CreateAlone(GangCommunicator& gang, int tensor_parallel,
                              const CreateGroupOfOne& create, Stream* beside);

  // --- For the hosts' memory.
  GangCommunicator& gang() const { return *gang_; }
  // The ranks of this one's replica.
  GangCommunicator& tensor_hosts() const { return *tensor_.hosts; }

  // --- For the memory that the ranks compute in.
  // The ranks of this one's replica: its rank is the tensor rank.
  GangCommunicator& tensor() const { return tensor_.computing(); }
  // The ranks with this one's tensor rank: its rank is the replica's number.
  GangCommunicator& replicas() const { return replicas_.computing(); }
  // Tensor ranks h i .. h i + h - 1 of this replica, this one among them: those that hold the same
  // part of a parameter which is held `num_holders` (h) times. A divisor of T; null for 1.
  GangCommunicator* holders(int num_holders) const;
  // The replicas once more, for reductions beside the computing; and their stream: none where
  // collectives block, and so run in a thread of their own.
  GangCommunicator& beside() const {
    return beside_.hosts != nullptr ? beside_.computing() : replicas();
  }
  Stream* beside_stream() const { return beside_stream_; }

  // As Communicator::Wait, of all groups: the first failure of any.
  absl::Status Wait() const;

  int num_replicas() const { return replicas_.hosts->size(); }
  int replica() const { return replicas_.hosts->rank(); }
  int tensor_size() const { return tensor_.hosts->size(); }
  int tensor_rank() const { return tensor_.hosts->rank(); }

 private:
  // The same ranks, twice where they have devices.
  struct Group {
    std::unique_ptr<GangCommunicator> hosts;
    std::unique_ptr<GangCommunicator> devices;
    GangCommunicator& computing() const { return devices != nullptr ? *devices : *hosts; }
  };

  GangMesh() = default;
  absl::Status CreateOnDevices(const DeviceGroups& devices);

  GangCommunicator* gang_ = nullptr;
  Group tensor_;
  Group replicas_;
  std::vector<Group> holders_;  // by their size
  Group beside_;                // of no one without devices
  Stream* beside_stream_ = nullptr;
};

}  // namespace liquid

#endif  // LIQUID_PARALLEL_GANG_MESH_H_
