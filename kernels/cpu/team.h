#ifndef LIQUID_KERNELS_CPU_TEAM_H_
#define LIQUID_KERNELS_CPU_TEAM_H_

namespace liquid {

// Sizes this process's OpenMP team to its share of the machine, and returns the size: what
// OMP_NUM_THREADS says; else the processors it may run on, divided by `ranks_on_machine` unless the
// launcher has already given this process processors of its own. Results do not depend on it.
// Call it before the first operation.
int SizeTeam(int ranks_on_machine);

// Makes threads of the team that wait for work go to sleep soon. The OpenMP runtime lets them spin
// for long, which on a machine with other work to do makes a step many times slower. The runtime
// reads its environment when it is loaded, so this program is executed once more, with the same
// arguments; unless GOMP_SPINCOUNT or OMP_WAIT_POLICY says what the user wants. First thing in
// main().
void LetIdleThreadsSleep(char** argv);

}  // namespace liquid

#endif  // LIQUID_KERNELS_CPU_TEAM_H_
