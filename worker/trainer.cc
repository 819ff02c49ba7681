#include "worker/trainer.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/status.h"

namespace liquid {
namespace {

// How long to wait for an order before the ranks look at each other's signals again.
constexpr absl::Duration kTick = absl::Milliseconds(100);

}  // namespace

absl::StatusOr<Leave::Reason> Trainer::Run() {
  while (true) {
    const auto tick = gang_.NextTick(kTick);
    if (!tick.ok()) {
      LIQUID_RETURN_IF_ERROR(SaveBeforeLeaving());
      return Annotate(tick.status(), absl::StrCat("after step ", state_.applied_step));
    }
    const bool enough = max_steps_ > 0 && num_steps_ >= max_steps_;
    if (tick->stop_requested || enough) {
      if (gang_.is_leader()) {
        progress_.Say(absl::StrCat(enough ? "made as many steps as asked" : "asked to stop",
                                   ": saving and leaving after step ", state_.applied_step));
      }
      LIQUID_RETURN_IF_ERROR(SaveBeforeLeaving());
      return Leave::PREEMPTED;
    }
    if (!tick->order.has_value()) continue;
    Leave::Reason reason = Leave::JOB_DONE;
    LIQUID_ASSIGN_OR_RETURN(const bool leaves, Obey(*tick->order, &reason));
    if (leaves) return reason;
  }
}

// True if the gang leaves, for `reason`.
absl::StatusOr<bool> Trainer::Obey(const Order& order, Leave::Reason* reason) {
  switch (order.order_case()) {
    case Order::kPlan:
      return ObeyPlan(order.plan(), reason);
    case Order::kSaveCheckpoint:
      LIQUID_RETURN_IF_ERROR(SaveAndGoOn());
      return false;
    case Order::kStop:
      if (gang_.is_leader()) progress_.Say(absl::StrCat("stopping: ", order.stop().reason()));
      LIQUID_RETURN_IF_ERROR(SaveBeforeLeaving());
      *reason = Leave::STOPPED;
      return true;
    default:
      return absl::InternalError(
          absl::StrCat("the coordinator sent an order of an unknown kind, ", order.order_case()));
  }
}

absl::StatusOr<bool> Trainer::ObeyPlan(const Plan& plan, Leave::Reason* reason) {
  generation_ = plan.generation();
  LIQUID_ASSIGN_OR_RETURN(const StepReport report, step_.Run(plan));
  ++num_steps_;
  if (gang_.is_leader()) progress_.OnStep(report, absl::Now());
  GangMessage message;
  *message.mutable_step() = report;
  gang_.Report(message);
  if (plan.evaluate_after() && evaluation_ != nullptr) LIQUID_RETURN_IF_ERROR(Evaluate());
  *reason = Leave::JOB_DONE;
  if (plan.last()) LIQUID_RETURN_IF_ERROR(SaveBeforeLeaving());
  if (plan.checkpoint_after()) LIQUID_RETURN_IF_ERROR(SaveAndGoOn());
  return plan.last();
}

absl::Status Trainer::Evaluate() {
  LIQUID_ASSIGN_OR_RETURN(std::optional<EvalReport> report, evaluation_->Run());
  if (!report.has_value()) return absl::OkStatus();
  report->set_generation(generation_);
  if (gang_.is_leader()) {
    progress_.Say(absl::StrFormat("eval at step %d: loss %.4f over %d tokens (%.1f s)",
                                  report->step(), report->loss(), report->target_tokens(),
                                  report->seconds()));
  }
  GangMessage message;
  *message.mutable_eval() = *report;
  gang_.Report(message);
  return absl::OkStatus();
}

absl::Status Trainer::SaveAndGoOn() {
  LIQUID_ASSIGN_OR_RETURN(const std::optional<SaveResult> result, Save());
  if (result.has_value() && !result->failure.ok() && gang_.is_leader()) {
    progress_.Say("training goes on without it");
  }
  return absl::OkStatus();
}

absl::Status Trainer::SaveBeforeLeaving() {
  LIQUID_ASSIGN_OR_RETURN(const std::optional<SaveResult> result, Save());
  return result.has_value() ? result->failure : absl::OkStatus();
}

// Nothing if this state is saved already. The error is a broken gang.
absl::StatusOr<std::optional<SaveResult>> Trainer::Save() {
  LIQUID_ASSIGN_OR_RETURN(std::optional<SaveResult> result, checkpointing_.Save(state_, [this] {
    return gang_.WaitCommitted(state_.applied_step);
  }));
  if (!result.has_value()) return result;
  CheckpointReport& report = result->report;
  report.set_generation(generation_);
  if (gang_.is_leader()) {
    progress_.Say(result->failure.ok()
                      ? absl::StrFormat("checkpoint %s: %.1f MB in %.2f s", report.directory(),
                                        static_cast<double>(report.num_bytes()) / 1e6,
                                        report.seconds())
                      : absl::StrCat("checkpoint at step ", report.step(),
                                     " FAILED: ", result->failure.message()));
  }
  GangMessage message;
  *message.mutable_checkpoint() = report;
  gang_.Report(message);
  return result;
}

}  // namespace liquid
