// The trainer's checkpoints: when a save begins, what waits for it, and what is said of it.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/status.h"
#include "worker/signals.h"
#include "worker/trainer.h"

namespace liquid {

// The save that is being made goes on beside training.
absl::Status Trainer::AttendToSave(const GangMember::Tick& tick) {
  if (!parts_.checkpointing.is_saving()) return absl::OkStatus();
  if (tick.save_is_committed) parts_.checkpointing.SetCommitted();
  if (!tick.saved.has_value()) return absl::OkStatus();
  parts_.faults.Linger("saving", parts_.checkpointing.saving_step());
  LIQUID_ASSIGN_OR_RETURN(const std::optional<SaveResult> result,
                          parts_.checkpointing.Advance(*tick.saved));
  if (result.has_value()) ReportSave(*result);
  return absl::OkStatus();
}

// Waits for it. Its failure, or Aborted if a regroup comes first: then it is still being made.
absl::StatusOr<SaveResult> Trainer::FinishSave() {
  if (!parts_.checkpointing.is_saving()) return SaveResult();
  const int64_t step = parts_.checkpointing.saving_step();
  const auto may_publish = [this, step]() -> absl::Status {
    parts_.faults.Linger("saving", step);
    const absl::Time deadline = absl::Now() + parts_.leave_timeout;
    return parts_.gang.client()->WaitCommitted(step, [this, deadline] {
      return (asked_to_leave_ || StopRequested()) && absl::Now() > std::min(leave_at_, deadline);
    });
  };
  LIQUID_ASSIGN_OR_RETURN(SaveResult result, parts_.checkpointing.Finish(may_publish));
  if (!absl::IsAborted(result.failure)) ReportSave(result);
  return result;
}

absl::StatusOr<SaveResult> Trainer::BeginSave() {
  LIQUID_ASSIGN_OR_RETURN(SaveResult earlier, FinishSave());
  if (absl::IsAborted(earlier.failure)) return earlier;
  LIQUID_ASSIGN_OR_RETURN(const bool begun, parts_.checkpointing.Begin(parts_.state));
  if (!begun && last_checkpoint_.has_value()) TellCheckpoint(*last_checkpoint_);
  return SaveResult();
}

// One save at a time: training waits for the one before, so that none that was planned is missing.
absl::Status Trainer::SaveAndGoOn() {
  const Checkpointing& checkpointing = parts_.checkpointing;
  const int64_t step = parts_.state.applied_step;
  if (checkpointing.is_saving() && checkpointing.saving_step() == step) return absl::OkStatus();
  LIQUID_ASSIGN_OR_RETURN(const SaveResult begun, BeginSave());
  if (absl::IsAborted(begun.failure)) {
    put_off_save_ = step;
    Say(absl::StrCat("the checkpoint of step ", step, " is put off: ", begun.failure.message()));
  }
  return absl::OkStatus();
}

absl::Status Trainer::SaveBeforeLeaving() {
  const Checkpointing& checkpointing = parts_.checkpointing;
  const int64_t step = parts_.state.applied_step;
  if (step < 0) return absl::OkStatus();  // it has nothing to save
  if (!checkpointing.is_saving() || checkpointing.saving_step() != step) {
    LIQUID_ASSIGN_OR_RETURN(const SaveResult begun, BeginSave());
    LIQUID_RETURN_IF_ERROR(begun.failure);
  }
  LIQUID_ASSIGN_OR_RETURN(const SaveResult saved, FinishSave());
  return saved.failure;
}

void Trainer::ReportSave(const SaveResult& result) {
  const CheckpointReport& report = result.report;
  if (result.failure.ok()) {
    last_checkpoint_ = report;
    Say(absl::StrFormat("checkpoint %s: %.1f MB in %.2f s, training waited %.0f ms",
                        report.directory(), static_cast<double>(report.num_bytes()) / 1e6,
                        report.seconds(), absl::ToDoubleMilliseconds(result.stall)));
  } else {
    Say(absl::StrCat("checkpoint at step ", report.step(), " FAILED: ", result.failure.message(),
                     leaving_.has_value() ? "" : "; training goes on without it"));
  }
  TellCheckpoint(report);
  parts_.faults.Mark("saved", report.step());
}

void Trainer::TellCheckpoint(CheckpointReport report) {
  report.set_generation(generation_);
  GangMessage message;
  *message.mutable_checkpoint() = std::move(report);
  Report(std::move(message));
}

// The state that is being saved will not be known to the ledger: another one has come in its place.
void Trainer::DropSave() {
  if (!parts_.checkpointing.is_saving() || parts_.checkpointing.is_committed()) return;
  Say(absl::StrCat("the checkpoint of step ", parts_.checkpointing.saving_step(),
                   " is dropped: this gang goes on from another state"));
  parts_.faults.Mark("saved", parts_.checkpointing.saving_step());
  parts_.checkpointing.Abandon();
}

}  // namespace liquid
