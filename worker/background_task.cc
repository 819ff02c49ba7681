#include "worker/background_task.h"

#include <utility>

#include "base/check.h"

namespace liquid {

void BackgroundTask::Start(std::function<absl::Status()> work) {
  LIQUID_CHECK(is_done_, "work is still going on");
  if (thread_.joinable()) thread_.join();
  is_done_ = false;
  thread_ = std::thread([this, work = std::move(work)] {
    status_ = work();
    is_done_ = true;
  });
}

std::optional<absl::Status> BackgroundTask::Poll() {
  if (!is_done_) return std::nullopt;
  return status_;
}

absl::Status BackgroundTask::Wait() {
  if (thread_.joinable()) thread_.join();
  return status_;
}

}  // namespace liquid
