// Talks to the coordinator of a running job for people.
#ifndef LIQUID_CLI_CONTROL_CLIENT_H_
#define LIQUID_CLI_CONTROL_CLIENT_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/coordinator.pb.h"

namespace liquid {

// HOST:PORT from OUTPUT/coordinator.json. NotFound if no coordinator has left one there.
absl::StatusOr<std::string> ReadCoordinatorAddress(const std::string& output);

enum class ControlAction { kPause, kResume, kCheckpoint, kStop };

// Every call ends within a few seconds, but for Watch. Errors: Unavailable if nobody answers at the
// address; FailedPrecondition, with the reason, if the job's state does not allow an action.
class ControlClient {
 public:
  explicit ControlClient(const std::string& address);  // HOST:PORT
  ~ControlClient();

  absl::StatusOr<JobStatus> GetStatus();
  // What the coordinator answers, one line.
  absl::StatusOr<std::string> Do(ControlAction action);
  // Calls `on_status` with the status now and after each change, until the job ends (OK) or
  // `on_status` returns false (OK). Unavailable if the coordinator goes away.
  absl::Status Watch(const std::function<bool(const JobStatus&)>& on_status);

 private:
  struct Connection;
  std::string address_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace liquid

#endif  // LIQUID_CLI_CONTROL_CLIENT_H_
