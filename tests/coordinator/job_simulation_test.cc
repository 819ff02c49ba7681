// Thousands of seeded schedules of gangs that die, linger, join late and lose messages, of people
// who pause and stop, and of coordinators that crash between an event and its entries.
#include <algorithm>
#include <deque>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "coordinator/job_machine.h"
#include "gmock/gmock.h"
#include "tests/coordinator/gang_script.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::CheckpointMessage;
using ::liquid::testing::EvalMessage;
using ::liquid::testing::FingerprintOf;
using ::liquid::testing::IsOk;
using ::liquid::testing::JoinAt;
using ::liquid::testing::LeaveMessage;
using ::liquid::testing::ScriptedJob;
using ::liquid::testing::StepMessage;

// A gang as it is: obeys its orders one by one, publishes a checkpoint only once its step is in the
// ledger. What it says is on its way for a while.
struct SimulatedGang {
  int64_t number = 0;
  int64_t generation = 0;
  int64_t step = 0;
  int64_t committed = 0;  // as far as it was told
  std::deque<Order> orders;
  std::deque<GangMessage> on_the_way;
  int64_t checkpoint_due = -1;  // waits for its commit
  bool is_connected = true;
  bool has_left = false;
};

class Simulation {
 public:
  explicit Simulation(uint64_t seed)
      : random_(seed),
        job_(ScriptedJob("/o",
                         {absl::StrCat("training.seed=", seed),
                          absl::StrCat("training.epochs=", 1 + Roll(4)), "data.eval=[/e.jsonl]"})),
        machine_({.job = job_}, JobRecord()) {
    machine_.Start(now_, &pending_);
    Flush();
  }

  void Run(int num_events) {
    for (int i = 0; i < num_events && !::testing::Test::HasFailure(); ++i) OneEvent();
  }

  // No more accidents: whoever is there, or comes now, must finish the job.
  void Settle() {
    for (int i = 0; i < 3000 && machine_.state() != DONE; ++i) {
      now_ += absl::Milliseconds(10);
      if (machine_.record().is_paused()) Ask(Verb::kResume);
      if (Current() == nullptr) {
        Join(/*newest=*/true);
      } else {
        Work(Current());
        Deliver(Current());
      }
    }
    EXPECT_EQ(machine_.state(), DONE) << machine_.status().ShortDebugString();
  }

  // The ledger, read from its beginning, is consistent and complete.
  void CheckLedger() const {
    JobRecord record;
    for (const LedgerEntry& entry : ledger_) {
      ASSERT_THAT(record.Apply(entry), IsOk()) << entry.ShortDebugString();
    }
    EXPECT_EQ(record.committed_step(), machine_.record().opened().num_steps());
    EXPECT_EQ(record.FingerprintAfter(record.committed_step()),
              FingerprintOf(record.committed_step()));
    EXPECT_EQ(record.generation(), machine_.record().generation());
  }

  int num_deaths() const { return num_deaths_; }
  int num_voids() const { return num_voids_; }

 private:
  int Roll(int n) { return static_cast<int>(random_() % n); }

  void OneEvent() {
    now_ += absl::Milliseconds(Roll(100));
    const int kind = Roll(100);
    if (kind < 2) return Kill();
    if (kind < 3) return CrashCoordinator();
    if (kind < 4) {
      now_ += absl::Seconds(6);
      machine_.OnTick(now_, &pending_);
      return Flush();
    }
    if (kind < 5) return Ask(static_cast<Verb>(Roll(4)));
    if (kind < 13) return Join(/*newest=*/Roll(4) > 0);
    if (kind < 17 && !zombies_.empty()) {
      return Deliver(&zombies_[Roll(static_cast<int>(zombies_.size()))]);
    }
    if (Current() == nullptr) return;
    kind % 2 == 0 ? Work(Current()) : Deliver(Current());
  }

  SimulatedGang* Current() {
    return gang_.number != 0 && gang_.is_connected && !gang_.has_left ? &gang_ : nullptr;
  }

  // Carries out what the machine decided, and checks it.
  void Flush() {
    Actions actions = std::exchange(pending_, {});
    for (const Action& action : actions) {
      if (action.kind == Action::Kind::kAppend) {
        num_voids_ += action.entry.has_voided() ? 1 : 0;
        ledger_.push_back(action.entry);
      }
    }
    for (const Action& action : actions) {
      if (action.kind == Action::Kind::kClose && action.gang == gang_.number) {
        gang_.is_connected = false;
        if (!gang_.has_left) zombies_.push_back(gang_);
      }
      if (action.kind != Action::Kind::kSend || action.gang != gang_.number) continue;
      if (action.order.has_plan()) {
        EXPECT_GT(action.order.plan().step(), machine_.record().committed_step());
        EXPECT_EQ(action.order.plan().generation(), machine_.record().generation());
      }
      if (action.order.has_committed()) {
        gang_.committed = action.order.committed().step();
      } else {
        gang_.orders.push_back(action.order);
      }
    }
  }

