// A machine, the time, and gangs that do what they are told and nothing else: for tests that
// arrange one situation and look at what the machine makes of it.
#ifndef LIQUID_TESTS_COORDINATOR_SCENE_H_
#define LIQUID_TESTS_COORDINATOR_SCENE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/job_machine.h"
#include "gmock/gmock.h"
#include "tests/coordinator/gang_script.h"
#include "tests/testing/status_matchers.h"

namespace liquid::testing {

struct SceneGang {
  int64_t step = 0;
  bool was_loaded = true;          // its state comes from a checkpoint
  std::map<int64_t, Plan> plans;   // not done, by step
  std::optional<Regroup> regroup;  // not answered yet
  std::optional<World> world;      // of the generation it works in
  std::optional<StopWorking> stop;
  std::vector<int64_t> committed;  // that it heard of
  std::vector<Order> others;       // release, audit, save_checkpoint
  SlotRanges held;                 // what it says it holds when asked the next time
  std::vector<StepReport> unsettled;
};

class Scene {
 public:
  explicit Scene(std::vector<std::string> overrides = {})
      : job(ScriptedJob("/o", std::move(overrides))), machine({.job = job}, JobRecord()) {
    machine.Start(now, &actions);
  }

  // A gang joins with the state after `step`; all others answer what that leads to.
  int64_t AddGang(int64_t step, int64_t number = 0) {
    Join join = JoinAt(job, step);
    join.set_gang(number);
    const auto gang = machine.OnJoin(join, now, &actions);
    EXPECT_THAT(gang, IsOk());
    gangs[gang.value_or(0)] = SceneGang();
    gangs[gang.value_or(0)].step = step;
    Deliver();
    return gang.value_or(0);
  }

  void Say(int64_t gang, const GangMessage& message) {
    machine.OnMessage(gang, message, now, &actions);
    Deliver();
  }
  void Disconnect(int64_t gang) {
    gangs.erase(gang);
    machine.OnDisconnected(gang, now, &actions);
    Deliver();
  }
  void Tick(absl::Duration passed) {
    now += passed;
    machine.OnTick(now, &actions);
    Deliver();
  }

  // `gang` reports its next plan, with the evaluation and the checkpoint that it asks for.
  void Report(int64_t gang) {
    SceneGang& self = gangs.at(gang);
    ASSERT_FALSE(self.plans.empty());
    const Plan plan = self.plans.begin()->second;
    ASSERT_EQ(plan.step(), self.step + 1);
    self.plans.erase(self.plans.begin());
    self.step = plan.step();
    self.was_loaded = false;
    const bool evaluates = plan.evaluate_after() && self.world->members(0).gang() == gang;
    Say(gang, StepMessage(job, plan));
    if (gangs.contains(gang)) AnswerRegroup(gang);
    if (evaluates) Say(gang, EvalMessage(plan.generation(), plan.step()));
    if (plan.checkpoint_after()) to_save.emplace_back(gang, plan.step());
    SaveWhatIsCommitted();
  }
  // All gangs do one step.
  void Work() {
    std::vector<int64_t> numbers;
    for (const auto& [number, gang] : gangs) {
      if (gang.world.has_value() && !gang.plans.empty()) numbers.push_back(number);
    }
    for (const int64_t number : numbers) Report(number);
    SaveWhatIsCommitted();
  }
  void SaveWhatIsCommitted() {
    for (const auto& [gang, step] : std::exchange(to_save, {})) {
      if (step <= machine.record().committed_step()) {
        Say(gang, CheckpointMessage(machine.record().generation(), step));
      } else {
        to_save.emplace_back(gang, step);
      }
    }
  }

