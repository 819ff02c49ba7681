// One job, many accidents: gangs come and go, are killed and frozen, and so is their coordinator,
// at moments drawn from a seed. What must come out is the same as if nothing had happened.
#ifndef LIQUID_TESTS_CHAOS_CHAOS_SCHEDULE_H_
#define LIQUID_TESTS_CHAOS_CHAOS_SCHEDULE_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tests/chaos/phase_marks.h"

namespace liquid::testing {

struct ChaosCounts {
  int kills = 0;              // kill -9 of a rank, or of an mpirun
  int freezes = 0;            // SIGSTOP of a whole gang, SIGCONT later
  int joins = 0;              // gangs started
  int drains = 0;             // asked to go, by a signal or by an operator
  int coordinator_kills = 0;  // kill -9, started again at the same address
  int verbs = 0;              // pause, resume, checkpoint
  // Kills and freezes of a rank that was in the phase aimed at, and stayed there: by Phase.
  std::array<int, kNumPhases> hits{};
  int finished_slots = 0;  // what recomputation.h says of them
  int lost_slots = 0;
  int recomputed_slots = 0;

  ChaosCounts& operator+=(const ChaosCounts& other);
};

struct ChaosResult {
  ChaosCounts counts;
  std::string problem;  // empty: everything as it must be
  double seconds = 0;
};

// The job that is disturbed, and what it comes to undisturbed.
class ChaosJob {
 public:
  // Makes its files in `directory`, and trains it on one rank.
  explicit ChaosJob(const std::string& directory);
  const std::string& fingerprint() const { return fingerprint_; }  // empty: that failed
  const std::string& problem() const { return problem_; }

  // Runs it once more, with accidents. Programs' output is in DIRECTORY/run-SEED/, which is removed
  // if there is no problem.
  ChaosResult Run(uint64_t seed, absl::Duration timeout) const;

 private:
  std::string directory_;
  std::string fingerprint_;
  std::string problem_;
};

}  // namespace liquid::testing

#endif  // LIQUID_TESTS_CHAOS_CHAOS_SCHEDULE_H_
