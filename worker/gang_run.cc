#include "worker/gang_run.h"

#include <unistd.h>

#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/host_address.h"
#include "base/log.h"
#include "base/status.h"
#include "base/version.h"
#include "kernels/cpu/team.h"
#include "worker/checkpointing.h"
#include "worker/coordinator_client.h"
#include "worker/evaluation.h"
#include "worker/gang_member.h"
#include "worker/gang_world.h"
#include "worker/job_setup.h"
#include "worker/memory_plan.h"
#include "worker/probe.h"
#include "worker/signals.h"
#include "worker/throughput.h"
#include "worker/train_state.h"
#include "worker/train_step.h"
#include "worker/trainer.h"
#include "worker/workbench.h"

namespace liquid {
namespace {

// How long a gang that was asked to go waits for the others to let it. Launchers kill after 30 s.
constexpr absl::Duration kLeaveTimeout = absl::Seconds(25);

// The leader's connection, and the job that every rank is told.
struct Entrance {
  std::unique_ptr<CoordinatorClient> client;  // on the leader
  OpenJobReply opened;
};

absl::StatusOr<Entrance> Enter(const GangRunOptions& options, Communicator& world) {
  Entrance entrance;
  const auto open = [&]() -> absl::StatusOr<std::string> {
    LIQUID_ASSIGN_OR_RETURN(entrance.client,
                            CoordinatorClient::Connect({.address = options.coordinator,
                                                        .token = options.token,
                                                        .sentinel = options.sentinel}));
    LIQUID_ASSIGN_OR_RETURN(const OpenJobReply opened, entrance.client->OpenJob());
    return opened.SerializeAsString();
  };
  absl::StatusOr<std::string> mine = world.rank() == 0 ? open() : std::string();
  LIQUID_ASSIGN_OR_RETURN(const std::string bytes, ShareFromLeader(world, std::move(mine)));
  LIQUID_CHECK(entrance.opened.ParseFromString(bytes));
  return entrance;
}

absl::StatusOr<double> SumOverRanks(Communicator& world, double value) {
  world.AllReduceSum(TensorView(&value, DType::kF64, {1}));
  LIQUID_RETURN_IF_ERROR(world.Wait(absl::InfiniteFuture()));
  return value;
}

void SayGoodbye(CoordinatorClient* client, const absl::StatusOr<Leave::Reason>& result,
                int64_t applied_step) {
  if (client == nullptr) return;
  Leave leave;
  leave.set_reason(result.ok() ? *result : Leave::ERROR);
  if (!result.ok()) {
    leave.set_error(std::string(result.status().message()));
    leave.set_exit_code(static_cast<int>(ExitCodeOf(result.status())));
  }
  leave.set_applied_step(applied_step);
  client->Leave(leave);
}

TrainingState OriginOf(const OpenJobReply& opened, const JobData& data) {
  TrainingState origin;
  origin.seed = opened.job().training().seed();
  origin.job = opened.job().job();
  origin.job_digest = opened.job_digest();
  origin.dataset_digest = ToHex(data.train.digest());
  origin.code_version = CodeVersion();
  return origin;
}

// Collective: every rank's data port, and all their addresses by rank.
struct DataPorts {
  std::unique_ptr<DataPort> mine;
  std::vector<std::string> addresses;
};

absl::StatusOr<DataPorts> OpenDataPorts(const GangRunOptions& options, Communicator& world) {
  auto port = DataPort::Open(options.data_host.empty() ? AddressTowards(options.coordinator)
                                                       : options.data_host);
  LIQUID_RETURN_IF_ERROR(AgreeOn(world, port.status()));
  DataPorts ports;
  ports.mine = *std::move(port);
  LIQUID_ASSIGN_OR_RETURN(ports.addresses, world.AllGatherMessages(ports.mine->address()));
  return ports;
}

// Collective: the state of the newest checkpoint of at most `max_step`, or of step 0.
absl::Status LoadNewestState(int64_t max_step, const Job& job, Checkpointing& checkpointing,
                             Communicator& world, TrainState& state) {
  LIQUID_ASSIGN_OR_RETURN(const std::string restored, checkpointing.Restore(max_step, state));
  if (restored.empty()) {
    LIQUID_RETURN_IF_ERROR(SetStartingWeights(job, world, state.model));
    state.Reset();
  }
  return UpdateFingerprint(state);
}

Join MakeJoin(const Job& job, const TrainingState& origin, const JobData& data,
              const TrainState& state, const std::string& recipe, const Communicator& world) {
  Join join;
  join.set_host(HostName());
  join.set_name(absl::StrCat(join.host(), ":", getpid()));
  join.set_num_ranks(world.size());
  join.set_tensor_parallel(job.model().tensor_parallel());
  join.set_job_digest(origin.job_digest);
  join.set_dataset_digest(origin.dataset_digest);
  join.set_num_rows(data.train.num_rows());
  join.set_code_version(origin.code_version);
  join.set_recipe(recipe);
  join.set_applied_step(state.applied_step);
  if (state.applied_step >= 0) join.set_fingerprint(state.fingerprint);
  join.set_num_parameters(NumParameters(state.model));
  return join;
}

absl::Duration HeartbeatTimeout(const Job& job) {
  return absl::Seconds(job.coordinator().heartbeat_timeout_seconds());
}

// Collective: the coordinator's welcome, on every rank.
absl::StatusOr<Welcome> JoinJob(const Join& join, const Job& job, CoordinatorClient* client,
                                Communicator& world) {
  const auto ask = [&]() -> absl::StatusOr<std::string> {
    LIQUID_ASSIGN_OR_RETURN(const Welcome welcome,
                            client->Join(join, HeartbeatTimeout(job), job.output()));
    return welcome.SerializeAsString();
  };
  LIQUID_ASSIGN_OR_RETURN(
      const std::string bytes,
      ShareFromLeader(world, client != nullptr ? ask() : absl::StatusOr<std::string>("")));
  Welcome welcome;
  LIQUID_CHECK(welcome.ParseFromString(bytes));
  return welcome;
}

std::string StartLine(const Job& job, const JobStream& stream, const JobData& data,
                      const Join& join, int threads, double peak_flops,
                      const std::string& coordinator) {
  return absl::StrFormat(
      "%s: %d steps of %d rows of %d tokens; %.2f M parameters; %d ranks of %d threads, peak %.0f "
      "GFLOP/s; coordinator %s",
      job.job(), stream.num_steps(), stream.rows_per_step(), data.train.sequence_length(),
      static_cast<double>(join.num_parameters()) / 1e6, join.num_ranks(), threads, peak_flops / 1e9,
      coordinator);
}

// Everything that this gang waits for, shortest first; all of it derives from the job's one knob.
std::string TimeoutLine(const Job& job) {
  const absl::Duration heartbeat = HeartbeatTimeout(job);
  const auto text = [](absl::Duration time) { return absl::FormatDuration(time); };
  return absl::StrCat(
      "timeouts: a heartbeat every ", text(heartbeat / CoordinatorClient::kHeartbeatsPerTimeout),
      "; silent gangs are gone after ", text(heartbeat), "; connections stand within ",
      text(GangWorld::kFormTimeouts * heartbeat), "; an exchange stalls after ",
      text(GangWorld::kStallTimeouts * heartbeat), "; a lost coordinator is dialled for ",
      text(CoordinatorClient::kRedialTimeouts * heartbeat));
}

}  // namespace

absl::StatusOr<ExitCode> RunGang(GangCommunicator& world, const GangRunOptions& options) {
  const int threads = SizeTeam(options.ranks_on_machine);
  LIQUID_ASSIGN_OR_RETURN(const Entrance entrance, Enter(options, world));
  const Job& job = entrance.opened.job();
  if (entrance.opened.status().state() == DONE) {
    if (world.rank() == 0)
      LogInfo(job.job(), " is done: ", entrance.opened.status().step(), " steps");
    return ExitCode::kOk;
  }
  LIQUID_ASSIGN_OR_RETURN(const DataPorts ports, OpenDataPorts(options, world));
  LIQUID_ASSIGN_OR_RETURN(const JobData data, PrepareJobData(job, world));
  const int64_t program_bytes = ResidentBytes();
  LIQUID_ASSIGN_OR_RETURN(const Workbench bench, CreateWorkbench(job, data, options.rank_on_machine,
                                                                 options.ranks_on_machine, world));
  const JobStream stream = JobStreamOf(job, data.train);
  const TrainingState origin = OriginOf(entrance.opened, data);
  TrainState state(*bench.model, *bench.mesh, *bench.ops, *bench.pool);
  MemoryPlan memory =
      PlanState(bench.model->layout(), PrecisionOf(job), SumOptionsOf(job, *bench.model),
                entrance.opened.status().gangs_size() > 0);
  std::string probe;
  const auto compute_probe = [&]() -> absl::Status {
    LIQUID_ASSIGN_OR_RETURN(probe, ProbeDigest(job, data.train, state));
    return absl::OkStatus();
  };
  LIQUID_RETURN_IF_ERROR(
      MeasureSlot(bench.model->activations(), *bench.ops, compute_probe, &memory));
  // Once all that a slot needs was chosen.
  LIQUID_ASSIGN_OR_RETURN(const std::string recipe, JobRecipe(job, *bench.ops, world));
  memory.program = program_bytes;
  Checkpointing checkpointing(job, stream, origin, world);
  const auto load_state = [&](int64_t max_step) {
    return LoadNewestState(max_step, job, checkpointing, world, state);
  };
  // While other gangs are at work the state is theirs: it comes from one of them.
  state.applied_step = -1;
  if (entrance.opened.status().gangs_size() == 0) {
    LIQUID_RETURN_IF_ERROR(load_state(entrance.opened.status().step()));
  }
  LIQUID_RETURN_IF_ERROR(checkpointing.Prepare(state));
  memory.snapshot = checkpointing.snapshot_bytes();
  LIQUID_ASSIGN_OR_RETURN(
      const double peak_flops,
      SumOverRanks(world, MeasurePeakFlops(PrecisionOf(job), *bench.ops, *bench.stream)));

  Join join = MakeJoin(job, origin, data, state, recipe, world);
  join.set_probe(probe);
  for (const std::string& address : ports.addresses) join.add_data_addresses(address);
  if (checkpointing.restored().has_value()) {
    join.set_checkpoint(checkpointing.restored()->directory());
    join.set_manifest_digest(checkpointing.restored()->manifest_digest());
  }
  LIQUID_ASSIGN_OR_RETURN(const Welcome welcome, JoinJob(join, job, entrance.client.get(), world));
  checkpointing.set_ledger_head(welcome.ledger_head());

  ProgressView progress(world.rank() == 0 ? options.progress : ProgressStyle::kNone, stdout,
                        stream.num_steps(), data.train.num_rows(), job.training().epochs());
  progress.Say(StartLine(job, stream, data, join, threads, peak_flops, options.coordinator));
  progress.Say(memory.ToString());
  progress.Say(TimeoutLine(job));
  if (!join.checkpoint().empty()) {
    progress.Say(absl::StrCat("resuming from checkpoint ", join.checkpoint(), ", step ",
                              state.applied_step, " of ", stream.num_steps()));
  }
  TrainStep step(job, stream, data.train, state, *bench.ops, *bench.stream, *bench.pool, peak_flops,
                 options.faults);
  std::optional<Evaluation> evaluation;
  if (data.eval.has_value()) {
    evaluation.emplace(*data.eval, job.training().rows_per_slot(), state);
  }
  GangMember gang(world, entrance.client.get(), options.leave_by);
  GangWorld::CreateDeviceRail create_device_rail;
  if (bench.beside != nullptr) {
    create_device_rail = [&](TcpGroup& hosts, absl::Time deadline) {
      return CreateDeviceRail(job, hosts, *bench.stream, deadline);
    };
  }
  GangWorld gang_world(*ports.mine, options.sentinel, std::move(create_device_rail),
                       origin.job_digest, job.training().slots_per_step(), HeartbeatTimeout(job));
  if (entrance.client != nullptr) {
    entrance.client->SetInterrupt(
        [&gang_world](int64_t generation) { gang_world.Interrupt(generation); });
  }
  Trainer trainer({.gang = gang,
                   .world = gang_world,
                   .state = state,
                   .step = step,
                   .evaluation = evaluation.has_value() ? &*evaluation : nullptr,
                   .checkpointing = checkpointing,
                   .progress = progress,
                   .faults = options.faults,
                   .load_state = load_state,
                   .num_steps = stream.num_steps(),
                   .max_steps = options.max_steps,
                   .leave_timeout = kLeaveTimeout,
                   .trouble_timeout = HeartbeatTimeout(job)});
  BeginGracefulSignals();
  const absl::StatusOr<Leave::Reason> result = trainer.Run();
  progress.Finish();
  if (entrance.client != nullptr) entrance.client->SetInterrupt(nullptr);
  SayGoodbye(entrance.client.get(), result, state.applied_step);
  if (!result.ok()) return result.status();
  return *result == Leave::PREEMPTED ? ExitCode::kPreempted : ExitCode::kOk;
}

}  // namespace liquid
