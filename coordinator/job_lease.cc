// Leases: which gang does which slots of a step, and who takes over what another has not begun.
#include <algorithm>
#include <utility>

#include "coordinator/job_machine.h"
#include "coordinator/scheduler.h"

namespace liquid {
namespace {

// A gang that got no slot for so many steps gets one: it may have become quicker.
constexpr int64_t kStepsBetweenMeasurements = 20;
// How many of those who end last are looked at for slots to steal.
constexpr int kVictimsToConsider = 8;

// One of `gangs` (ascending, two at least, `owner` among them) that is not the owner.
int64_t AuditorOf(int64_t owner, const std::vector<int64_t>& gangs, uint64_t turn) {
  const size_t place = std::lower_bound(gangs.begin(), gangs.end(), owner) - gangs.begin();
  const size_t shift = 1 + static_cast<size_t>(turn % (gangs.size() - 1));
  return gangs[(place + shift) % gangs.size()];
}

}  // namespace

// --- Leases.

void JobMachine::LeaseAhead(absl::Time now, Actions* actions) {
  if (phase_ != Phase::kSteady || record_.is_paused() || record_.finished().has_value() ||
      !stop_reason_.empty() || AllAreLeaving()) {
    return;
  }
  const int64_t end =
      std::min<int64_t>(record_.opened().num_steps(),
                        record_.committed_step() + options_.job.coordinator().lease_window());
  const bool is_first = leased_step_ == record_.committed_step();
  while (leased_step_ < end) LeaseStep(++leased_step_, now, actions);
  if (is_first) StartStep(now);
}

void JobMachine::LeaseStep(int64_t step, absl::Time now, Actions* actions) {
  ChooseKept(step);
  const std::map<int64_t, SlotSet> shares = DealSlots(step);
  reports_.ForgetFrom(step);  // of an older lease
  LedgerEntry entry;
  Lease& lease = *entry.mutable_lease();
  lease.set_generation(record_.generation());
  lease.set_step(step);
  for (const auto& [gang, slots] : shares) {
    Lease::Share& share = *lease.add_shares();
    share.set_gang(gang);
    *share.mutable_slots() = slots.ToRanges();
  }
  Record(std::move(entry), actions);

  PlannedStep& planned = planned_[step];
  planned = PlannedStep();
  planned.evaluate = EvaluationIsDue(step);
  planned.checkpoint = step == record_.opened().num_steps() || CheckpointIsDue(step, now);
  if (planned.checkpoint) {
    last_checkpoint_time_ = now;
    planned.writer = Writer()->status.gang();
    planned_checkpoint_ = {step, planned.writer};
  }
  ChooseAudits(step, shares, &planned);
  for (const auto& [number, member] : gangs_) {
    if (!member.is_working) continue;
    const auto share = shares.find(number);
    SendPlan(number, step, share == shares.end() ? nullptr : &share->second, actions);
  }
}

// What gangs hold of the step since before the last regroup, as far as it fits together: a gang
// keeps all of it or nothing. Those who may not keep theirs no longer hold anything.
void JobMachine::ChooseKept(int64_t step) {
  SlotSet kept;
  std::vector<Member*> holders;
  for (auto& [number, member] : gangs_) {
    if (!member.held.empty()) holders.push_back(&member);
  }
  std::stable_sort(holders.begin(), holders.end(), [](const Member* a, const Member* b) {
    return a->held.size() > b->held.size();
  });
  const bool is_next = step == record_.committed_step() + 1;
  for (Member* member : holders) {
    const bool fits = is_next && member->is_working && !member->held.Overlaps(kept) &&
                      member->held.end() <= record_.opened().slots_per_step();
    if (fits) kept.Add(member->held);
    if (!fits) member->held = SlotSet();
  }
}

std::map<int64_t, SlotSet> JobMachine::DealSlots(int64_t step) {
  std::vector<GangSpeed> gangs;
  std::vector<Member*> members;
  SlotSet open(0, record_.opened().slots_per_step());
  for (auto& [number, member] : gangs_) {
    if (!member.is_working) continue;
    members.push_back(&member);
    open.Remove(member.held);
    gangs.push_back({.gang = number,
                     .slots_per_second = member.status.slots_per_second(),
                     .num_kept = member.held.size(),
                     .needs_one = member.is_rate_guessed ||
                                  step - member.step_measured >= kStepsBetweenMeasurements,
                     .num_before = member.num_slots});
  }
  std::vector<int> counts = SplitSlots(record_.opened().slots_per_step(), gangs);
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] > 0) members[i]->step_measured = step;
    members[i]->num_slots = counts[i];
    counts[i] -= gangs[i].num_kept;
  }
  std::vector<SlotSet> sets = CutSlots(open, counts);
  std::map<int64_t, SlotSet> shares;
  for (size_t i = 0; i < sets.size(); ++i) {
    sets[i].Add(std::exchange(members[i]->held, SlotSet()));
    if (!sets[i].empty()) shares.emplace(gangs[i].gang, std::move(sets[i]));
  }
  return shares;
}

