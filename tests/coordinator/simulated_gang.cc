#include "tests/coordinator/simulated_gang.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/coordinator/gang_script.h"

namespace liquid::testing {

void SimulatedGang::Receive(const Order& order) {
  switch (order.order_case()) {
    case Order::kWelcome:
      number = order.welcome().gang();
      return;
    case Order::kRegroup:
      return TakeRegroup(order.regroup());
    case Order::kWorld:
      return TakeWorld(order.world());
    case Order::kPlan:
      return TakePlan(order.plan());
    case Order::kRelease:
      return GiveBack(order.release());
    case Order::kCommitted: {
      committed_ = std::max(committed_, order.committed().step());
      const int64_t settled = order.committed().step();
      std::erase_if(unsettled, [settled](const auto& r) { return r.step() <= settled; });
      PublishCheckpoints();
      return Advance();
    }
    case Order::kLoadState: {
      if (order.load_state().generation() < newest_generation) return;
      const auto& all = surroundings_.checkpoints();
      const auto it = all.upper_bound(order.load_state().max_step());
      step = *std::prev(it);  // 0, the start, is always there
      loaded_from_ = step;
      done_ = SlotSet();
      digests_.clear();
      unsettled.clear();
      return SayReady(order.load_state().generation(), step);
    }
    case Order::kSaveCheckpoint:
    case Order::kStop: {
      const int64_t generation =
          order.has_stop() ? order.stop().generation() : order.save_checkpoint().generation();
      if (generation < newest_generation) return;
      deferred_.emplace_back(plans_.empty() ? step : plans_.rbegin()->first, order);
      return Advance();
    }
    case Order::kAudit: {
      if (order.audit().generation() != newest_generation) return;
      const AuditTask task = order.audit();
      surroundings_.After(slot_time_, this, [this, task] {
        GangMessage message;
        AuditResult& result = *message.mutable_audit_result();
        result.set_generation(task.generation());
        result.set_step(task.step());
        result.set_slot(task.slot());
        result.set_digest(DigestOf(task.step(), task.slot()));
        surroundings_.Say(this, message);
      });
      return;
    }
    case Order::ORDER_NOT_SET:
      return;
  }
}

// --- Orders.

void SimulatedGang::TakeRegroup(const Regroup& regroup) {
  if (regroup.generation() <= newest_generation) return;
  newest_generation = regroup.generation();
  GangMessage heartbeat;
  heartbeat.mutable_heartbeat();
  surroundings_.Say(this, heartbeat);
  regroup_ = regroup;
  // Saves and stops of the generation before are ordered again if they are still wanted.
  deferred_.clear();
  plans_.erase(plans_.upper_bound(regroup.after_step()), plans_.end());
  if (plans_.empty()) {
    if (world.has_value() && !is_member_ && surroundings_.Roll(2) == 0) {
      step = -1;  // it was receiving a state: that is torn
      done_ = SlotSet();
      digests_.clear();
    }
    surroundings_.Abort(this);
    world.reset();
    is_member_ = false;
    ++work_;
    slot_at_hand_ = -1;
  }
  Advance();
}

void SimulatedGang::TakeWorld(const World& new_world) {
  if (new_world.generation() != newest_generation) return;
  world = new_world;
  is_member_ = false;
  has_spoken_ = false;
  surroundings_.Enter(this, new_world);
  committed_ = std::max(committed_, new_world.step());
  PublishCheckpoints();
  const auto self =
      std::find_if(new_world.members().begin(), new_world.members().end(),
                   [this](const World::Member& member) { return member.gang() == number; });
  if (self == new_world.members().end()) {
    return surroundings_.Violation("a world without the gang that it was sent to");
  }
  const int64_t generation = new_world.generation();
  if (self->has_state()) {
    if (step != new_world.step()) surroundings_.Violation("a donor that has another state");
    is_member_ = true;
  } else {
    step = -1;
    done_ = SlotSet();
    digests_.clear();
    surroundings_.After(absl::Milliseconds(20), this, [this, generation] {
      if (!world.has_value() || world->generation() != generation) return;
      if (!surroundings_.CanReceiveState(this)) return OnPeerLost(generation);
      step = world->step();
      unsettled.clear();
      loaded_from_ = -1;
      is_member_ = true;
      Advance();
    });
  }
  if (new_world.evaluate() && new_world.members(0).gang() == number) {
    surroundings_.Say(this, EvalMessage(generation, new_world.step()));
  }
  Advance();
}

void SimulatedGang::TakePlan(const Plan& plan) {
  if (plan.generation() < newest_generation) return;  // of the past
  if (!world.has_value() || plan.generation() != world->generation()) {
    return surroundings_.Violation("a plan of a generation that has not begun");
  }
  if (plan.step() <= world->step()) return surroundings_.Violation("a plan of a step that is done");
  if (plan.step() <= step) {
    return surroundings_.Violation(
        absl::StrCat("gang ", number, " gets a plan of step ", plan.step(), ", applied before"));
  }
  if (plan.anew() && plan.step() == step + 1 && held_generation_ != plan.generation()) {
    done_ = SlotSet();
    digests_.clear();
  }
  held_generation_ = plan.generation();
  plans_[plan.step()] = plan;
  has_spoken_ = has_spoken_ && plan.step() != step + 1;
  Advance();
}

void SimulatedGang::GiveBack(const Release& release) {
  if (release.generation() < newest_generation) return;
  GangMessage message;
  Released& released = *message.mutable_released();
  released.set_generation(release.generation());
  released.set_step(release.step());
  const auto plan = plans_.find(release.step());
  if (is_member_ && release.step() == step + 1 && plan != plans_.end()) {
    const SlotSet asked = *SlotSet::FromRanges(release.slots());
    SlotSet mine = *SlotSet::FromRanges(plan->second.slots());
    SlotSet given;
    for (int slot = 0; slot < asked.end(); ++slot) {
      const bool is_begun = done_.Contains(slot) || slot == slot_at_hand_;
      if (asked.Contains(slot) && mine.Contains(slot) && !is_begun) given.Add(slot, slot + 1);
    }
    mine.Remove(given);
    *plan->second.mutable_slots() = mine.ToRanges();
    auto& digested = *plan->second.mutable_digest_slots();
    digested.erase(std::remove_if(digested.begin(), digested.end(),
                                  [&](int slot) { return given.Contains(slot); }),
                   digested.end());
    *released.mutable_slots() = given.ToRanges();
  }
  surroundings_.Say(this, message);
  Advance();
}

// --- Work.

void SimulatedGang::Advance() {
  if (slot_at_hand_ >= 0) return;
  if (AnswerRegroup() || !is_member_) {
    // It waits; that is no reason to stay.
    const bool may_go = plans_.empty() && !deferred_.empty() &&
                        deferred_.front().second.has_stop() &&
                        !deferred_.front().second.stop().save();
    if (may_go) CarryOutDeferred();
    return;
  }
  const auto plan = plans_.find(step + 1);
  if (plan != plans_.end()) return ComputeNext(&plan->second);
  CarryOutDeferred();
}

// True if it waits for the world.
bool SimulatedGang::AnswerRegroup() {
  if (!regroup_.has_value()) return false;
  if (!plans_.empty()) return false;  // first the plans before the boundary
  const int64_t generation = regroup_->generation();
  regroup_.reset();
  if (world.has_value()) surroundings_.Abort(this);
  world.reset();
  is_member_ = false;
  SayReady(generation, loaded_from_);
  return true;
}

void SimulatedGang::SayReady(int64_t generation, int64_t loaded_from) {
  GangMessage message = ReadyMessage(generation, step, loaded_from == step);
  *message.mutable_ready()->mutable_held() = done_.ToRanges();
  for (const StepReport& report : unsettled) *message.mutable_ready()->add_unsettled() = report;
  surroundings_.Say(this, message);
}

void SimulatedGang::ComputeNext(Plan* plan) {
  const SlotSet mine = *SlotSet::FromRanges(plan->slots());
  if (!mine.Contains(done_)) {  // a sum cannot be taken apart
    done_ = SlotSet();
    digests_.clear();
  }
  int next = -1;
  bool counts = true;
  SlotSet left = mine;
  left.Remove(done_);
  if (!left.empty()) next = left.ranges().begin()->first;
  std::set<int> wanted(plan->audit_slots().begin(), plan->audit_slots().end());
  wanted.insert(plan->digest_slots().begin(), plan->digest_slots().end());
  for (const int slot : wanted) {
    if (next < 0 && !digests_.contains(slot)) {
      next = slot;
      counts = false;
    }
  }
  if (next < 0) {
    if (!has_spoken_) {
      has_spoken_ = true;
      SayProgress(*plan, 0);
      SlotsWord word{.step = step + 1, .done = done_, .digests = digests_};
      std::erase_if(word.digests, [&](const auto& item) { return !wanted.contains(item.first); });
      surroundings_.Speak(this, word);
    }
    return;
  }
  slot_at_hand_ = next;
  surroundings_.After(slot_time_, this, [this, next, counts, work = work_] {
    if (work == work_) FinishSlot(next, counts);
  });
}

void SimulatedGang::FinishSlot(int slot, bool counts) {
  slot_at_hand_ = -1;
  const auto found = plans_.find(step + 1);
  if (found == plans_.end()) return Advance();
  const Plan& plan = found->second;
  if (counts) done_.Add(slot, slot + 1);
  const auto& wanted = plan.digest_slots();
  if (!counts || std::find(wanted.begin(), wanted.end(), slot) != wanted.end()) {
    digests_[slot] = DigestOf(step + 1, slot);
  }
  const int left = SlotSet::FromRanges(plan.slots())->size() - done_.size();
  if (left > 0 && surroundings_.Roll(3) == 0) SayProgress(plan, left);
  Advance();
}

void SimulatedGang::SayProgress(const Plan& plan, int slots_left) {
  GangMessage message;
  Progress& progress = *message.mutable_progress();
  progress.set_generation(plan.generation());
  progress.set_step(plan.step());
  progress.set_slots_left(slots_left);
  progress.set_slots_per_second(1 / absl::ToDoubleSeconds(slot_time_));
  surroundings_.Say(this, message);
}

void SimulatedGang::OnReduced(int64_t generation, int64_t of_step) {
  if (!world.has_value() || world->generation() != generation || !is_member_ ||
      of_step != step + 1 || !plans_.contains(of_step)) {
    return;
  }
  const Plan plan = plans_.at(of_step);
  plans_.erase(of_step);
  step = of_step;
  loaded_from_ = -1;
  done_ = SlotSet();
  digests_.clear();
  has_spoken_ = false;
  GangMessage message;
  StepReport& report = *message.mutable_step();
  report.set_generation(plan.generation());
  report.set_step(of_step);
  report.set_fingerprint(FingerprintOf(of_step));
  *report.mutable_slots() = plan.slots();
  report.set_stream_begin(surroundings_.stream().StreamBegin(of_step));
  report.set_stream_end(surroundings_.stream().StreamEnd(of_step));
  int num_slots = 0;
  for (const SlotRange& range : plan.slots()) num_slots += range.end() - range.begin();
  report.set_compute_seconds(num_slots * absl::ToDoubleSeconds(slot_time_));
  unsettled.push_back(report);
  surroundings_.Say(this, message);
  if (plan.evaluate_after() && world->members(0).gang() == number) {
    surroundings_.Say(this, EvalMessage(plan.generation(), of_step));
  }
  if (plan.checkpoint_after()) unpublished_.insert(of_step);
  PublishCheckpoints();
  Advance();
}

void SimulatedGang::OnPeerLost(int64_t generation) {
  if (!world.has_value() || world->generation() != generation) return;
  GangMessage message;
  message.mutable_trouble()->set_generation(generation);
  message.mutable_trouble()->set_error("a connection broke");
  surroundings_.Say(this, message);
}

// --- Saving and leaving.

void SimulatedGang::PublishCheckpoints() {
  while (!unpublished_.empty() && *unpublished_.begin() <= committed_) {
    const int64_t saved = *unpublished_.begin();
    unpublished_.erase(unpublished_.begin());
    surroundings_.checkpoints().insert(saved);
    surroundings_.Say(this, CheckpointMessage(newest_generation, saved));
  }
}

void SimulatedGang::CarryOutDeferred() {
  while (!deferred_.empty() && deferred_.front().first <= step) {
    const Order order = deferred_.front().second;
    if (order.has_save_checkpoint() || order.stop().save()) {
      // A state that the ledger does not know yet is saved once it does.
      if (world.has_value() && step == world->step()) committed_ = std::max(committed_, step);
      if (step > committed_) {
        unpublished_.insert(step);
        if (order.has_stop()) return;
      } else {
        surroundings_.checkpoints().insert(step);
        surroundings_.Say(this, CheckpointMessage(newest_generation, step));
      }
    }
    if (order.has_stop()) {
      if (unpublished_.contains(step)) return;  // what it made itself is not left behind
      surroundings_.Say(this, LeaveMessage(Leave::STOPPED, "", step));
      surroundings_.Abort(this);
      world.reset();
      return surroundings_.Exit(this);
    }
    deferred_.pop_front();
  }
}

void SimulatedGang::AskToLeave() {
  GangMessage message;
  message.mutable_leave_request()->set_reason("a signal");
  surroundings_.Say(this, message);
}

// --- Wrong answers.

std::string SimulatedGang::DigestOf(int64_t of_step, int slot) {
  if (is_liar && surroundings_.Roll(2) == 0) {
    has_lied = true;
    return absl::StrCat("wrong ", of_step, " ", slot, " ", surroundings_.Roll(1000000));
  }
  return absl::StrCat(of_step, " ", slot);
}

void SimulatedGang::OnDisagreement(int64_t generation, int slot, int64_t first,
                                   const std::string& digest, int64_t other,
                                   const std::string& theirs) {
  if (!world.has_value() || world->generation() != generation) return;
  if (number != first && number != other) return;  // it is theirs to tell
  GangMessage message;
  AuditResult& result = *message.mutable_audit_result();
  result.set_generation(world->generation());
  result.set_step(step + 1);
  result.set_slot(slot);
  const bool is_other = other == number;
  result.set_digest(is_other ? theirs : digest);
  result.set_other_gang(is_other ? first : other);
  result.set_theirs(is_other ? digest : theirs);
  surroundings_.Say(this, message);
}

}  // namespace liquid::testing
