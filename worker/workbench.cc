#include "worker/workbench.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/exit_code.h"
#include "base/status.h"
#include "parallel/nccl/nccl_group.h"
#include "worker/coordinator_client.h"
#include "worker/gang_member.h"
#include "worker/gang_world.h"

namespace liquid {
namespace {

// In heartbeat timeouts: for all ranks of a gang to have come, the slowest to start included.
constexpr int kMeetTimeouts = CoordinatorClient::kRedialTimeouts;
// How long a rank that is asked who hangs has to answer.
constexpr absl::Duration kRollCall = absl::Seconds(2);

absl::StatusOr<std::unique_ptr<Device>> CreateGpu(int rank_on_machine, int ranks_on_machine) {
  LIQUID_ASSIGN_OR_RETURN(const int count, CountCudaDevices());
  if (ranks_on_machine > count) {
    return absl::UnavailableError(
        absl::StrCat(ranks_on_machine, " ranks on a machine with ", count,
                     " GPUs: each rank needs one of its own; start fewer with mpirun -n, or set "
                     "training.device: cpu"));
  }
  return CreateCudaDevice(rank_on_machine);
}

// Ranks that choose by themselves choose alike: a gang computes on one kind of device.
absl::StatusOr<bool> UsesGpus(const Job& job, int ranks_on_machine, GangCommunicator& world) {
  if (job.training().device() != "auto") return job.training().device() == "cuda";
  int64_t num_without = CountCudaDevices().value_or(0) >= ranks_on_machine ? 0 : 1;
  world.AllReduceSum(TensorView(&num_without, DType::kI64, {1}));
  LIQUID_RETURN_IF_ERROR(world.Wait(absl::InfiniteFuture()));
  return num_without == 0;
}

// Everything that waits derives from the job's one knob.
absl::Duration HeartbeatTimeouts(const Job& job, int count) {
  return count * absl::Seconds(job.coordinator().heartbeat_timeout_seconds());
}

// Collective in the gang, whose ranks are to make the next group together or not at all.
absl::StatusOr<std::unique_ptr<GangCommunicator>> CreateGroup(const Job& job, Communicator& world,
                                                              GangCommunicator& hosts,
                                                              Stream& stream,
                                                              const std::string& name) {
  NcclOptions options;
  options.name = name;
  options.deadline = absl::Now() + HeartbeatTimeouts(job, kMeetTimeouts);
  options.stall_timeout = HeartbeatTimeouts(job, GangWorld::kStallTimeouts);
  options.roll_call = [&hosts](const std::string& mine) { return hosts.RollCall(mine, kRollCall); };
  auto group = CreateNcclGroup(hosts, stream, std::move(options));
  LIQUID_RETURN_IF_ERROR(AgreeOn(world, group.status()));
  return group;
}

}  // namespace

absl::StatusOr<Workbench> CreateWorkbench(const Job& job, const JobData& data, int rank_on_machine,
                                          int ranks_on_machine, GangCommunicator& world) {
  Workbench bench;
  LIQUID_ASSIGN_OR_RETURN(const bool uses_gpus, UsesGpus(job, ranks_on_machine, world));
  const auto open = [&]() -> absl::Status {
    if (uses_gpus) {
      LIQUID_ASSIGN_OR_RETURN(bench.device, CreateGpu(rank_on_machine, ranks_on_machine));
      LIQUID_ASSIGN_OR_RETURN(bench.beside, bench.device->CreateStream());
    } else {
      bench.device = CreateCpuDevice();
    }
    LIQUID_ASSIGN_OR_RETURN(bench.stream, bench.device->CreateStream());
    return absl::OkStatus();
  };
  absl::Status opened = open();
  if (!opened.ok()) {
    opened = WithExitCode(Annotate(opened, "training.device: cuda"), ExitCode::kNoDevice);
  }
  LIQUID_RETURN_IF_ERROR(AgreeOn(world, opened));
  DeviceGroups groups;
  if (uses_gpus) {
    groups = {
        .stream = bench.stream.get(),
        .beside = bench.beside.get(),
        .create = [&job, &world](GangCommunicator& hosts, Stream& stream, const std::string& name) {
          return CreateGroup(job, world, hosts, stream, name);
        }};
  }
  auto mesh = GangMesh::Create(world, job.model().tensor_parallel(), groups);
  LIQUID_RETURN_IF_ERROR(mesh.status());
  bench.mesh = std::make_unique<GangMesh>(*std::move(mesh));
  bench.ops = CreateOps(*bench.stream);
  bench.pool = std::make_unique<TensorPool>(*bench.device);
  LIQUID_ASSIGN_OR_RETURN(
      bench.model, CreateJobModel(job, data, *bench.mesh, *bench.ops, *bench.stream, *bench.pool));
  return bench;
}

absl::StatusOr<std::unique_ptr<Communicator>> CreateDeviceRail(const Job& job, TcpGroup& hosts,
                                                               Stream& stream,
                                                               absl::Time deadline) {
  NcclOptions options;
  options.name = "the same rank of all gangs";
  options.deadline = deadline;
  options.stall_timeout = HeartbeatTimeouts(job, GangWorld::kStallTimeouts);
  options.peers_status = [&hosts] { return hosts.Look(); };
  return CreateNcclRail(hosts, stream, std::move(options));
}

}  // namespace liquid
