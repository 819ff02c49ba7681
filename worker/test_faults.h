// Faults that tests and benchmarks order from a worker by its hidden flags --test-*, and the marks
// by which they see from outside what it is about.
#ifndef LIQUID_WORKER_TEST_FAULTS_H_
#define LIQUID_WORKER_TEST_FAULTS_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace liquid {

// tests/chaos/phase_marks.h reads what this writes.
struct TestFaults {
  double slot_seconds = 0;  // every slot takes at least so long
  int64_t flip_every =
      0;  // one bit of one weight's gradient is flipped in every n-th slot; 0: never
  std::string phase_log;     // marks go to the file PHASE_LOG.PID; empty: nowhere
  double phase_seconds = 0;  // how long Linger takes, so that the phase can be hit

  // Appends a line `UNIX_MICROS PHASE STEP SLOT`, which outlives this process however it ends; for
  // a generation that is entered, its number takes the place of STEP. A mark that cannot be written
  // is missing.
  void Mark(std::string_view phase, int64_t step, int slot = -1) const;
  // Marks, and stays in the phase for a while. Nothing at all without a log.
  void Linger(std::string_view phase, int64_t step, int slot = -1) const;
};

}  // namespace liquid

#endif  // LIQUID_WORKER_TEST_FAULTS_H_