  // Gangs take note of what was sent, and answer regroups.
  void Deliver() {
    while (delivered < actions.size()) {
      const Action action = actions[delivered++];
      if (action.kind == Action::Kind::kClose) {
        closed[action.gang] = action.status;
        gangs.erase(action.gang);
      }
      if (action.kind != Action::Kind::kSend || !gangs.contains(action.gang)) continue;
      Receive(action.gang, *action.order);
    }
  }
  void Receive(int64_t number, const Order& order) {
    SceneGang& gang = gangs.at(number);
    if (order.has_plan()) {
      gang.plans[order.plan().step()] = order.plan();
    } else if (order.has_committed()) {
      gang.committed.push_back(order.committed().step());
    } else if (order.has_stop()) {
      gang.stop = order.stop();
    } else if (order.has_world()) {
      gang.world = order.world();
      if (gang.step != order.world().step()) gang.was_loaded = false;
      gang.step = order.world().step();
    } else if (order.has_regroup()) {
      gang.regroup = order.regroup();
      gang.plans.erase(gang.plans.upper_bound(order.regroup().after_step()), gang.plans.end());
      AnswerRegroup(number);
    } else if (order.has_load_state()) {
      gang.step = order.load_state().max_step() / 4 * 4;  // every fourth step is saved
      gang.was_loaded = true;
      machine.OnMessage(number, ReadyMessage(order.load_state().generation(), gang.step, true), now,
                        &actions);
    } else if (!order.has_welcome()) {
      gang.others.push_back(order);
    }
  }
  void AnswerRegroup(int64_t number) {
    SceneGang& gang = gangs.at(number);
    if (!answers || stuck.contains(number) || !gang.regroup.has_value() || !gang.plans.empty())
      return;
    GangMessage message = ReadyMessage(gang.regroup->generation(), gang.step, gang.was_loaded);
    *message.mutable_ready()->mutable_held() = gang.held;
    for (const StepReport& report : gang.unsettled) {
      *message.mutable_ready()->add_unsettled() = report;
    }
    gang.regroup.reset();
    machine.OnMessage(number, message, now, &actions);
    Deliver();
  }

  // A coordinator that starts from the entries written so far; no gang is connected to it.
  void Restart() {
    JobRecord record;
    for (const Action& action : actions) {
      if (action.kind == Action::Kind::kAppend) {
        EXPECT_THAT(record.Apply(action.entry), IsOk());
      }
    }
    gangs.clear();
    delivered = actions.size();
    machine = JobMachine({.job = job}, std::move(record));
    machine.Start(now, &actions);
  }

  absl::StatusOr<std::string> Ask(Verb verb) {
    auto answer = machine.OnVerb(verb, "ann", now, &actions);
    Deliver();
    return answer;
  }
  absl::StatusOr<std::string> Drain(int64_t gang) {
    auto answer = machine.OnDrain(gang, "ann", now, &actions);
    Deliver();
    return answer;
  }

  std::vector<int64_t> PlannedSteps(int64_t gang) const {
    std::vector<int64_t> steps;
    for (const auto& [step, plan] : gangs.at(gang).plans) steps.push_back(step);
    return steps;
  }
  const Plan& NextPlan(int64_t gang) const { return gangs.at(gang).plans.begin()->second; }
  std::optional<absl::Status> ClosedWith(int64_t gang) const {
    const auto found = closed.find(gang);
    return found == closed.end() ? std::nullopt : std::optional(found->second);
  }
  std::vector<LedgerEntry> Entries() const {
    std::vector<LedgerEntry> entries;
    for (const Action& action : actions) {
      if (action.kind == Action::Kind::kAppend) entries.push_back(action.entry);
    }
    return entries;
  }
  // "0-3 5" for the slots of a plan.
  static std::string Slots(const SlotRanges& ranges) {
    std::string text;
    for (const SlotRange& range : ranges) {
      absl::StrAppend(&text, text.empty() ? "" : " ", range.begin(), "-", range.end() - 1);
    }
    return text;
  }

  Job job;
  absl::Time now = absl::FromUnixSeconds(1000);
  Actions actions;
  JobMachine machine;
  std::map<int64_t, SceneGang> gangs;  // connected
  std::map<int64_t, absl::Status> closed;
  std::vector<std::pair<int64_t, int64_t>> to_save;  // gang, step
  size_t delivered = 0;
  std::set<int64_t> stuck;  // in a slot: these do not answer
  bool answers = true;      // regroups are answered as soon as they can be
};

}  // namespace liquid::testing

#endif  // LIQUID_TESTS_COORDINATOR_SCENE_H_
