// The device of this rank and what lives on it.
#ifndef LIQUID_WORKER_WORKBENCH_H_
#define LIQUID_WORKER_WORKBENCH_H_

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/ops.h"
#include "model/model.h"
#include "parallel/gang_mesh.h"
#include "proto/job.pb.h"
#include "tensor/device.h"
#include "tensor/pool.h"
#include "worker/job_setup.h"

namespace liquid {

// Each stands on those before it.
struct Workbench {
  std::unique_ptr<GangMesh> mesh;
  std::unique_ptr<Device> device;
  std::unique_ptr<Stream> stream;
  std::unique_ptr<Ops> ops;
  std::unique_ptr<TensorPool> pool;
  std::unique_ptr<Model> model;
};

// Collective. The model's weights are not set. Errors as GangMesh::Create and CreateJobModel, the
// same on every rank.
absl::StatusOr<Workbench> CreateWorkbench(const Job& job, const JobData& data,
                                          GangCommunicator& world);

}  // namespace liquid

#endif  // LIQUID_WORKER_WORKBENCH_H_
