#include "worker/workbench.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/exit_code.h"
#include "base/log.h"
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

// Collective: the GPU of this rank. All ranks of a machine may see all of its GPUs, or, as batch
// systems do it, each rank its own. The same error on every rank if one has none to itself.
absl::StatusOr<std::unique_ptr<Device>> CreateGpu(int rank_on_machine, GangCommunicator& world) {
  const auto create = [&]() -> absl::StatusOr<std::unique_ptr<Device>> {
    LIQUID_ASSIGN_OR_RETURN(const int count, CountCudaDevices());
    return CreateCudaDevice(rank_on_machine % count);
  };
  auto mine = create();
  LIQUID_RETURN_IF_ERROR(AgreeOn(world, mine.status()));
  LIQUID_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                          world.AllGatherMessages((*mine)->name()));
  std::map<std::string, size_t> rank_of;
  for (size_t rank = 0; rank < names.size(); ++rank) {
    const auto [other, is_new] = rank_of.emplace(names[rank], rank);
    if (is_new) continue;
    return absl::UnavailableError(
        absl::StrCat("ranks ", other->second, " and ", rank, " would share ", names[rank],
                     ": each rank needs a GPU of its own; start fewer with mpirun -n, or set "
                     "training.device: cpu"));
  }
  return mine;
}

// Collective: what training.device says. The error is that of CreateGpu, marked kNoDevice.
absl::StatusOr<std::unique_ptr<Device>> CreateDevice(const Job& job, int rank_on_machine,
                                                     GangCommunicator& world) {
  if (job.training().device() == "cpu") return CreateCpuDevice();
  auto gpu = CreateGpu(rank_on_machine, world);
  if (gpu.ok()) return gpu;
  if (job.training().device() == "cuda") {
    return WithExitCode(Annotate(gpu.status(), "training.device: cuda"), ExitCode::kNoDevice);
  }
  const bool has_one = CountCudaDevices().ok();
  LIQUID_ASSIGN_OR_RETURN(const std::vector<std::string> have_one,
                          world.AllGatherMessages(has_one ? "yes" : ""));
  if (world.rank() == 0 && std::count(have_one.begin(), have_one.end(), "yes") > 0) {
    LogWarning("training.device: auto: computing on CPUs, since ", gpu.status().message());
  }
  return CreateCpuDevice();
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

absl::StatusOr<Workbench> CreateWorkbench(
    const Job& job, const JobData& data, int rank_on_machine, GangCommunicator& world,
    const std::function<absl::Status(Device& device)>& before_model) {
  Workbench bench;
  LIQUID_ASSIGN_OR_RETURN(bench.device, CreateDevice(job, rank_on_machine, world));
  if (before_model != nullptr) {
    LIQUID_RETURN_IF_ERROR(AgreeOn(world, before_model(*bench.device)));
  }
  const bool uses_gpus = bench.device->type() == DeviceType::kCuda;
  const auto open = [&]() -> absl::Status {
    LIQUID_ASSIGN_OR_RETURN(bench.stream, bench.device->CreateStream());
    if (!uses_gpus) return absl::OkStatus();
    LIQUID_ASSIGN_OR_RETURN(bench.beside, bench.device->CreateStream());
    return absl::OkStatus();
  };
  LIQUID_RETURN_IF_ERROR(AgreeOn(world, open()));
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
