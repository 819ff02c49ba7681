#include "kernels/cpu/team.h"

#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace liquid {

int SizeTeam(int ranks_on_machine) {
  if (std::getenv("OMP_NUM_THREADS") != nullptr) return omp_get_max_threads();
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  const int online = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  const bool known = sched_getaffinity(0, sizeof(allowed), &allowed) == 0;
  const int mine = known ? CPU_COUNT(&allowed) : online;
  const int threads = mine < online ? mine : std::max(1, mine / std::max(1, ranks_on_machine));
  omp_set_num_threads(threads);
  return threads;
}

void LetIdleThreadsSleep(char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") != nullptr || std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  setenv("GOMP_SPINCOUNT", "1000", /*overwrite=*/1);
  execv("/proc/self/exe", argv);  // returns only if it fails; then threads spin, no more
}

}  // namespace liquid
