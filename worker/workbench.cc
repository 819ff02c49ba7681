#include "worker/workbench.h"

#include <utility>

#include "base/status.h"
#include "worker/gang_member.h"

namespace liquid {

absl::StatusOr<Workbench> CreateWorkbench(const Job& job, const JobData& data,
                                          Communicator& world) {
  Workbench bench;
  bench.device = CreateCpuDevice();
  auto stream = bench.device->CreateStream();
  LIQUID_RETURN_IF_ERROR(AgreeOn(world, stream.status()));
  bench.stream = *std::move(stream);
  bench.ops = CreateOps(*bench.stream);
  bench.pool = std::make_unique<TensorPool>(*bench.device);
  LIQUID_ASSIGN_OR_RETURN(bench.model,
                          CreateJobModel(job, data, world, *bench.ops, *bench.stream, *bench.pool));
  return bench;
}

}  // namespace liquid
