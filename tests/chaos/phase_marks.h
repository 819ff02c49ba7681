// What the ranks of a gang say that they are about (worker/test_faults.h), read from outside.
#ifndef LIQUID_TESTS_CHAOS_PHASE_MARKS_H_
#define LIQUID_TESTS_CHAOS_PHASE_MARKS_H_

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace liquid::testing {

// Where accidents aim at.
enum class Phase {
  kSlot,          // in a slot's computation
  kBetweenSlots,  // a slot is done, the next one or the reduction has not begun
  kReduce,
  kApplied,     // the step is applied and not reported, so not committed
  kCheckpoint,  // being written or published, not reported
};
inline constexpr int kNumPhases = 5;
inline constexpr std::array<const char*, kNumPhases> kPhaseNames = {
    "in a slot", "between slots", "in the reduction", "applied, not reported",
    "at a checkpoint, not reported"};

struct PhaseMark {
  int64_t unix_micros = 0;
  std::string phase;
  int64_t step = 0;  // of "generation", which is no phase, its number
  int slot = -1;
};

// The marks of each process that logs under `prefix`, by its id.
std::map<pid_t, std::vector<PhaseMark>> ReadMarks(const std::string& prefix);

// The processes that have logged under `prefix` so far.
std::vector<pid_t> LoggingProcesses(const std::string& prefix);

// Whether `pid` is in `phase`, by the last of its marks that speaks of it.
bool IsInPhase(const std::string& prefix, pid_t pid, Phase phase);

bool IsStill(pid_t pid);  // runs no more: is dead or stopped
// Waits for that; false if it still runs at `deadline`.
bool WaitUntilStill(pid_t pid, absl::Time deadline);

}  // namespace liquid::testing

#endif  // LIQUID_TESTS_CHAOS_PHASE_MARKS_H_
