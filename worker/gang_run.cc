#include "worker/gang_run.h"

#include <unistd.h>

#include <atomic>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/host_address.h"
#include "base/log.h"
#include "base/status.h"
#include "base/version.h"
#include "data/prepare_report.h"
#include "kernels/cpu/team.h"
#include "model/weights.h"
#include "parallel/mpi/mpi_session.h"
#include "parallel/mpi/rank_watch.h"
#include "worker/checkpointing.h"
#include "worker/coordinator_client.h"
#include "worker/evaluation.h"
#include "worker/forecast.h"
#include "worker/gang_member.h"
#include "worker/gang_world.h"
#include "worker/job_setup.h"
#include "worker/memory_plan.h"
#include "worker/probe.h"
#include "worker/sample_answers.h"
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

// Collective: the state of the newest checkpoint of at most `max_step`, or of step 0. Adapters have
// their base model already.
absl::Status LoadNewestState(int64_t max_step, const Job& job, Checkpointing& checkpointing,
                             Communicator& world, TrainState& state) {
  LIQUID_ASSIGN_OR_RETURN(const std::string restored, checkpointing.Restore(max_step, state));
  if (restored.empty()) {
    if (state.model.adapter() != nullptr) {
      InitializeAdapters(job.training().seed(), state.model);
    } else {
      LIQUID_RETURN_IF_ERROR(SetStartingWeights(job, world, state.model));
    }
    state.Reset();
  }
  return UpdateFingerprint(state);
}

