// A job's status while it runs, shown in the way that suits the reader of stdout.
#ifndef LIQUID_CLI_STATUS_DISPLAY_H_
#define LIQUID_CLI_STATUS_DISPLAY_H_

#include <string>

#include "absl/time/time.h"
#include "cli/terminal.h"
#include "proto/coordinator.pb.h"

namespace liquid {

// JSON: a line for every status. In a terminal: one line that is rewritten. In a pipe: a line for
// each change of state, the last step, and else at most two a second, none twice.
class StatusDisplay {
 public:
  explicit StatusDisplay(bool json) : json_(json), live_(!json && IsTerminal(stdout)) {}

  // False if nobody reads any more.
  bool Show(const JobStatus& status);
  // A line on stderr, beside the status.
  void Say(const std::string& line);
  void Finish() { line_.Finish(); }

 private:
  const bool json_;
  const bool live_;
  LiveLine line_;
  bool shown_any_ = false;
  JobStatus last_;
  absl::Time last_shown_ = absl::InfinitePast();
  std::string last_line_;  // in a pipe
};

}  // namespace liquid

#endif  // LIQUID_CLI_STATUS_DISPLAY_H_
