// Talks to the coordinator of a running job for people.
#ifndef LIQUID_CLI_CONTROL_CLIENT_H_
#define LIQUID_CLI_CONTROL_CLIENT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/coordinator.pb.h"

namespace liquid {

// What OUTPUT/coordinator.json says of the coordinator that left it there.
struct CoordinatorPlace {
  std::string address;  // HOST:PORT
  int64_t pid = 0;      // on the host where it runs
};

// NotFound if none has; DataLoss if the file names no address.
absl::StatusOr<CoordinatorPlace> ReadCoordinatorPlace(const std::string& output);

enum class ControlAction { kPause, kResume, kCheckpoint, kStop };

struct ControlOptions {
  std::string token;  // shown with every call; empty: none
  absl::Duration timeout = absl::Seconds(5);
};

// Every call ends within `timeout`, but for Watch. Errors: Unavailable if nobody answers at the
// address; Unauthenticated if the token is not the coordinator's; FailedPrecondition, with the
// reason, if the job's state does not allow an action.
class ControlClient {
 public:
  ControlClient(const std::string& address, const ControlOptions& options);  // HOST:PORT
  ~ControlClient();

  absl::StatusOr<JobStatus> GetStatus();
  // What the coordinator answers, one line.
  absl::StatusOr<std::string> Do(ControlAction action);
  // Lets a gang finish what it holds and leave. NotFound if it is no member.
  absl::StatusOr<std::string> Drain(int64_t gang);
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
