// What members say of the steps that are not committed yet. Pure, as job_machine.h, whose part it
// is.
#ifndef LIQUID_COORDINATOR_STEP_REPORTS_H_
#define LIQUID_COORDINATOR_STEP_REPORTS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "proto/coordinator.pb.h"

namespace liquid {

// A value.
class StepReports {
 public:
  void Add(int64_t gang, const StepReport& report);
  bool Has(int64_t gang, int64_t step) const;
  int Count(int64_t step) const;  // how many gangs reported it
  void Forget(int64_t gang);      // all that it said
  void ForgetUpTo(int64_t step);  // they are committed
  void ForgetFrom(int64_t step);  // they are leased anew
  void Clear() { reports_.clear(); }

  struct Agreement {
    std::string fingerprint;        // what most reports say; empty: as many say something else
    std::vector<int64_t> minority;  // gangs that say something else; of a tie, all
    std::string tied[2];            // of a tie: two of the fingerprints
    int64_t tied_gangs[2] = {0, 0};
  };
  // REQUIRES: Count(step) > 0. `expected`: decides a tie if one side says so; may be empty.
  Agreement Agree(int64_t step, const std::string& expected) const;

  // All reports of `step` that say `fingerprint`, as the one of a job: the step's own figures and
  // the longest of each time; rates follow from the slowest, peaks add up. Without slots.
  StepReport Combine(int64_t step, const std::string& fingerprint) const;

 private:
  std::map<int64_t, std::map<int64_t, StepReport>> reports_;  // by step, by gang
};

}  // namespace liquid

#endif  // LIQUID_COORDINATOR_STEP_REPORTS_H_
