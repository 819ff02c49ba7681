// A gang as the coordinator's machine sees it. Part of job_machine.h.
#ifndef LIQUID_COORDINATOR_MEMBERSHIP_H_
#define LIQUID_COORDINATOR_MEMBERSHIP_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "proto/coordinator.pb.h"
#include "proto/slot_set.h"

namespace liquid {

struct Member {
  GangStatus status;  // applied_step: as last reported
  std::vector<std::string> data_addresses;

  bool is_here = true;      // else SILENT: the ledger knows it, its stream is not here
  bool is_member = true;    // else it was drained, and goes once its last step is done
  bool had_state = false;   // made the step of the last World itself
  bool is_working = false;  // was in the last World: it takes part in the steps leased since
  bool owes_work = false;   // no member, but the last step before the boundary has slots of it
  bool is_waiting = false;  // came during a regroup: is a member of the next
  bool is_needed = false;   // a member again until the next World: nobody else has the state
  bool is_leaving = false;  // somebody wants it to go
  bool is_stuck = false;  // no member: it was in a slot for too long; is one again once it answers
  bool was_told_to_stop = false;
  absl::Time last_heard;

  // The regroup at hand.
  absl::Time regroup_sent;
  bool was_heard_since = false;
  std::optional<Ready> ready;
  absl::Time ready_at;
  SlotSet held;  // of the first step after a regroup, until that is leased

  // The step at hand: what is not begun, as last heard.
  int num_left = 0;
  absl::Time left_at;
  double step_rate = 0;               // slots per second in this step; 0: unknown
  bool is_asked = false;              // to give slots back
  bool has_told = false;              // how far it is
  std::optional<absl::Time> done_at;  // it said that nothing is left, or that it made the step
  std::optional<Progress> early;      // of the step after it

  int num_slots = -1;            // leased to it in the newest step; -1: none leased
  int64_t step_measured = 0;     // the newest step with slots for it
  bool is_rate_guessed = false;  // from how long it was stuck: the next measurement counts alone

  // 0: unknown.
  double rate() const { return step_rate > 0 ? step_rate : status.slots_per_second(); }
};

}  // namespace liquid

#endif  // LIQUID_COORDINATOR_MEMBERSHIP_H_