  void Join(bool newest) {
    // Newer ones may be left from steps that were voided: OpenJob tells how far the ledger is.
    const auto end = checkpoints_.upper_bound(machine_.status().step());
    const int num_known = static_cast<int>(std::distance(checkpoints_.begin(), end));
    const auto from = newest ? std::prev(end) : std::next(checkpoints_.begin(), Roll(num_known));
    Actions actions;
    const auto number = machine_.OnJoin(JoinAt(job_, *from), now_, &actions);
    if (Current() != nullptr) {
      EXPECT_FALSE(number.ok());
      return;
    }
    if (!number.ok()) {  // the coordinator has not noticed yet that the last gang is gone
      EXPECT_TRUE(actions.empty());
      machine_.OnDisconnected(gang_.number, now_, &pending_);
      return Flush();
    }
    gang_ = SimulatedGang{
        .number = *number, .step = *from, .committed = *from, .orders = {}, .on_the_way = {}};
    pending_ = std::move(actions);
    Flush();
  }

  // The gang does one thing that it was told to.
  void Work(SimulatedGang* gang) {
    if (gang->checkpoint_due >= 0) {
      if (gang->committed < gang->checkpoint_due) return;
      checkpoints_.insert(gang->checkpoint_due);
      gang->on_the_way.push_back(CheckpointMessage(gang->generation, gang->checkpoint_due));
      gang->checkpoint_due = -1;
      if (gang->step == machine_.record().opened().num_steps()) Leave(gang, Leave::JOB_DONE);
      return;
    }
    if (gang->orders.empty() || gang->has_left) return;
    const Order order = gang->orders.front();
    gang->orders.pop_front();
    if (order.has_welcome()) {
      gang->generation = order.welcome().generation();
    } else if (order.has_save_checkpoint()) {
      gang->checkpoint_due = gang->step;
    } else if (order.has_stop()) {
      Leave(gang, Leave::STOPPED);
    } else {
      const Plan& plan = order.plan();
      ASSERT_EQ(plan.step(), gang->step + 1);
      ASSERT_EQ(plan.generation(), gang->generation);
      gang->step = plan.step();
      gang->on_the_way.push_back(StepMessage(job_, plan));
      if (plan.evaluate_after()) {
        gang->on_the_way.push_back(EvalMessage(plan.generation(), plan.step()));
      }
      if (plan.checkpoint_after()) gang->checkpoint_due = plan.step();
    }
  }

  void Leave(SimulatedGang* gang, Leave::Reason reason) {
    if (reason == Leave::STOPPED && Roll(2) == 0) reason = Leave::PREEMPTED;
    gang->on_the_way.push_back(LeaveMessage(reason));
  }

  void Deliver(SimulatedGang* gang) {
    if (gang->on_the_way.empty()) return;
    const GangMessage message = gang->on_the_way.front();
    gang->on_the_way.pop_front();
    if (message.has_leave()) gang->has_left = true;
    const size_t before = ledger_.size();
    const JobStatus status = machine_.status();  // a silent gang is a member until it is missed
    const bool is_member = status.gangs_size() > 0 && status.gangs(0).gang() == gang->number;
    machine_.OnMessage(gang->number, message, now_, &pending_);
    Flush();
    EXPECT_TRUE(is_member || ledger_.size() == before) << "a zombie was heard";
  }

  void Kill() {
    if (Current() == nullptr) return;
    ++num_deaths_;
    gang_.is_connected = false;
    zombies_.push_back(gang_);
    if (Roll(2) == 0) machine_.OnDisconnected(gang_.number, now_, &pending_);
    Flush();
  }

  // Whatever was not flushed is lost; an event may have been seen and its entries not written.
  void CrashCoordinator() {
    JobMachine lost = machine_;
    Actions dropped;
    if (SimulatedGang* gang = Current(); gang != nullptr && !gang->on_the_way.empty()) {
      lost.OnMessage(gang->number, gang->on_the_way.front(), now_, &dropped);
    }
    gang_.is_connected = false;
    JobRecord record;
    for (const LedgerEntry& entry : ledger_) ASSERT_THAT(record.Apply(entry), IsOk());
    machine_ = JobMachine({.job = job_}, std::move(record));
    machine_.Start(now_, &pending_);
    Flush();
  }

  void Ask(Verb verb) {
    const bool allowed = machine_.OnVerb(verb, "ann", now_, &pending_).ok();
    EXPECT_TRUE(allowed || pending_.empty());
    Flush();
  }

  std::mt19937_64 random_;
  absl::Time now_ = absl::FromUnixSeconds(1000);
  Job job_;
  JobMachine machine_;
  Actions pending_;
  std::vector<LedgerEntry> ledger_;
  std::set<int64_t> checkpoints_ = {0};  // 0: the start
  SimulatedGang gang_;
  std::vector<SimulatedGang> zombies_;
  int num_deaths_ = 0;
  int num_voids_ = 0;
};

TEST(JobSimulationTest, EveryScheduleEndsWithEveryStepCommittedOnce) {
  int num_deaths = 0;
  int num_voids = 0;
  for (uint64_t seed = 1; seed <= 600 && !HasFailure(); ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Simulation simulation(seed);
    simulation.Run(150);
    simulation.Settle();
    simulation.CheckLedger();
    num_deaths += simulation.num_deaths();
    num_voids += simulation.num_voids();
  }
  // The schedules did have something to survive.
  EXPECT_GT(num_deaths, 300);
  EXPECT_GT(num_voids, 150);
}

}  // namespace
}  // namespace liquid
