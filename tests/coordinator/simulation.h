// One seeded schedule of a whole job in virtual time: a coordinator that crashes between an event
// and its entries, gangs (simulated_gang.h) that are killed, frozen, joined, drained and that lie,
// streams that break and lose a suffix of what was said, people who pause and stop.
//
// What must hold (docs/PROTOCOL.md) is checked at every event; what does not is in violations().
#ifndef LIQUID_TESTS_COORDINATOR_SIMULATION_H_
#define LIQUID_TESTS_COORDINATOR_SIMULATION_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/job_machine.h"
#include "tests/coordinator/simulated_gang.h"

namespace liquid::testing {

struct SimulationCounts {
  int64_t schedules = 0;
  int64_t kills = 0;
  int64_t freezes = 0;
  int64_t stuck = 0;   // in a slot, for long
  int64_t hedges = 0;  // regroups around those
  int64_t joins = 0;
  int64_t drains = 0;
  int64_t broken_streams = 0;
  int64_t coordinator_crashes = 0;
  int64_t verbs = 0;
  int64_t generations = 0;
  int64_t commits = 0;
  int64_t steals = 0;
  int64_t audits = 0;  // slots that two gangs computed
  int64_t voided_steps = 0;
  int64_t kept_slots = 0;     // over regroups, by survivors
  int64_t late_messages = 0;  // of streams that were over
  int64_t liars = 0;
  int64_t liars_found = 0;
  int64_t undecided = 0;  // disputes of two gangs alone
  int64_t violations = 0;
  void Add(const SimulationCounts& other);
};

class Simulation final : public Surroundings {
 public:
  explicit Simulation(uint64_t seed, int min_epochs = 4);

  // Accidents for a while; then none any more, and whoever is there, or comes, must finish the job.
  void Run();
  // No accident but one: a gang is stuck in a slot for longer than the whole job takes the others.
  void RunWithAStuckGang();

  const SimulationCounts& counts() const { return counts_; }
  const std::vector<std::string>& violations() const { return violations_; }
  std::string Trace() const;  // what happened last

  // Surroundings.
  int Roll(int n) override { return static_cast<int>(random_() % static_cast<uint64_t>(n)); }
  void After(absl::Duration delay, SimulatedGang* gang, std::function<void()> action) override;
  void Say(SimulatedGang* gang, const GangMessage& message) override;
  void EndStream(SimulatedGang* gang) override;
  void Exit(SimulatedGang* gang) override;
  void Enter(SimulatedGang* gang, const World& world) override;
  void Abort(SimulatedGang* gang) override;
  bool CanReceiveState(SimulatedGang* gang) override;
  void Speak(SimulatedGang* gang, const SlotsWord& word) override;
  std::set<int64_t>& checkpoints() override { return checkpoints_; }
  const JobStream& stream() override { return stream_; }
  void Violation(const std::string& text) override;

 private:
  struct Event {
    absl::Time time;
    int64_t order;
    std::function<void()> action;
    bool operator<(const Event& other) const {
      return std::pair(time, order) > std::pair(other.time, other.order);
    }
  };
  struct Stream {
    int gang = 0;         // process
    int64_t number = 0;   // as the coordinator knows it; 0: not joined
    absl::Time up, down;  // when the last message of each direction arrives
    int64_t num_up = 0, num_down = 0;
    int64_t up_end = INT64_MAX, down_end = INT64_MAX;  // messages from these on are lost
    int64_t up_done = 0, down_done = 0;
  };
  struct Exchange {
    World world;
    std::map<int64_t, int> entered;  // number -> process
    std::map<int64_t, SlotsWord> words;
    std::set<std::pair<int64_t, int>> told;  // disagreements
    int64_t reduced_step = 0;
    bool is_broken = false;
  };

  void At(absl::Duration delay, std::function<void()> action);
  void RunUntil(absl::Time end);
  SimulatedGang* FindLive(int id);
  std::vector<SimulatedGang*> Live();

  // The coordinator and its driver.
  void StartCoordinator();
  void CrashCoordinator();
  void Tell(const std::function<void(JobMachine*, Actions*)>& event);
  void CarryOut(const Actions& actions);
  void CheckEntry(const LedgerEntry& entry);
  void CheckOrder(int64_t gang, const Order& order);
  void NoteHeld(const World& world);
  void CheckKept(const Lease& lease);
  void CloseStream(int64_t stream, const absl::Status& status);
  void Arrive(int64_t stream, const GangMessage& message);
  void JoinArrives(int64_t stream, const Join& join);
  void Tick();
  void Ask(Verb verb);

  // Gangs.
  void Spawn();
  void Connect(SimulatedGang* gang);
  void BreakStream(SimulatedGang* gang);
  void SendDown(int64_t stream, std::function<void(SimulatedGang*)> action);
  void Closed(SimulatedGang* gang, const absl::Status& status);
  void Thaw(SimulatedGang* gang);
  void Accident();
  void Stick(SimulatedGang* gang, absl::Duration how_long);
  void TryToReduce(Exchange* exchange);
  bool FindDisagreement(Exchange* exchange, int64_t step);
  bool IsAuditMissing(const Exchange& exchange, int64_t step) const;
  void CheckAudits(const Exchange& exchange, int64_t step);

  std::mt19937_64 random_;
  absl::Time now_ = absl::FromUnixSeconds(1000);
  std::priority_queue<Event> events_;
  int64_t num_events_ = 0;
  bool has_accidents_ = true;

  Job job_;
  std::string job_digest_;
  JobStream stream_;
  std::unique_ptr<JobMachine> machine_;  // null: down
  std::vector<LedgerEntry> ledger_;
  JobRecord record_;                     // of the ledger, applied anew
  std::map<int64_t, int64_t> peers_;     // number -> stream
  std::map<int64_t, Ready> last_ready_;  // number -> as it arrived
  std::map<int64_t, int64_t> told_;      // number -> newest generation that it was told of
  std::map<int64_t, SlotSet> to_keep_;   // after a World: what members hold of the next step
  int64_t to_keep_step_ = 0;
  int64_t to_keep_generation_ = 0;

  std::map<int64_t, Stream> streams_;
  int64_t last_stream_ = 0;
  std::vector<std::unique_ptr<SimulatedGang>> gangs_;  // by id; null: dead
  std::vector<std::unique_ptr<SimulatedGang>> dead_;
  std::map<int, std::vector<std::function<void()>>> backlog_;  // of frozen ones
  std::map<int64_t, Exchange> exchanges_;                      // by generation
  std::set<int64_t> checkpoints_ = {0};
  std::set<std::pair<int64_t, int>> undecided_;  // step, slot
  bool has_liars_ = false;
  SimulationCounts counts_;
  std::vector<std::string> violations_;
  std::deque<std::string> trace_;
};

}  // namespace liquid::testing

#endif  // LIQUID_TESTS_COORDINATOR_SIMULATION_H_