// Another gang computes the slot too, for its digest.
void JobMachine::ChooseAudits(int64_t step, const std::map<int64_t, SlotSet>& shares,
                              PlannedStep* planned) const {
  const int64_t every = options_.job.coordinator().audit_every();
  if (every <= 0 || num_working_ < 2) return;
  std::vector<int64_t> gangs;
  for (const auto& [number, member] : gangs_) {
    if (member.is_working) gangs.push_back(number);
  }
  for (const auto& [owner, slots] : shares) {
    for (const auto& [begin, end] : slots.ranges()) {
      for (int slot = begin; slot < end; ++slot) {
        if (!IsAudited(record_.opened().seed(), step, slot, every) ||
            undecidable_.contains({step, slot})) {
          continue;
        }
        const int64_t auditor =
            AuditorOf(owner, gangs, AuditHash(record_.opened().seed() + 1, step, slot));
        planned->auditors[slot] = auditor;
        planned->by_auditor[auditor].push_back(slot);
      }
    }
  }
}

// `auditor` gets `slots` as its own: what it audits of them is another's to audit now. Not one's
// that is asked to give slots back: a plan may not cross its answer.
void JobMachine::MoveAudits(int64_t auditor, const SlotSet& slots, int64_t step, absl::Time now,
                            Actions* actions) {
  PlannedStep& planned = planned_.at(step);
  std::vector<int> moved;
  std::erase_if(planned.by_auditor[auditor], [&](int slot) {
    if (slots.Contains(slot)) moved.push_back(slot);
    return slots.Contains(slot);
  });
  std::vector<int64_t> gangs;
  for (const auto& [number, member] : gangs_) {
    if (member.is_working && (number == auditor || !member.is_asked)) gangs.push_back(number);
  }
  std::set<int64_t> told;
  for (const int slot : moved) {
    const int64_t next =
        AuditorOf(auditor, gangs, AuditHash(record_.opened().seed() + 1, step, slot));
    planned.auditors[slot] = next;
    planned.by_auditor[next].push_back(slot);
    told.insert(next);
  }
  const auto& shares = record_.FindLease(step)->shares;
  for (const int64_t gang : told) {
    const auto share = shares.find(gang);
    SendPlan(gang, step, share == shares.end() ? nullptr : &share->second, actions);
    Member& member = *Find(gang);
    member.done_at.reset();
    member.left_at = std::max(member.left_at, now);
  }
}

