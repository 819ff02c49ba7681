// What a worker does when it is asked to go: SIGTERM, SIGINT, SIGUSR1 (mpirun forwards the latter).
//
// Before training has begun there is nothing to lose: the process ends at once with
// ExitCode::kPreempted. Afterwards the first signal asks, and the trainer finishes its step, saves
// and leaves; a second one, at least a second later (launchers often send several at once), ends
// the process at once. SIGUSR1 only ever asks: `liquid train` repeats it until it is heard.
#ifndef LIQUID_WORKER_SIGNALS_H_
#define LIQUID_WORKER_SIGNALS_H_

namespace liquid {

void InstallSignalHandlers();
// From here on the first signal asks instead of ending the process.
void BeginGracefulSignals();
// True once this process has been asked to go.
bool StopRequested();

}  // namespace liquid

#endif  // LIQUID_WORKER_SIGNALS_H_
