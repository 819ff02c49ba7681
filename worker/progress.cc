#include "worker/progress.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace liquid {
namespace {

constexpr double kNewWeight = 0.1;  // of the latest step in the average
constexpr absl::Duration kPlainInterval = absl::Milliseconds(500);

std::string ShortDuration(absl::Duration duration) {
  const int64_t seconds = absl::ToInt64Seconds(duration + absl::Milliseconds(500));
  if (seconds < 60) return absl::StrCat(seconds, "s");
  if (seconds < 3600) return absl::StrFormat("%dm%02ds", seconds / 60, seconds % 60);
  return absl::StrFormat("%dh%02dm", seconds / 3600, seconds / 60 % 60);
}

double Percent(double part, double whole) { return whole > 0 ? 100 * part / whole : 0; }

}  // namespace

std::string ProgressLine(const StepReport& report, int64_t num_steps, double epoch, double epochs,
                         absl::Duration eta) {
  std::string mfu = "MFU n/a";
  if (report.peak_flops() > 0) {
    mfu = absl::StrFormat("MFU %.1f%% of %.0f GFLOP/s", 100 * report.mfu(),
                          report.peak_flops() / 1e9);
  }
  return absl::StrFormat(
      "step %d/%d  epoch %.2f/%g  loss %.4f  lr %.2e  grad %.3f  %.0f tok/s  %s  data %.1f%%  comm "
      "%.1f%%  mem %.0f MiB  ETA %s%s",
      report.step(), num_steps, epoch, epochs, report.loss(), report.learning_rate(),
      report.gradient_norm(), report.tokens_per_second(), mfu,
      Percent(report.data_seconds(), report.step_seconds()),
      Percent(report.comm_seconds(), report.step_seconds()),
      static_cast<double>(report.resident_bytes()) / (1 << 20), ShortDuration(eta),
      report.skipped() ? "  SKIPPED: not finite" : "");
}

ProgressView::ProgressView(ProgressStyle style, std::FILE* out, int64_t num_steps,
                           int64_t epoch_length, double epochs)
    : style_(style),
      out_(out),
      num_steps_(num_steps),
      epoch_length_(epoch_length),
      epochs_(epochs) {}

void ProgressView::OnStep(const StepReport& report, absl::Time now) {
  seconds_per_step_ = seconds_per_step_ == 0 ? report.step_seconds()
                                             : (1 - kNewWeight) * seconds_per_step_ +
                                                   kNewWeight * report.step_seconds();
  if (style_ == ProgressStyle::kNone) return;
  const bool is_last = report.step() == num_steps_;
  if (style_ == ProgressStyle::kPlain && !is_last && now - last_plain_ < kPlainInterval) return;
  last_plain_ = now;
  const absl::Duration eta =
      absl::Seconds(seconds_per_step_ * static_cast<double>(num_steps_ - report.step()));
  const double epoch = static_cast<double>(report.stream_end()) /
                       static_cast<double>(std::max<int64_t>(1, epoch_length_));
  const std::string line = ProgressLine(report, num_steps_, epoch, epochs_, eta);
  if (style_ == ProgressStyle::kPlain) {
    absl::FPrintF(out_, "%s\n", line);
  } else {
    live_ = line;
    absl::FPrintF(out_, "\r%s\x1b[K", line);
  }
  std::fflush(out_);
}

void ProgressView::Say(const std::string& line) {
  if (style_ == ProgressStyle::kNone) return;
  if (live_.empty()) {
    absl::FPrintF(out_, "%s\n", line);
  } else {
    absl::FPrintF(out_, "\r%s\x1b[K\n%s", line, live_);
  }
  std::fflush(out_);
}

void ProgressView::Finish() {
  if (!live_.empty()) absl::FPrintF(out_, "\n");
  live_.clear();
  std::fflush(out_);
}

}  // namespace liquid