void JobMachine::SendPlan(int64_t gang, int64_t step, const SlotSet* slots,
                          Actions* actions) const {
  const PlannedStep& planned = planned_.at(step);
  Order order;
  Plan& plan = *order.mutable_plan();
  plan.set_generation(record_.generation());
  plan.set_step(step);
  plan.set_evaluate_after(planned.evaluate);
  plan.set_checkpoint_after(planned.checkpoint && planned.writer == gang);
  plan.set_last(step == record_.opened().num_steps());
  plan.set_anew(start_anew_.contains(gang));
  if (slots != nullptr) {
    *plan.mutable_slots() = slots->ToRanges();
    for (const auto& [begin, end] : slots->ranges()) {
      for (auto it = planned.auditors.lower_bound(begin);
           it != planned.auditors.end() && it->first < end; ++it) {
        plan.add_digest_slots(it->first);
      }
    }
  }
  if (const auto audits = planned.by_auditor.find(gang); audits != planned.by_auditor.end()) {
    plan.mutable_audit_slots()->Add(audits->second.begin(), audits->second.end());
  }
  Send(gang, std::move(order), actions);
}

bool JobMachine::EvaluationIsDue(int64_t step) const {
  const Training& training = options_.job.training();
  if (options_.job.data().eval().empty()) return false;
  if (step == 0) return training.eval_at_start();
  const int64_t every = training.eval_every_steps();
  return step == record_.opened().num_steps() || (every > 0 && step % every == 0);
}

bool JobMachine::CheckpointIsDue(int64_t step, absl::Time now) const {
  const CheckpointPolicy& policy = options_.job.checkpoint();
  const auto divides = [step](int64_t every) { return every > 0 && step % every == 0; };
  return divides(policy.every_steps()) || divides(policy.keep_every_steps()) ||
         (policy.keep_best() > 0 && EvaluationIsDue(step)) ||
         (policy.every_minutes() > 0 &&
          now - last_checkpoint_time_ >= absl::Minutes(policy.every_minutes()));
}

// --- How far each gang is.

// Everybody begins the step after the last commit.
void JobMachine::StartStep(absl::Time now) {
  finishes_.clear();
  idle_.clear();
  const JobRecord::StepLease* lease = record_.FindLease(record_.committed_step() + 1);
  if (lease == nullptr) return;
  for (auto& [number, member] : gangs_) {
    if (!member.is_working) continue;
    const auto share = lease->shares.find(number);
    member.num_left = share == lease->shares.end() ? 0 : share->second.size();
    member.left_at = now;
    member.step_rate = 0;
    member.has_told = false;
    member.done_at.reset();
    UpdateFinish(number, member);
    const std::optional<Progress> early = std::exchange(member.early, std::nullopt);
    if (early.has_value()) NoteProgress(number, &member, *early, now);
  }
}

void JobMachine::UpdateFinish(int64_t gang, const Member& member) {
  if (member.num_left <= 0 || member.rate() <= 0) return;
  finishes_.emplace(member.left_at + absl::Seconds(member.num_left / member.rate()), gang);
}

// `progress` is of the step at hand.
void JobMachine::NoteProgress(int64_t gang, Member* member, const Progress& progress,
                              absl::Time now) {
  if (progress.step() != record_.committed_step() + 1 || progress.slots_left() < 0) return;
  if (member->num_left > 0 && member->rate() > 0) {
    finishes_.erase({member->left_at + absl::Seconds(member->num_left / member->rate()), gang});
  }
  if (progress.slots_per_second() > 0) member->step_rate = progress.slots_per_second();
  member->num_left = progress.slots_left();
  member->left_at = now;
  member->has_told = true;
  member->done_at.reset();
  UpdateFinish(gang, *member);
  if (member->num_left > 0) return;
  idle_.insert(gang);
  member->done_at = now;
}

void JobMachine::OnProgress(int64_t gang, const Progress& progress, absl::Time now,
                            Actions* actions) {
  Member* member = Find(gang);
  const bool is_at_work =
      phase_ == Phase::kSteady || (phase_ == Phase::kRegrouping && regroup_after_ >= 0);
  if (!is_at_work || !member->is_working || progress.generation() != formed_generation_) return;
  if (progress.step() > record_.committed_step() + 1) {
    member->early = progress;
    return;
  }
  NoteProgress(gang, member, progress, now);
  StealForIdle(now, actions);
}

// --- Steals.

