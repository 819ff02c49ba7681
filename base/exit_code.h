// How every program of ours ends: the exit codes that README.md documents.
#ifndef LIQUID_BASE_EXIT_CODE_H_
#define LIQUID_BASE_EXIT_CODE_H_

#include "absl/status/status.h"

namespace liquid {

enum class ExitCode : int {
  kOk = 0,
  kFailure = 1,     // none of the below: a bug
  kBadConfig = 2,   // job file, command line, or a thing they name
  kData = 3,        // training data, tokenizer, chat template
  kCheckpoint = 4,  // missing, damaged or of another job; also a model directory to start from
  kDivergence = 5,  // a non-finite loss, or a step that did not come out the same twice
  kDiskFull = 6,
  kPeerLost = 7,  // a worker or the coordinator is gone: start again
  kOutOfMemory = 8,
  kWrongAnswer = 9,  // this gang computed a slot wrong, twice against others: look at its machine
  kNoDevice = 10,    // no driver, no GPU, or fewer GPUs than ranks on this machine
  kPreempted = 75,  // ended by a signal, state is saved: start again (EX_TEMPFAIL, "requeue")
};

// Whether a program of ours ends with `code` itself; anything else is mpirun's or a signal's.
bool IsExitCode(int code);

// `status` marked to end the program with `code`, whatever its own code. Annotate() keeps the mark.
// An OK status is returned as it is.
absl::Status WithExitCode(absl::Status status, ExitCode code);

// The mark that WithExitCode left; without one, by the status code:
//   OK                                               kOk
//   InvalidArgument NotFound OutOfRange
//   PermissionDenied AlreadyExists Unauthenticated
//   FailedPrecondition Unimplemented                 kBadConfig
//   DataLoss                                         kCheckpoint
//   ResourceExhausted                                kDiskFull
//   Unavailable DeadlineExceeded Aborted             kPeerLost
//   Cancelled                                        kPreempted
//   Internal Unknown                                 kFailure
ExitCode ExitCodeOf(const absl::Status& status);

// Ends the program with kOutOfMemory and one line: `why`, and what takes less memory. For code that
// has no way to go on without the memory that it asked for.
[[noreturn]] void ExitOutOfMemory(const absl::Status& why);

}  // namespace liquid

#endif  // LIQUID_BASE_EXIT_CODE_H_
