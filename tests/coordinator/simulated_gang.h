// A gang as docs/PROTOCOL.md has it, in virtual time: it computes slots, exchanges with others,
// applies steps, saves checkpoints, and obeys its orders. No weights: a state is its step's number.
#ifndef LIQUID_TESTS_COORDINATOR_SIMULATED_GANG_H_
#define LIQUID_TESTS_COORDINATOR_SIMULATED_GANG_H_

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "data/epoch_order.h"
#include "proto/coordinator.pb.h"
#include "proto/slot_set.h"

namespace liquid::testing {

class SimulatedGang;

// What a gang tells the others in a step: the slots that it has done, and digests of some.
struct SlotsWord {
  int64_t step = 0;
  SlotSet done;
  std::map<int, std::string> digests;
};

// What surrounds the gangs: time, chance, the network, the shared disk. Part of simulation.h.
class Surroundings {
 public:
  virtual ~Surroundings() = default;
  virtual int Roll(int n) = 0;  // 0 <= result < n
  // `action` happens after about `delay`, unless the gang is dead by then; a frozen one catches up.
  virtual void After(absl::Duration delay, SimulatedGang* gang, std::function<void()> action) = 0;
  virtual void Say(SimulatedGang* gang, const GangMessage& message) = 0;
  virtual void EndStream(SimulatedGang* gang) = 0;  // from the gang's side
  virtual void Exit(SimulatedGang* gang) = 0;       // the process ends

  // Between gangs of a generation.
  virtual void Enter(SimulatedGang* gang, const World& world) = 0;
  virtual void Abort(SimulatedGang* gang) = 0;  // it leaves the exchange it is in
  virtual bool CanReceiveState(SimulatedGang* gang) = 0;
  virtual void Speak(SimulatedGang* gang, const SlotsWord& word) = 0;

  virtual std::set<int64_t>& checkpoints() = 0;
  virtual const JobStream& stream() = 0;
  virtual void Violation(const std::string& text) = 0;
};

class SimulatedGang {
 public:
  SimulatedGang(int process, Surroundings* surroundings, absl::Duration slot_time, bool lies)
      : id(process), is_liar(lies), surroundings_(*surroundings), slot_time_(slot_time) {}

  void Receive(const Order& order);
  // The sums of all gangs in `generation` are at hand: this gang applies the step.
  void OnReduced(int64_t generation, int64_t step);
  // Of another gang of its generation: dead, or no longer in the exchange.
  void OnPeerLost(int64_t generation);
  void OnDisagreement(int64_t generation, int slot, int64_t first, const std::string& digest,
                      int64_t other, const std::string& theirs);
  void AskToLeave();

  const int id;
  int64_t number = 0;  // 0: never joined
  int64_t step = -1;   // of its state; -1: none
  const bool is_liar;  // its digests are wrong now and then
  bool has_lied = false;
  bool is_frozen = false;
  bool is_stuck = false;  // frozen, but for its heartbeats: inside a slot that takes long
  int64_t stream_id = 0;  // 0: not connected
  int64_t newest_generation = 0;
  std::optional<World> world;  // in whose exchange it is
  std::vector<StepReport> unsettled;

 private:
  void Advance();
  bool AnswerRegroup();
  void ComputeNext(Plan* plan);
  void FinishSlot(int slot, bool counts);
  void SayProgress(const Plan& plan, int slots_left);
  void CarryOutDeferred();
  void PublishCheckpoints();
  void TakePlan(const Plan& plan);
  void TakeRegroup(const Regroup& regroup);
  void TakeWorld(const World& new_world);
  void GiveBack(const Release& release);
  std::string DigestOf(int64_t of_step, int slot);
  void SayReady(int64_t generation, int64_t loaded_from);

  Surroundings& surroundings_;
  const absl::Duration slot_time_;
  bool is_member_ = false;          // has the state of its world, and may work
  std::map<int64_t, Plan> plans_;   // not done
  std::optional<Regroup> regroup_;  // not answered
  SlotSet done_;                    // of step + 1
  int64_t held_generation_ = 0;     // of the newest plan
  std::map<int, std::string> digests_;
  int slot_at_hand_ = -1;
  int work_ = 0;  // work begun under another number is abandoned
  bool has_spoken_ = false;
  std::list<std::pair<int64_t, Order>> deferred_;  // after which step
  std::set<int64_t> unpublished_;                  // checkpoints that wait for their commit
  int64_t committed_ = 0;
  int64_t loaded_from_ = -1;  // its state is that of a checkpoint
};

}  // namespace liquid::testing

#endif  // LIQUID_TESTS_COORDINATOR_SIMULATED_GANG_H_
