// The device of this rank and what lives on it.
#ifndef LIQUID_WORKER_WORKBENCH_H_
#define LIQUID_WORKER_WORKBENCH_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "kernels/ops.h"
#include "model/model.h"
#include "parallel/gang_mesh.h"
#include "parallel/tcp/tcp_group.h"
#include "proto/job.pb.h"
#include "tensor/device.h"
#include "tensor/pool.h"
#include "worker/job_setup.h"

namespace liquid {

// Each stands on those before it.
struct Workbench {
  std::unique_ptr<Device> device;
  std::unique_ptr<Stream> stream;
  std::unique_ptr<Stream> beside;  // for reductions beside the backward; null on a CPU
  std::unique_ptr<GangMesh> mesh;
  std::unique_ptr<Ops> ops;
  std::unique_ptr<TensorPool> pool;
  std::unique_ptr<Model> model;
};

// Collective. The device is what training.device says: a CPU, or the GPU with this rank's number
// among the ranks on its machine (modulo the number of GPUs that it sees). The model's weights are
// not set. Unavailable, marked kNoDevice, if a rank has no GPU to itself; else errors as
// GangMesh::Create and CreateJobModel: the same on every rank.
// `before_model`, if given, is called when there is a device and nothing on it; its error is that
// of the first rank that has one.
absl::StatusOr<Workbench> CreateWorkbench(
    const Job& job, const JobData& data, int rank_on_machine, GangCommunicator& world,
    const std::function<absl::Status(Device& device)>& before_model = nullptr);

// Collective among the gangs of a generation: this rank's rail for the memory of its device, among
// the ranks of `hosts`. What those report while it waits ends the wait.
absl::StatusOr<std::unique_ptr<Communicator>> CreateDeviceRail(const Job& job, TcpGroup& hosts,
                                                               Stream& stream, absl::Time deadline);

}  // namespace liquid

#endif  // LIQUID_WORKER_WORKBENCH_H_
