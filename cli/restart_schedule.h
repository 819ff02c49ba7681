// When a program that ended is started again.
#ifndef LIQUID_CLI_RESTART_SCHEDULE_H_
#define LIQUID_CLI_RESTART_SCHEDULE_H_

#include <optional>

#include "absl/time/time.h"

namespace liquid {

struct RestartOptions {
  absl::Duration delay =
      absl::Seconds(1);   // before the first restart; then twice as long each time
  int max_restarts = 10;  // in a row
};

inline constexpr absl::Duration kMaxRestartDelay = absl::Seconds(60);
// What ran so long has shown that it works: its next end counts as the first.
inline constexpr absl::Duration kProvenAfter = absl::Seconds(60);

// Of one program. Whether an end calls for a restart at all is the caller's question.
class RestartSchedule {
 public:
  explicit RestartSchedule(const RestartOptions& options) : options_(options) {}

  // How long to wait after an end; nothing if it ended too often. `ran`: how long it ran before.
  std::optional<absl::Duration> AfterEnd(absl::Duration ran);

  int num_restarts() const { return num_restarts_; }  // in a row

 private:
  RestartOptions options_;
  int num_restarts_ = 0;
};

// Whether a gang that ended with `code` would end the same way again, or is not to come back: done,
// a bad job, bad data, divergence, wrong answers, or asked to go by a signal.
bool IsGangGoneForGood(int code);
// Whether a coordinator that ended with `code` has said the last word on its job, or cannot serve
// it; else it crashed or its address was taken.
bool IsCoordinatorGoneForGood(int code);

}  // namespace liquid

#endif  // LIQUID_CLI_RESTART_SCHEDULE_H_
