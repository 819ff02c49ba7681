#include "cli/job_data.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/exit_code.h"
#include "base/status.h"
#include "cli/terminal.h"

namespace liquid {
namespace {

constexpr absl::Duration kShowInterval = absl::Milliseconds(200);

}  // namespace

absl::StatusOr<PrepareReport> PrepareJobPart(const Job& job, JobPart part) {
  LIQUID_ASSIGN_OR_RETURN(const PrepareOptions options, PrepareOptionsOf(job, part));
  PrepareCallback show;
  absl::Time last = absl::Now();
  bool shown = false;
  if (IsTerminal(stderr)) {
    show = [&](const PrepareProgress& progress) {
      if (absl::Now() - last < kShowInterval) return absl::OkStatus();
      last = absl::Now();
      shown = true;
      const double percent = 100 * static_cast<double>(progress.num_bytes_done) /
                             static_cast<double>(std::max<int64_t>(1, progress.num_bytes));
      absl::FPrintF(stderr, "\rpreparing  %.0f%%  %d examples\x1b[K", percent,
                    progress.num_examples);
      return absl::OkStatus();
    };
  }
  absl::StatusOr<PrepareReport> report = PrepareDataset(options, show);
  if (shown) absl::FPrintF(stderr, "\r\x1b[K");
  if (report.ok() || absl::IsResourceExhausted(report.status())) return report;
  return WithExitCode(report.status(), ExitCode::kData);
}

}  // namespace liquid
