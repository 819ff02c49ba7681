#include "worker/replay.h"

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/exit_code.h"
#include "base/status.h"
#include "base/version.h"
#include "kernels/cpu/team.h"
#include "worker/checkpointing.h"
#include "worker/gang_member.h"
#include "worker/train_state.h"
#include "worker/train_step.h"
#include "worker/workbench.h"

namespace liquid {
namespace {

Plan WholeStep(const Job& job, int64_t step) {
  Plan plan;
  plan.set_step(step);
  plan.add_slots()->set_end(job.training().slots_per_step());
  return plan;
}

// On rank 0.
absl::Status Compare(const ReplayOptions& options, int64_t step, const std::string& fingerprint) {
  LIQUID_ASSIGN_OR_RETURN(const std::string recorded, options.fingerprint_of(step));
  if (recorded == fingerprint) {
    absl::PrintF("step %d: %s, as in the ledger\n", step, fingerprint);
    std::fflush(stdout);
    return absl::OkStatus();
  }
  return WithExitCode(absl::DataLossError(absl::StrCat(
                          "step ", step, " comes out as ", fingerprint, ", the ledger has ",
                          recorded, ": look for another build, another machine or bad memory")),
                      ExitCode::kDivergence);
}

}  // namespace

absl::Status Replay(GangCommunicator& world, const ReplayOptions& options) {
  SizeTeam(options.ranks_on_machine);
  Job job = options.job;
  LIQUID_ASSIGN_OR_RETURN(const JobData data, PrepareJobData(job, world));
  LIQUID_ASSIGN_OR_RETURN(const Workbench bench,
                          CreateWorkbench(job, data, options.rank_on_machine, world));
  const JobStream stream = JobStreamOf(job, data.train);
  TrainingState origin;
  origin.job_digest = options.job_digest;
  origin.dataset_digest = ToHex(data.train.digest());
  TrainState state(*bench.model, *bench.mesh, *bench.ops, *bench.pool);
  if (options.from == "start") {
    LIQUID_RETURN_IF_ERROR(SetStartingWeights(job, world, *bench.model));
    state.Reset();
  } else {
    if (bench.model->adapter() != nullptr) {
      LIQUID_RETURN_IF_ERROR(SetStartingWeights(job, world, *bench.model));
    }
    job.mutable_checkpoint()->set_resume(options.from);
    Checkpointing checkpointing(job, stream, origin, world);
    LIQUID_RETURN_IF_ERROR(checkpointing.Restore(options.to_step, state).status());
  }
  LIQUID_RETURN_IF_ERROR(UpdateFingerprint(state));
  if (options.to_step < state.applied_step || options.to_step > stream.num_steps()) {
    return absl::InvalidArgumentError(absl::StrCat("--to-step ", options.to_step, ": ",
                                                   options.from, " is of step ", state.applied_step,
                                                   ", the job has ", stream.num_steps(), " steps"));
  }
  TrainStep step(job, stream, data.train, state, *bench.ops, *bench.stream, *bench.pool,
                 /*peak_flops=*/0);
  const auto agree = [&]() {
    return AgreeOn(world, world.rank() == 0
                              ? Compare(options, state.applied_step, state.fingerprint)
                              : absl::OkStatus());
  };
  LIQUID_RETURN_IF_ERROR(agree());
  while (state.applied_step < options.to_step) {
    LIQUID_RETURN_IF_ERROR(step.Take(WholeStep(job, state.applied_step + 1)));
    while (step.slots().num_left() > 0) LIQUID_RETURN_IF_ERROR(step.ComputeRound());
    LIQUID_RETURN_IF_ERROR(step.Finish(/*rail=*/nullptr).status());
    LIQUID_RETURN_IF_ERROR(agree());
  }
  return absl::OkStatus();
}

}  // namespace liquid
