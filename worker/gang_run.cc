#include "worker/gang_run.h"

#include <unistd.h>

#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/log.h"
#include "base/status.h"
#include "base/version.h"
#include "kernels/cpu/team.h"
#include "worker/checkpointing.h"
#include "worker/coordinator_client.h"
#include "worker/evaluation.h"
#include "worker/gang_member.h"
#include "worker/job_setup.h"
#include "worker/signals.h"
#include "worker/throughput.h"
#include "worker/train_state.h"
#include "worker/train_step.h"
#include "worker/trainer.h"

namespace liquid {
namespace {

constexpr absl::Duration kConnectTimeout = absl::Seconds(10);

// The leader's connection, and the job that every rank is told.
struct Entrance {
  std::unique_ptr<CoordinatorClient> client;  // on the leader
  OpenJobReply opened;
};

absl::StatusOr<Entrance> Enter(const std::string& coordinator, Communicator& world) {
  Entrance entrance;
  const auto open = [&]() -> absl::StatusOr<std::string> {
    LIQUID_ASSIGN_OR_RETURN(entrance.client,
                            CoordinatorClient::Connect(coordinator, kConnectTimeout));
    LIQUID_ASSIGN_OR_RETURN(const OpenJobReply opened, entrance.client->OpenJob());
    return opened.SerializeAsString();
  };
  absl::StatusOr<std::string> mine = world.rank() == 0 ? open() : std::string();
  LIQUID_ASSIGN_OR_RETURN(const std::string bytes, ShareFromLeader(world, std::move(mine)));
  LIQUID_CHECK(entrance.opened.ParseFromString(bytes));
  return entrance;
}

std::string HostAndPid() {
  char host[256] = "localhost";
  gethostname(host, sizeof(host) - 1);
  return absl::StrCat(host, ":", getpid());
}

double SumOverRanks(Communicator& world, double value) {
  world.AllReduceSum(TensorView(&value, DType::kF64, {1}));
  return value;
}

void SayGoodbye(CoordinatorClient* client, const absl::StatusOr<Leave::Reason>& result,
                int64_t applied_step) {
  if (client == nullptr) return;
  Leave leave;
  leave.set_reason(result.ok() ? *result : Leave::ERROR);
  if (!result.ok()) leave.set_error(result.status().ToString());
  leave.set_applied_step(applied_step);
  client->Leave(leave);
}

// The device of this rank and what lives on it.
struct Machine {
  std::unique_ptr<Device> device = CreateCpuDevice();
  std::unique_ptr<Stream> stream;
  std::unique_ptr<Ops> ops;
  std::unique_ptr<TensorPool> pool;
  std::unique_ptr<Model> model;
};

absl::StatusOr<Machine> CreateMachine(const Job& job, const JobData& data, Communicator& world) {
  Machine machine;
  LIQUID_ASSIGN_OR_RETURN(machine.stream, machine.device->CreateStream());
  machine.ops = CreateOps(*machine.stream);
  machine.pool = std::make_unique<TensorPool>(*machine.device);
  LIQUID_ASSIGN_OR_RETURN(machine.model, CreateJobModel(job, data, world, *machine.ops,
                                                        *machine.stream, *machine.pool));
  return machine;
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

Join MakeJoin(const Job& job, const TrainingState& origin, const JobData& data,
              const TrainState& state, const std::string& recipe, const Communicator& world) {
  Join join;
  join.set_name(HostAndPid());
  join.set_num_ranks(world.size());
  join.set_tensor_parallel(job.model().tensor_parallel());
  join.set_job_digest(origin.job_digest);
  join.set_dataset_digest(origin.dataset_digest);
  join.set_num_rows(data.train.num_rows());
  join.set_code_version(origin.code_version);
  join.set_recipe(recipe);
  join.set_applied_step(state.applied_step);
  join.set_fingerprint(state.fingerprint);
  join.set_num_parameters(NumParameters(state.model));
  return join;
}

// Collective: the coordinator's welcome, on every rank.
absl::StatusOr<Welcome> JoinJob(const Join& join, const Job& job, CoordinatorClient* client,
                                Communicator& world) {
  const auto ask = [&]() -> absl::StatusOr<std::string> {
    const absl::Duration heartbeat =
        absl::Seconds(job.coordinator().heartbeat_timeout_seconds()) / 4;
    LIQUID_ASSIGN_OR_RETURN(const Welcome welcome, client->Join(join, heartbeat));
    return welcome.SerializeAsString();
  };
  LIQUID_ASSIGN_OR_RETURN(
      const std::string bytes,
      ShareFromLeader(world, client != nullptr ? ask() : absl::StatusOr<std::string>("")));
  Welcome welcome;
  LIQUID_CHECK(welcome.ParseFromString(bytes));
  return welcome;
}

}  // namespace

absl::StatusOr<ExitCode> RunGang(const std::string& coordinator, Communicator& world,
                                 const GangRunOptions& options) {
  const int threads = SizeTeam(options.ranks_on_machine);
  LIQUID_ASSIGN_OR_RETURN(const Entrance entrance, Enter(coordinator, world));
  const Job& job = entrance.opened.job();
  if (entrance.opened.status().state() == DONE) {
    if (world.rank() == 0)
      LogInfo(job.job(), " is done: ", entrance.opened.status().step(), " steps");
    return ExitCode::kOk;
  }
  LIQUID_ASSIGN_OR_RETURN(const JobData data, PrepareJobData(job, world));
  LIQUID_ASSIGN_OR_RETURN(const Machine machine, CreateMachine(job, data, world));
  const JobStream stream(
      EpochOrder(job.training().seed(), data.train.num_rows(), job.data().shuffle()),
      job.training().epochs(), job.training().slots_per_step(), job.training().rows_per_slot());
  const TrainingState origin = OriginOf(entrance.opened, data);
  TrainState state(*machine.model, *machine.ops, *machine.pool);
  Checkpointing checkpointing(job, stream, origin, world);
  LIQUID_ASSIGN_OR_RETURN(const std::string restored,
                          checkpointing.Restore(entrance.opened.status().step(), state));
  if (restored.empty()) LIQUID_RETURN_IF_ERROR(SetStartingWeights(job, world, *machine.model));
  LIQUID_RETURN_IF_ERROR(UpdateFingerprint(state, world));
  const double peak_flops =
      SumOverRanks(world, MeasurePeakFlops(*machine.ops, *machine.stream, *machine.pool));

  LIQUID_ASSIGN_OR_RETURN(const std::string recipe, JobRecipe(job, *machine.ops, world));
  Join join = MakeJoin(job, origin, data, state, recipe, world);
  join.set_checkpoint(restored);
  join.set_manifest_digest(checkpointing.manifest_digest());
  LIQUID_ASSIGN_OR_RETURN(const Welcome welcome, JoinJob(join, job, entrance.client.get(), world));
  checkpointing.set_ledger_head(welcome.ledger_head());

  Progress progress(world.rank() == 0 ? options.progress : ProgressStyle::kNone, stdout,
                    stream.num_steps(), data.train.num_rows(), job.training().epochs());
  progress.Say(absl::StrFormat(
      "%s: %d steps of %d rows of %d tokens; %.2f M parameters; %d ranks of %d threads, peak %.0f "
      "GFLOP/s; generation %d; coordinator %s",
      job.job(), stream.num_steps(), stream.rows_per_step(), data.train.sequence_length(),
      static_cast<double>(join.num_parameters()) / 1e6, world.size(), threads, peak_flops / 1e9,
      welcome.generation(), coordinator));
  if (!restored.empty()) {
    progress.Say(absl::StrCat("resuming from checkpoint ", restored, ", step ", state.applied_step,
                              " of ", stream.num_steps()));
  }
  TrainStep step(job, stream, data.train, state, *machine.ops, *machine.stream, *machine.pool,
                 world, peak_flops);
  std::optional<Evaluation> evaluation;
  if (data.eval.has_value()) {
    evaluation.emplace(*data.eval, job.training().rows_per_slot(), state, world);
  }
  GangMember gang(world, entrance.client.get());
  Trainer trainer(gang, state, step, evaluation.has_value() ? &*evaluation : nullptr, checkpointing,
                  progress, options.max_steps);
  BeginGracefulSignals();
  const absl::StatusOr<Leave::Reason> result = trainer.Run();
  progress.Finish();
  SayGoodbye(entrance.client.get(), result, state.applied_step);
  if (!result.ok()) return result.status();
  return *result == Leave::PREEMPTED ? ExitCode::kPreempted : ExitCode::kOk;
}

}  // namespace liquid
