#include "worker/trainer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "proto/eval_report.h"
#include "worker/signals.h"
#include "worker/state_transfer.h"

namespace liquid {
namespace {

// How long to wait for an order before the ranks look at each other's signals again.
constexpr absl::Duration kTick = absl::Milliseconds(100);
// The same while a checkpoint is being written.
constexpr absl::Duration kSaveTick = absl::Milliseconds(5);
// How long to wait for other gangs before the coordinator is told that this one is idle.
constexpr absl::Duration kPatience = absl::Milliseconds(10);
constexpr absl::Duration kProgressInterval = absl::Milliseconds(250);

}  // namespace

absl::StatusOr<Leave::Reason> Trainer::Run() {
  while (!leaving_.has_value()) {
    const auto tick = Look();
    if (!tick.ok()) {
      const absl::Status lost =
          Annotate(tick.status(), absl::StrCat("after step ", parts_.state.applied_step));
      // Whom the coordinator sends away (a liar, say) has nothing that is worth keeping.
      const absl::Status saved = absl::IsUnavailable(lost) ? SaveBeforeLeaving() : absl::OkStatus();
      if (!saved.ok()) LogWarning("the state is not saved: ", saved.message());
      return lost;
    }
    gang_ = tick->gang;
    LIQUID_RETURN_IF_ERROR(AttendToSave(*tick));
    if (tick->order.has_value()) LIQUID_RETURN_IF_ERROR(Obey(*tick->order));
    LIQUID_RETURN_IF_ERROR(ObeyLater(tick->is_over));
    LIQUID_RETURN_IF_ERROR(LeaveIfAsked(*tick));
    if (leaving_.has_value()) break;
    if (regroup_.has_value() && parts_.state.applied_step >= regroup_->after_step()) {
      GetReady();
    } else if (!is_in_trouble_ && parts_.world.is_inside()) {
      LIQUID_RETURN_IF_ERROR(Work(tick->news));
    }
  }
  LIQUID_RETURN_IF_ERROR(FinishSave().status());
  return *leaving_;
}

absl::StatusOr<GangMember::Tick> Trainer::Look() {
  Checkpointing& checkpointing = parts_.checkpointing;
  SaveNews save;
  if (checkpointing.is_saving()) save = {checkpointing.saving_step(), checkpointing.Poll()};
  if (IsExchanging()) {
    return parts_.gang.NextTick(
        absl::ZeroDuration(), [this] { return ListenToGangs(); }, absl::InfiniteFuture(), save);
  }
  const bool has_work =
      !is_in_trouble_ && parts_.world.is_inside() && plans_.contains(parts_.state.applied_step + 1);
  const absl::Time wait_until =
      is_in_trouble_ ? trouble_since_ + parts_.trouble_timeout : absl::InfiniteFuture();
  const absl::Duration patience = checkpointing.is_saving() ? kSaveTick : kTick;
  return parts_.gang.NextTick(has_work ? absl::ZeroDuration() : patience, nullptr, wait_until,
                              save);
}

// --- Orders.

absl::Status Trainer::Obey(const Order& order) {
  switch (order.order_case()) {
    case Order::kRegroup:
      ObeyRegroup(order.regroup());
      return absl::OkStatus();
    case Order::kLoadState:
      return ObeyLoadState(order.load_state());
    case Order::kWorld:
      return ObeyWorld(order.world());
    case Order::kPlan:
      return ObeyPlan(order.plan());
    case Order::kAudit:
      return ObeyAudit(order.audit());
    case Order::kRelease:
      ObeyRelease(order.release());
      return absl::OkStatus();
    case Order::kSaveCheckpoint:
    case Order::kStop:
      later_.push_back(
          {order, plans_.empty() ? parts_.state.applied_step : plans_.rbegin()->first});
      return absl::OkStatus();
    case Order::kWelcome:
    case Order::kCommitted:
    case Order::ORDER_NOT_SET:
      break;
  }
  return absl::InternalError(
      absl::StrCat("the coordinator sent an order of an unknown kind, ", order.order_case()));
}

void Trainer::ObeyRegroup(const Regroup& order) {
  if (order.generation() <= generation_) return;
  generation_ = order.generation();
  regroup_ = order;
  plans_.erase(plans_.upper_bound(order.after_step()), plans_.end());
  if (order.after_step() < 0) {
    // A stop is ordered again if it still holds; a save is done with the state that is there.
    std::erase_if(later_, [](const Later& later) { return later.order.has_stop(); });
  }
  const int64_t reached = std::max(order.after_step(), parts_.state.applied_step);
  for (Later& later : later_) later.after_step = std::min(later.after_step, reached);
}

// From here on this gang waits for the new world.
void Trainer::GetReady() {
  if (parts_.world.is_inside()) paused_since_ = absl::Now();
  parts_.world.Leave();
  regroup_.reset();
  plans_.clear();
  is_in_trouble_ = false;
  SayReady();
}

void Trainer::SayReady() {
  GangMessage message;
  Ready& ready = *message.mutable_ready();
  ready.set_generation(generation_);
  ready.set_applied_step(parts_.state.applied_step);
  if (parts_.state.applied_step >= 0) {
    ready.set_fingerprint(parts_.state.fingerprint);
    if (parts_.step.slots().step() == parts_.state.applied_step + 1) {
      *ready.mutable_held() = parts_.step.slots().done().ToRanges();
    }
    for (const StepReport& report : unsettled_) *ready.add_unsettled() = report;
    if (last_checkpoint_.has_value() && last_checkpoint_->step() == parts_.state.applied_step) {
      ready.set_checkpoint(last_checkpoint_->directory());
      ready.set_manifest_digest(last_checkpoint_->manifest_digest());
    }
  }
  Report(std::move(message));
}

absl::Status Trainer::ObeyLoadState(const LoadState& order) {
  if (order.generation() != generation_) return absl::OkStatus();
  parts_.step.Forget();
  unsettled_.clear();
  DropSave();
  LIQUID_RETURN_IF_ERROR(FinishSave().status());
  LIQUID_RETURN_IF_ERROR(parts_.load_state(order.max_step()));
  last_checkpoint_ = parts_.checkpointing.restored();
  is_restored_ = true;
  SayReady();
  return absl::OkStatus();
}

absl::Status Trainer::ObeyWorld(const World& order) {
  if (order.generation() != generation_) return absl::OkStatus();
  world_generation_ = order.generation();
  parts_.faults.Mark("generation", world_generation_);
  const absl::Time start = absl::Now();
  const absl::Status entered =
      AgreeOn(parts_.gang.world(), parts_.world.Enter(order, gang_, parts_.gang.world().rank()));
  LIQUID_RETURN_IF_ERROR(parts_.gang.world().Wait(absl::InfiniteFuture()));
  if (!entered.ok()) {
    LIQUID_ASSIGN_OR_RETURN(const std::set<int64_t> unreached,
                            parts_.world.UnreachedByAnyRank(parts_.gang.world()));
    ReportTrouble(entered, unreached);
    return absl::OkStatus();
  }
  is_announced_ = progress_is_told_ = false;
  PointLatest(order);
  const absl::Duration formed = absl::Now() - start;
  if (order.members_size() > 1) {
    LIQUID_RETURN_IF_ERROR(ReceiveOrSendState(order));
    if (is_in_trouble_) return absl::OkStatus();
    std::vector<int64_t> gangs;
    for (const World::Member& member : order.members()) gangs.push_back(member.gang());
    const absl::Duration pause = std::max(absl::ZeroDuration(), absl::Now() - paused_since_);
    Say(absl::StrFormat(
        "generation %d: gangs %s go on from step %d; connected in %.1f ms, %s", order.generation(),
        absl::StrJoin(gangs, " "), order.step(), absl::ToDoubleMilliseconds(formed),
        paused_since_ == absl::InfiniteFuture()
            ? "joined"
            : absl::StrFormat("paused %.1f ms", absl::ToDoubleMilliseconds(pause))));
  }
  paused_since_ = absl::InfiniteFuture();
  const bool saves = std::exchange(put_off_save_, std::nullopt) == parts_.state.applied_step;
  if (order.evaluate()) LIQUID_RETURN_IF_ERROR(Evaluate());
  return saves ? SaveAndGoOn() : absl::OkStatus();
}

// If the job goes back to a checkpoint, or begins. Otherwise saves move `latest`, and only forward.
void Trainer::PointLatest(const World& order) const {
  const auto first = std::find_if(order.members().begin(), order.members().end(),
                                  [](const World::Member& member) { return member.has_state(); });
  const bool is_mine = first != order.members().end() && first->gang() == gang_;
  if (is_mine && is_restored_) parts_.checkpointing.PointLatestAtRestored();
}

// The i-th gang without the state has it from the (i modulo n)-th of the n that have it.
absl::Status Trainer::ReceiveOrSendState(const World& order) {
  std::vector<int> donors;
  std::vector<int> receivers;
  for (int i = 0; i < order.members_size(); ++i) {
    (order.members(i).has_state() ? donors : receivers).push_back(i);
  }
  if (donors.empty()) return absl::InternalError("a world in which nobody has the state");
  TcpGroup& rail = *parts_.world.host_rail();
  const absl::Time start = absl::Now();
  const double bytes = static_cast<double>(StateBytes(parts_.state));
  absl::Status status;
  for (size_t i = 0; i < receivers.size(); ++i) {
    const int donor = donors[i % donors.size()];
    if (donor == parts_.world.place()) {
      SendState(parts_.state, rail, receivers[i]);
      status = AgreeOn(parts_.gang.world(), rail.Wait(absl::InfiniteFuture()));
    } else if (receivers[i] == parts_.world.place()) {
      parts_.step.Forget();
      unsettled_.clear();
      DropSave();
      parts_.state.applied_step = -1;  // torn, until all of it is here
      is_restored_ = false;
      status = ReceiveState(parts_.state, rail, donor, order.fingerprint());
      if (status.ok()) parts_.state.applied_step = order.step();
      last_checkpoint_.reset();
    } else {
      continue;
    }
    LIQUID_RETURN_IF_ERROR(parts_.gang.world().Wait(absl::InfiniteFuture()));
    if (absl::IsDataLoss(status)) return status;
    if (!status.ok()) {
      ReportTrouble(status);
      return absl::OkStatus();
    }
    const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
    Say(absl::StrFormat("%s the state of step %d, %.1f MB, in %.3f s (%.0f MB/s)",
                        donor == parts_.world.place() ? "sent" : "received", order.step(),
                        bytes / 1e6, seconds, bytes / 1e6 / std::max(seconds, 1e-9)));
  }
  return absl::OkStatus();
}

absl::Status Trainer::ObeyPlan(const Plan& plan) {
  const bool is_void = regroup_.has_value() && plan.step() > regroup_->after_step();
  if (plan.generation() != world_generation_ || is_void) return absl::OkStatus();
  plans_[plan.step()] = plan;
  if (plan.step() != parts_.step.slots().step() || !parts_.world.is_inside()) {
    return absl::OkStatus();
  }
  is_announced_ = progress_is_told_ = false;  // it has begun, and is given more
  return parts_.step.Take(plan);
}

void Trainer::ObeyRelease(const Release& order) {
  if (order.generation() != world_generation_) return;
  GangMessage message;
  Released& released = *message.mutable_released();
  released.set_generation(world_generation_);
  released.set_step(order.step());
  *released.mutable_slots() = parts_.step.GiveBack(order.step(), order.slots());
  Report(std::move(message));
}

absl::Status Trainer::ObeyAudit(const AuditTask& task) {
  if (task.generation() != world_generation_) return absl::OkStatus();
  LIQUID_ASSIGN_OR_RETURN(const std::string digest, parts_.step.Audit(task.step(), task.slot()));
  GangMessage message;
  AuditResult& result = *message.mutable_audit_result();
  result.set_generation(world_generation_);
  result.set_step(task.step());
  result.set_slot(task.slot());
  result.set_digest(digest);
  Report(std::move(message));
  return absl::OkStatus();
}

absl::Status Trainer::ObeyLater(bool waited_enough) {
  while (!later_.empty() && !leaving_.has_value()) {
    const Later& next = later_.front();
    // Others may have gone on without this gang, so that the plans before it cannot be carried out;
    // but first it waits for a regroup that may need its state.
    const bool is_due = parts_.state.applied_step >= next.after_step || waited_enough;
    if (!is_due) return absl::OkStatus();
    const Order order = next.order;
    later_.pop_front();
    if (order.has_save_checkpoint()) {
      LIQUID_RETURN_IF_ERROR(SaveAndGoOn());
      continue;
    }
    if (!order.stop().reason().empty()) Say(absl::StrCat("stopping: ", order.stop().reason()));
    if (order.stop().save()) {
      const absl::Status saved = SaveBeforeLeaving();
      if (absl::IsAborted(saved)) return absl::OkStatus();  // a regroup first: it is ordered again
      LIQUID_RETURN_IF_ERROR(saved);
    }
    leaving_ = parts_.state.applied_step == parts_.num_steps ? Leave::JOB_DONE
               : asked_to_leave_                             ? Leave::PREEMPTED
                                                             : Leave::STOPPED;
  }
  return absl::OkStatus();
}

// --- Going.

absl::Status Trainer::LeaveIfAsked(const GangMember::Tick& tick) {
  // After the job's last step it is the coordinator that ends it, when the checkpoint is there.
  const bool enough = parts_.max_steps > 0 && num_steps_ >= parts_.max_steps &&
                      parts_.state.applied_step < parts_.num_steps;
  if (leaving_.has_value() || !(tick.stop_requested || enough || asked_to_leave_)) {
    return absl::OkStatus();
  }
  const bool is_alone = parts_.world.is_inside() && parts_.world.rail() == nullptr;
  if (!asked_to_leave_) {
    asked_to_leave_ = true;
    leave_at_ = absl::Now() + parts_.leave_timeout;
    Say(absl::StrCat(
        enough ? "made as many steps as asked" : "asked to stop",
        is_alone ? ": saving and leaving after step " : ": leaving to the other gangs, after step ",
        parts_.state.applied_step));
    if (!is_alone) {
      GangMessage message;
      message.mutable_leave_request()->set_reason(enough ? "its steps are made" : "a signal");
      Report(std::move(message));
    }
  }
  // Others have its state; if they do not answer, it goes all the same.
  const bool is_late = parts_.gang.is_leader() && absl::Now() >= leave_at_;
  LIQUID_ASSIGN_OR_RETURN(const std::string late,
                          parts_.gang.world().BroadcastMessage(is_late ? "late" : "", /*root=*/0));
  if (!is_alone && late.empty()) return absl::OkStatus();
  if (is_alone) {
    const absl::Status saved = SaveBeforeLeaving();
    if (absl::IsAborted(saved)) return absl::OkStatus();  // a regroup first
    LIQUID_RETURN_IF_ERROR(saved);
  }
  leaving_ = Leave::PREEMPTED;
  return absl::OkStatus();
}

// --- Work.

bool Trainer::IsExchanging() const {
  return !is_in_trouble_ && parts_.world.is_inside() && parts_.world.rail() != nullptr &&
         plans_.contains(parts_.state.applied_step + 1) &&
         parts_.step.slots().step() == parts_.state.applied_step + 1 &&
         parts_.step.slots().num_left() == 0;
}

absl::Status Trainer::Work(ExchangeNews news) {
  const auto plan = plans_.find(parts_.state.applied_step + 1);
  if (plan == plans_.end()) return absl::OkStatus();
  if (news == EXCHANGE_FAILED) {
    ReportTrouble(parts_.world.failure());
    return absl::OkStatus();
  }
  if (news == ALL_DONE && parts_.step.slots().num_left() == 0) return FinishStep();
  if (news == ALL_DONE) return absl::OkStatus();  // and given more in the same look
  if (!parts_.step.slots().has_plan(plan->second)) {
    is_announced_ = progress_is_told_ = false;
    LIQUID_RETURN_IF_ERROR(parts_.step.Take(plan->second));
  }
  if (parts_.step.slots().num_left() > 0) {
    LIQUID_RETURN_IF_ERROR(parts_.step.ComputeRound());
    ReportProgress();
    return absl::OkStatus();
  }
  return parts_.world.rail() == nullptr ? FinishStep() : absl::OkStatus();
}

// On the leader.
ExchangeNews Trainer::ListenToGangs() {
  if (!is_announced_) {
    is_announced_ = true;
    parts_.world.Announce(parts_.step.slots().ToMessage());
  }
  const ExchangeNews news =
      parts_.world.Listen(parts_.state.applied_step + 1, progress_is_told_ ? kTick : kPatience,
                          parts_.gang.client()->wake_fd());
  if (news == NOTHING_NEW) {
    ReportDisagreement();
    if (!progress_is_told_) {
      progress_is_told_ = true;
      last_progress_ = absl::InfinitePast();
      ReportProgress();
    }
  }
  return news;
}

void Trainer::ReportProgress() {
  if (!parts_.gang.is_leader() || parts_.world.rail() == nullptr ||
      absl::Now() - last_progress_ < kProgressInterval) {
    return;
  }
  last_progress_ = absl::Now();
  GangMessage message;
  Progress& progress = *message.mutable_progress();
  progress.set_generation(world_generation_);
  progress.set_step(parts_.step.slots().step());
  progress.set_slots_left(parts_.step.slots().num_left());
  progress.set_slots_per_second(parts_.step.slots_per_second());
  Report(std::move(message));
}

void Trainer::ReportDisagreement() {
  const auto found = parts_.world.TakeDisagreement();
  if (!found.has_value()) return;
  GangMessage message;
  AuditResult& result = *message.mutable_audit_result();
  result.set_generation(world_generation_);
  result.set_step(parts_.step.slots().step());
  result.set_slot(found->slot);
  const bool is_a = parts_.world.place() == found->place_a;
  if (!is_a && parts_.world.place() != found->place_b) return;  // it is theirs to report
  result.set_digest(is_a ? found->digest_a : found->digest_b);
  result.set_other_gang(parts_.world.gang_at(is_a ? found->place_b : found->place_a));
  result.set_theirs(is_a ? found->digest_b : found->digest_a);
  Report(std::move(message));
}

void Trainer::ReportTrouble(const absl::Status& why, const std::set<int64_t>& unreached) {
  is_in_trouble_ = true;
  trouble_since_ = absl::Now();
  if (paused_since_ == absl::InfiniteFuture()) paused_since_ = absl::Now();
  parts_.world.Leave();
  if (parts_.gang.is_leader() && !absl::IsAborted(why)) {
    LogInfo("the exchange with other gangs was broken off: ", why.message());
  }
  GangMessage message;
  Trouble& trouble = *message.mutable_trouble();
  trouble.set_generation(generation_);
  trouble.set_error(std::string(why.message()));
  trouble.mutable_unreached()->Assign(unreached.begin(), unreached.end());
  Report(std::move(message));
}

absl::Status Trainer::FinishStep() {
  const Plan plan = plans_.at(parts_.state.applied_step + 1);
  LIQUID_ASSIGN_OR_RETURN(const std::optional<StepReport> report,
                          parts_.step.Finish(parts_.world.rail()));
  if (!report.has_value()) {
    ReportTrouble(parts_.step.exchange_failure());
    return absl::OkStatus();
  }
  ++num_steps_;
  is_restored_ = false;
  plans_.erase(plan.step());
  is_announced_ = progress_is_told_ = false;
  if (parts_.gang.is_leader()) {
    parts_.progress.OnStep(*report, absl::Now());
    const int64_t committed = parts_.gang.client()->committed_step();
    while (!unsettled_.empty() && unsettled_.front().step() <= committed) unsettled_.pop_front();
    unsettled_.push_back(*report);
  }
  GangMessage message;
  *message.mutable_step() = *report;
  Report(std::move(message));
  parts_.faults.Mark("reported", report->step());
  if (plan.evaluate_after()) LIQUID_RETURN_IF_ERROR(Evaluate());
  return plan.checkpoint_after() ? SaveAndGoOn() : absl::OkStatus();
}

absl::Status Trainer::Evaluate() {
  if (parts_.evaluation == nullptr || is_in_trouble_) return absl::OkStatus();
  LIQUID_ASSIGN_OR_RETURN(Evaluation::Outcome outcome,
                          parts_.evaluation->Run(parts_.world.host_rail()));
  if (!outcome.exchange_failure.ok()) {
    ReportTrouble(outcome.exchange_failure);
    return absl::OkStatus();
  }
  if (!outcome.report.has_value()) return absl::OkStatus();
  parts_.checkpointing.SetEvaluation(*outcome.report);
  if (parts_.world.place() != 0) return absl::OkStatus();
  EvalReport& report = *outcome.report;
  report.set_generation(generation_);
  Say(absl::StrFormat("eval at step %d: %s over %d tokens (%.1f s)", report.step(),
                      EvalText(report), report.target_tokens(), report.seconds()));
  GangMessage message;
  *message.mutable_eval() = report;
  Report(std::move(message));
  if (parts_.samples == nullptr) return absl::OkStatus();
  return parts_.samples->Run([this](const std::string& line) { Say(line); });
}

void Trainer::Say(const std::string& line) {
  if (parts_.gang.is_leader()) parts_.progress.Say(line);
}

}  // namespace liquid
