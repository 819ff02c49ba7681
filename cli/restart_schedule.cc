#include "cli/restart_schedule.h"

#include <algorithm>
#include <cmath>

#include "base/exit_code.h"

namespace liquid {

std::optional<absl::Duration> RestartSchedule::AfterEnd(absl::Duration ran) {
  if (ran >= kProvenAfter) num_restarts_ = 0;
  if (num_restarts_ >= options_.max_restarts) return std::nullopt;
  const absl::Duration delay = options_.delay * std::exp2(std::min(num_restarts_, 30));
  ++num_restarts_;
  return std::min(delay, kMaxRestartDelay);
}

bool IsGangGoneForGood(int code) {
  switch (static_cast<ExitCode>(code)) {
    case ExitCode::kOk:
    case ExitCode::kBadConfig:
    case ExitCode::kData:
    case ExitCode::kDivergence:
    case ExitCode::kWrongAnswer:
    case ExitCode::kPreempted:
      return true;
    default:
      return false;
  }
}

bool IsCoordinatorGoneForGood(int code) {
  return IsExitCode(code) && code != static_cast<int>(ExitCode::kFailure) &&
         code != static_cast<int>(ExitCode::kPeerLost);
}

}  // namespace liquid
