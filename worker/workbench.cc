#include "worker/workbench.h"

#include <utility>

#include "base/status.h"
#include "worker/gang_member.h"

namespace liquid {

absl::StatusOr<Workbench> CreateWorkbench(const Job& job, const JobData& data,
                                          GangCommunicator& world) {
  Workbench bench;
  LIQUID_ASSIGN_OR_RETURN(GangMesh mesh, GangMesh::Create(world, job.model().tensor_parallel()));
  bench.mesh = std::make_unique<GangMesh>(std::move(mesh));
  bench.device = CreateCpuDevice();
  auto stream = bench.device->CreateStream();
  LIQUID_RETURN_IF_ERROR(AgreeOn(world, stream.status()));
  bench.stream = *std::move(stream);
  bench.ops = CreateOps(*bench.stream);
  bench.pool = std::make_unique<TensorPool>(*bench.device);
  LIQUID_ASSIGN_OR_RETURN(
      bench.model, CreateJobModel(job, data, *bench.mesh, *bench.ops, *bench.stream, *bench.pool));
  return bench;
}

}  // namespace liquid
