#ifndef LIQUID_KERNELS_CPU_TEAM_H_
#define LIQUID_KERNELS_CPU_TEAM_H_

namespace liquid {

// Sizes this process's OpenMP team to its share of the machine, and returns the size: what
// OMP_NUM_THREADS says; else the processors it may run on, divided by `ranks_on_machine` unless the
// launcher has already given this process processors of its own. Results do not depend on it.
// Call it before the first operation.
int SizeTeam(int ranks_on_machine);

}  // namespace liquid

#endif  // LIQUID_KERNELS_CPU_TEAM_H_