Join MakeJoin(const Job& job, const TrainingState& origin, const JobData& data,
              const JobStream& stream, const TrainState& state, const std::string& recipe,
              const Communicator& world) {
  Join join;
  join.set_host(HostName());
  join.set_name(absl::StrCat(join.host(), ":", getpid()));
  join.set_num_ranks(world.size());
  join.set_tensor_parallel(job.model().tensor_parallel());
  join.set_job_digest(origin.job_digest);
  join.set_dataset_digest(origin.dataset_digest);
  join.set_num_rows(data.train.num_rows());
  for (size_t i = 0; i < data.train.mixture().size(); ++i) {
    const RowSource source = stream.order().source(static_cast<int>(i));
    SourceRows& rows = *join.add_sources();
    rows.set_name(data.train.mixture()[i].name);
    rows.set_rows(source.num_rows);
    rows.set_draws(source.draws);
  }
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

std::string ParametersText(const Model& model) {
  const double trained = static_cast<double>(NumParameters(model)) / 1e6;
  double all = 0;
  for (const Parameter& parameter : model.parameters()) {
    all += static_cast<double>(parameter.shape.NumElements()) / 1e6;
  }
  if (trained > 0.99 * all) return absl::StrFormat("%.2f M parameters", trained);
  return absl::StrFormat("%.3g M of %.2f M parameters trained", trained, all);
}

std::string StartLine(const Job& job, const JobStream& stream, const JobData& data,
                      const Model& model, const Join& join, int threads, double peak_flops,
                      const std::string& coordinator) {
  return absl::StrFormat(
      "%s: %d steps of %d rows of %d tokens; %s; %d ranks of %d threads, peak %.0f "
      "GFLOP/s; coordinator %s",
      job.job(), stream.num_steps(), stream.rows_per_step(), data.train.sequence_length(),
      ParametersText(model), join.num_ranks(), threads, peak_flops / 1e9, coordinator);
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

// What RunGang does, in the order of the calls; all of them are collective.
class GangRun {
 public:
  GangRun(GangCommunicator& world, const GangRunOptions& options)
      : world_(world), options_(options), threads_(SizeTeam(options.ranks_on_machine)) {}

  absl::StatusOr<ExitCode> Run() {
    LIQUID_ASSIGN_OR_RETURN(entrance_, Enter(options_, world_));
    if (status().state() == DONE) {
      if (is_leader()) LogInfo(job().job(), " is done: ", status().step(), " steps");
      return ExitCode::kOk;
    }
    const RankWatch watch(WatchOptions());
    LIQUID_RETURN_IF_ERROR(Load());
    LIQUID_ASSIGN_OR_RETURN(const liquid::Join join, Introduce());
    LIQUID_RETURN_IF_ERROR(Join(join));
    const absl::StatusOr<Leave::Reason> result = Train();
    SayGoodbye(client(), result, state_->applied_step);
    if (!result.ok()) return result.status();
    return *result == Leave::PREEMPTED ? ExitCode::kPreempted : ExitCode::kOk;
  }

 private:
  bool is_leader() const { return world_.rank() == 0; }
  CoordinatorClient* client() const { return entrance_.client.get(); }
  const Job& job() const { return entrance_.opened.job(); }
  const JobStatus& status() const { return entrance_.opened.status(); }

  // A rank that falls silent ends its gang, which cannot go on without; other gangs can.
  RankWatch::Options WatchOptions() {
    const absl::Duration heartbeat = HeartbeatTimeout(job());
    const absl::Duration timeout = GangWorld::kStallTimeouts * heartbeat;
    return {.interval = heartbeat / CoordinatorClient::kHeartbeatsPerTimeout,
            .timeout = timeout,
            .on_silence = [this, timeout](int rank) {
              const absl::Status why = absl::UnavailableError(
                  absl::StrCat("rank ", rank, " has been silent for ",
                               absl::FormatDuration(timeout), ": it is frozen or cut off"));
              const auto code = static_cast<int>(ExitCodeOf(why));
              LogError(why.message(), " (exit code ", code, ")");
              if (has_joined_) SayGoodbye(client(), why, /*applied_step=*/-1);
              MpiSession::AbortAll(code);
            }};
  }

  // Data, model and, if nobody else has a newer one, the state.
  absl::Status Load() {
    LIQUID_ASSIGN_OR_RETURN(ports_, OpenDataPorts(options_, world_));
    LIQUID_ASSIGN_OR_RETURN(data_, PrepareJobData(job(), world_));
    memory_.program = ResidentBytes();
    LIQUID_ASSIGN_OR_RETURN(
        bench_, CreateWorkbench(job(), *data_, options_.rank_on_machine, world_,
                                [this](Device& device) { return CheckMemory(device); }));
    stream_.emplace(JobStreamOf(job(), data_->train));
    origin_ = OriginOf(entrance_.opened, *data_);
    state_.emplace(*bench_.model, *bench_.mesh, *bench_.ops, *bench_.pool);
    // A full slot, all of it scored, is done first: should memory not suffice, it is known now.
    LIQUID_ASSIGN_OR_RETURN(probe_, ProbeDigest(job(), data_->train, *state_));
    checkpointing_.emplace(job(), *stream_, origin_, world_);
    // While other gangs are at work the state is theirs: it comes from one of them.
    state_->applied_step = -1;
    const bool has_others = status().gangs_size() > 0;
    if (bench_.model->adapter() != nullptr || (has_others && HasFrozen(*bench_.model))) {
      LIQUID_RETURN_IF_ERROR(SetStartingWeights(job(), world_, *bench_.model));
    }
    if (!has_others) LIQUID_RETURN_IF_ERROR(LoadState(status().step()));
    LIQUID_RETURN_IF_ERROR(checkpointing_->Prepare(*state_));
    memory_.snapshot = checkpointing_->snapshot_bytes();
    return absl::OkStatus();
  }

  // Before anything is allocated on `device`: what this rank will take of it, and how long a step
  // will. The advice for a rank that runs out of memory all the same.
  absl::Status CheckMemory(Device& device) {
    Forecast::Options options;
    options.rank = {
        .rank = world_.rank(), .num_ranks = world_.size(), .has_others = status().gangs_size() > 0};
    options.ranks_on_machine = options_.ranks_on_machine;
    options.predicts_time = is_leader();
    LIQUID_ASSIGN_OR_RETURN(forecast_, MakeForecast(job(), device, options));
    const int64_t program = memory_.program;
    memory_ = forecast_.memory;
    memory_.program = program;
    return absl::OkStatus();
  }

  absl::Status LoadState(int64_t max_step) {
    return LoadNewestState(max_step, job(), *checkpointing_, world_, *state_);
  }

  // What this gang says of itself. Once a slot was computed: all that it needs has been chosen.
  absl::StatusOr<liquid::Join> Introduce() {
    LIQUID_ASSIGN_OR_RETURN(const std::string recipe, JobRecipe(job(), *bench_.ops, world_));
    liquid::Join join = MakeJoin(job(), origin_, *data_, *stream_, *state_, recipe, world_);
    join.set_probe(probe_);
    for (const std::string& address : ports_.addresses) join.add_data_addresses(address);
    if (const auto& restored = checkpointing_->restored(); restored.has_value()) {
      join.set_checkpoint(restored->directory());
      join.set_manifest_digest(restored->manifest_digest());
    }
    return join;
  }

  absl::Status Join(const liquid::Join& join) {
    LIQUID_ASSIGN_OR_RETURN(
        peak_flops_,
        SumOverRanks(world_, MeasurePeakFlops(PrecisionOf(job()), *bench_.ops, *bench_.stream)));
    LIQUID_ASSIGN_OR_RETURN(const Welcome welcome, JoinJob(join, job(), client(), world_));
    has_joined_ = true;
    checkpointing_->set_ledger_head(welcome.ledger_head());
    progress_.emplace(is_leader() ? options_.progress : ProgressStyle::kNone, stdout,
                      stream_->num_steps(), stream_->order().epoch_length(),
                      job().training().epochs());
    progress_->Say(StartLine(job(), *stream_, *data_, *bench_.model, join, threads_, peak_flops_,
                             options_.coordinator));
    for (const SourceRows& source : join.sources()) {
      progress_->Say(absl::StrCat("source ", source.name(), ": ", source.draws(),
                                  " rows of an epoch of ", stream_->order().epoch_length(),
                                  ", drawn from its ", source.rows()));
    }
    progress_->Say(memory_.ToString());
    progress_->Say(forecast_.TimeText());
    progress_->Say(TimeoutLine(job()));
    if (!join.checkpoint().empty()) {
      progress_->Say(absl::StrCat("resuming from checkpoint ", join.checkpoint(), ", step ",
                                  state_->applied_step, " of ", stream_->num_steps()));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Leave::Reason> Train() {
    TrainStep step(job(), *stream_, data_->train, *state_, *bench_.ops, *bench_.stream,
                   *bench_.pool, peak_flops_, options_.faults);
    std::optional<Evaluation> evaluation;
    if (data_->eval.has_value()) {
      evaluation.emplace(*data_->eval, job().training().rows_per_slot(), *state_);
    }
    LIQUID_ASSIGN_OR_RETURN(const std::unique_ptr<SampleAnswers> samples,
                            SampleAnswers::Create(job(), world_, *state_));
    GangMember gang(world_, client(), options_.leave_by);
    GangWorld gang_world(*ports_.mine, options_.sentinel, DeviceRails(), origin_.job_digest,
                         job().training().slots_per_step(), HeartbeatTimeout(job()));
    if (is_leader()) {
      client()->SetInterrupt(
          [&gang_world](int64_t generation) { gang_world.Interrupt(generation); });
    }
    Trainer trainer({.gang = gang,
                     .world = gang_world,
                     .state = *state_,
                     .step = step,
                     .evaluation = evaluation.has_value() ? &*evaluation : nullptr,
                     .samples = samples.get(),
                     .checkpointing = *checkpointing_,
                     .progress = *progress_,
                     .faults = options_.faults,
                     .load_state = [this](int64_t max_step) { return LoadState(max_step); },
                     .num_steps = stream_->num_steps(),
                     .max_steps = options_.max_steps,
                     .leave_timeout = kLeaveTimeout,
                     .trouble_timeout = HeartbeatTimeout(job())});
    BeginGracefulSignals();
    const absl::StatusOr<Leave::Reason> result = trainer.Run();
    progress_->Finish();
    if (progress_->seconds_per_step() > 0) {
      progress_->Say(forecast_.ComparisonText(bench_.pool->allocated_bytes() +
                                                  bench_.model->activations().allocated_bytes() +
                                                  bench_.ops->WorkspaceBytes(),
                                              progress_->seconds_per_step()));
    }
    if (result.ok() && *result != Leave::PREEMPTED) SayWhatWasLeftOut();
    if (is_leader()) client()->SetInterrupt(nullptr);
    return result;
  }

  // Of the training data, once more when all of it has been trained.
  void SayWhatWasLeftOut() {
    const absl::StatusOr<PrepareReport> report = ReportOf(data_->train);
    if (!report.ok()) return;
    const std::string text = LeftOutText(*report);
    if (!text.empty()) progress_->Say(absl::StrCat("training data:", text));
  }

  // Null where gangs exchange by their hosts.
  GangWorld::CreateDeviceRail DeviceRails() {
    if (bench_.beside == nullptr) return nullptr;
    return [this](TcpGroup& hosts, absl::Time deadline) {
      return CreateDeviceRail(job(), hosts, *bench_.stream, deadline);
    };
  }

  GangCommunicator& world_;
  const GangRunOptions& options_;
  const int threads_;
  Entrance entrance_;
  std::atomic<bool> has_joined_ = false;
  DataPorts ports_;
  std::optional<JobData> data_;
  Workbench bench_;
  std::optional<JobStream> stream_;
  TrainingState origin_;
  std::optional<TrainState> state_;
  Forecast forecast_;
  MemoryPlan memory_;
  std::string probe_;
  std::optional<Checkpointing> checkpointing_;
  double peak_flops_ = 0;
  std::optional<ProgressView> progress_;
};

}  // namespace

absl::StatusOr<ExitCode> RunGang(GangCommunicator& world, const GangRunOptions& options) {
  return GangRun(world, options).Run();
}

}  // namespace liquid
