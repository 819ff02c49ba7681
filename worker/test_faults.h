// Faults that tests and benchmarks order from a worker by its hidden flags --test-*.
#ifndef LIQUID_WORKER_TEST_FAULTS_H_
#define LIQUID_WORKER_TEST_FAULTS_H_

#include <cstdint>

namespace liquid {

struct TestFaults {
  double slot_seconds = 0;  // every slot takes at least so long
  int64_t flip_every =
      0;  // one bit of one weight's gradient is flipped in every n-th slot; 0: never
};

}  // namespace liquid

#endif  // LIQUID_WORKER_TEST_FAULTS_H_
