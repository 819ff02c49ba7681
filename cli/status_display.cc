#include "cli/status_display.h"

#include <cstdio>
#include <utility>

#include "absl/time/clock.h"
#include "cli/status_text.h"

namespace liquid {
namespace {

constexpr absl::Duration kPlainInterval = absl::Milliseconds(500);

}  // namespace

bool StatusDisplay::Show(const JobStatus& status) {
  const bool same_state = shown_any_ && status.state() == last_.state();
  last_ = status;
  shown_any_ = true;
  if (json_) return PrintLine(ToJsonLine(StatusToJson(status)));
  if (live_) {
    line_.Show(StatusLine(status));
    return true;
  }
  const absl::Time now = absl::Now();
  const bool is_last = status.step() == status.num_steps();
  if (same_state && !is_last && now - last_shown_ < kPlainInterval) return true;
  std::string line = StatusLine(status);
  if (line == last_line_) return true;
  last_shown_ = now;
  last_line_ = std::move(line);
  return PrintLine(last_line_);
}

void StatusDisplay::Say(const std::string& line) {
  if (live_) line_.Clear();
  std::fprintf(stderr, "%s\n", line.c_str());
  if (live_ && shown_any_) line_.Show(StatusLine(last_));
}

}  // namespace liquid