void JobMachine::StealForIdle(absl::Time now, Actions* actions) {
  if (phase_ != Phase::kSteady || !disputes_.empty()) return;
  while (!idle_.empty() && !finishes_.empty()) {
    const int64_t thief = *idle_.begin();
    std::vector<int64_t> victims;
    for (auto it = finishes_.rbegin();
         it != finishes_.rend() && static_cast<int>(victims.size()) < kVictimsToConsider; ++it) {
      if (!Find(it->second)->is_asked) victims.push_back(it->second);
    }
    // One that should have finished long ago may be stuck.
    if (!Find(finishes_.begin()->second)->is_asked) victims.push_back(finishes_.begin()->second);
    const bool is_asked = std::any_of(victims.begin(), victims.end(), [&](int64_t victim) {
      return AskForSlots(thief, victim, now, actions);
    });
    if (!is_asked) return;
  }
}

bool JobMachine::AskForSlots(int64_t thief, int64_t victim, absl::Time now, Actions* actions) {
  Member& from = *Find(victim);
  const Member& to = *Find(thief);
  const int64_t step = record_.committed_step() + 1;
  const JobRecord::StepLease* lease = record_.FindLease(step);
  const auto share = lease->shares.find(victim);
  if (victim == thief || share == lease->shares.end()) return false;
  const int count = SlotsToSteal({.slots_per_second = from.rate(),
                                  .num_left = from.num_left,
                                  .seconds_ago = absl::ToDoubleSeconds(now - from.left_at)},
                                 to.rate() > 0 ? to.rate() : from.rate());
  if (count == 0) return false;
  AskedRelease asked{.thief = thief, .step = step, .slots = share->second.Last(count)};
  Order order;
  order.mutable_release()->set_generation(record_.generation());
  order.mutable_release()->set_step(step);
  *order.mutable_release()->mutable_slots() = asked.slots.ToRanges();
  Send(victim, std::move(order), actions);
  from.is_asked = true;
  idle_.erase(thief);
  releases_.insert_or_assign(victim, std::move(asked));
  return true;
}

void JobMachine::OnReleased(int64_t gang, const Released& released, absl::Time now,
                            Actions* actions) {
  const auto found = releases_.find(gang);
  if (phase_ != Phase::kSteady || released.generation() != record_.generation() ||
      found == releases_.end()) {
    return;  // of a generation that is over: its slots are leased anew
  }
  const AskedRelease asked = found->second;
  releases_.erase(found);
  Member& from = *Find(gang);
  Member& to = *Find(asked.thief);
  from.is_asked = false;
  const auto slots = SlotSet::FromRanges(released.slots());
  if (!slots.has_value() || released.step() != asked.step || !asked.slots.Contains(*slots)) {
    return Violate(gang, "it gave back slots that it was not asked for", now, actions);
  }
  if (asked.step != record_.committed_step() + 1) return;  // done meanwhile: nothing was left
  std::erase_if(finishes_, [gang](const auto& item) { return item.second == gang; });
  if (slots->empty()) {
    from.num_left = 0;  // until it says more
    idle_.insert(asked.thief);
    return StealForIdle(now, actions);
  }
  LedgerEntry entry;
  liquid::Steal& steal = *entry.mutable_steal();
  steal.set_generation(record_.generation());
  steal.set_step(asked.step);
  steal.set_from(gang);
  steal.set_to(asked.thief);
  *steal.mutable_slots() = slots->ToRanges();
  Record(std::move(entry), actions);

  MoveAudits(asked.thief, *slots, asked.step, now, actions);
  SendPlan(asked.thief, asked.step, &record_.FindLease(asked.step)->shares.at(asked.thief),
           actions);
  const double elapsed = absl::ToDoubleSeconds(now - from.left_at);
  const int expected = from.num_left - static_cast<int>(elapsed * from.rate());
  from.num_left = std::max(0, std::min(from.num_left, expected) - slots->size());
  from.left_at = now;
  UpdateFinish(gang, from);
  to.num_left = slots->size();
  to.left_at = now;
  to.done_at.reset();
  UpdateFinish(asked.thief, to);
  StealForIdle(now, actions);
}

}  // namespace liquid
