// A coordinator: one job, its ledger, and the gRPC server that gangs and people talk to. Lives in
// liquid-coordinator, or in rank 0 of a worker.
#ifndef LIQUID_COORDINATOR_SERVER_H_
#define LIQUID_COORDINATOR_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/coordinator.pb.h"
#include "proto/job.pb.h"

namespace liquid {

// OUTPUT/coordinator.json: {"address": "HOST:PORT", "pid": N, "host": "..."} while one is running.
std::string CoordinatorFilePath(const std::string& output);

// Any thread may call anything but the destructor.
class CoordinatorServer {
 public:
  struct Options {
    std::string listen;       // HOST:PORT; empty: the job's. Port 0: any free one
    bool keep_pause = false;  // of the ledger; else a new start ends it
    // Holds the access token (proto/access_token.h) that every call must show. Empty: none is asked
    // for, and none but this machine is listened to.
    std::string token_file;
  };

  // Creates `job.output()` if need be, with ledger.sqlite, job.yaml, metrics.jsonl and
  // coordinator.json. Errors:
  //   InvalidArgument     the output holds another job; an address beyond loopback without a token;
  //                       no token in the file
  //   FailedPrecondition  another coordinator serves the job (pid and host are named)
  //   DataLoss            the ledger was changed
  //   Unavailable         the address is taken
  static absl::StatusOr<std::unique_ptr<CoordinatorServer>> Start(const Job& job,
                                                                  const Options& options);
  virtual ~CoordinatorServer() = default;  // as Shutdown

  // HOST:PORT that others can dial, with the port that was bound; where it listens on all
  // interfaces, the address by which this machine reaches others.
  virtual std::string address() const = 0;

  // Ended: done, failed, or stopped by a person, with no gang left.
  virtual bool HasEnded() = 0;
  // Blocks until then, or until Shutdown; DONE, FAILED, or how far it came (WAITING: stopped).
  virtual JobState WaitUntilEnded() = 0;
  // Why the job failed, with its exit code (base/exit_code.h); OK if it did not.
  virtual absl::Status Failure() = 0;
  // Ends all streams (Unavailable) and the server, removes coordinator.json. May be repeated.
  virtual void Shutdown() = 0;
};

}  // namespace liquid

#endif  // LIQUID_COORDINATOR_SERVER_H_
