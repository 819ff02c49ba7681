// How long the coordinator's decisions take, without network and disk: one whole step (a report of
// each gang, the commit, the next lease, a plan for each), and the death of one gang (the regroup,
// everybody's answer, the new world and plans).
#include <cstdint>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "benchmark/benchmark.h"
#include "coordinator/job_machine.h"
#include "tests/coordinator/gang_script.h"

namespace liquid {
namespace {

using ::liquid::testing::JoinAt;
using ::liquid::testing::ReadyMessage;
using ::liquid::testing::ScriptedJob;
using ::liquid::testing::StepMessage;

Job LargeJob(int64_t num_gangs) {
  return ScriptedJob("/o", {absl::StrCat("training.slots_per_step=", 4 * num_gangs),
                            "training.rows_per_slot=1", "training.epochs=1000000"});
}

// Gangs that answer at once; what the machine appends is dropped.
class Crowd {
 public:
  explicit Crowd(int64_t num_gangs)
      : job_(LargeJob(num_gangs)), machine_({.job = job_}, JobRecord()) {
    Actions actions;
    machine_.Start(now_, &actions);
    Join join = JoinAt(job_, 0);
    for (int64_t i = 0; i < num_gangs; ++i) {
      LIQUID_CHECK(machine_.OnJoin(join, now_, &actions).ok());
    }
    Settle(std::move(actions));
    LIQUID_CHECK(plans_.size() == static_cast<size_t>(num_gangs));
  }

  void Step() {
    for (auto& [gang, plans] : plans_) {
      const Plan plan = plans.begin()->second;
      plans.erase(plans.begin());
      GangMessage message = StepMessage(job_, plan);
      Actions actions;
      now_ += absl::Microseconds(1);
      machine_.OnMessage(gang, message, now_, &actions);
      late_.insert(late_.end(), std::make_move_iterator(actions.begin()),
                   std::make_move_iterator(actions.end()));
    }
    Settle(std::exchange(late_, {}));
    ++step_;
  }

  void KillOne() {
    const int64_t gang = plans_.begin()->first;
    plans_.erase(plans_.begin());
    Actions actions;
    machine_.OnDisconnected(gang, now_, &actions);
    Settle(std::move(actions));
  }

  int64_t committed() const { return machine_.record().committed_step(); }

 private:
  void Settle(Actions actions) {
    while (!actions.empty()) {
      Actions next;
      for (const Action& action : actions) {
        if (action.order->has_plan()) {
          plans_[action.gang][action.order->plan().step()] = action.order->plan();
        } else if (action.order->has_regroup()) {
          plans_[action.gang].clear();
          machine_.OnMessage(action.gang, ReadyMessage(action.order->regroup().generation(), step_),
                             now_, &next);
        }
      }
      actions = std::move(next);
    }
  }

  const Job job_;
  absl::Time now_ = absl::FromUnixSeconds(1000);
  JobMachine machine_;
  std::map<int64_t, std::map<int64_t, Plan>> plans_;  // by gang, by step
  Actions late_;
  int64_t step_ = 0;
};

void BM_Step(benchmark::State& state) {
  Crowd crowd(state.range(0));
  for (auto _ : state) crowd.Step();
  LIQUID_CHECK(crowd.committed() > 0);
  state.counters["us_per_gang"] = benchmark::Counter(
      static_cast<double>(state.range(0)) * 1e-6,
      benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}
BENCHMARK(BM_Step)->Arg(10)->Arg(1250)->Arg(10000)->Unit(benchmark::kMillisecond);

void BM_Death(benchmark::State& state) {
  Crowd crowd(state.range(0));
  for (auto _ : state) crowd.KillOne();
}
BENCHMARK(BM_Death)->Arg(1250)->Arg(10000)->Iterations(20)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace liquid
