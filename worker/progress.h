// What a person sees of a running job: one line that is rewritten in a terminal, or plain lines.
#ifndef LIQUID_WORKER_PROGRESS_H_
#define LIQUID_WORKER_PROGRESS_H_

#include <cstdio>
#include <string>

#include "absl/time/time.h"
#include "proto/coordinator.pb.h"

namespace liquid {

enum class ProgressStyle {
  kNone,
  kPlain,  // a line per step, at most two a second, the first and the last always
  kLive,   // one line, rewritten after each step
};

// "step 12/80  epoch 0.30/2  loss 2.3451 ..." with ETA; `total_tokens_per_second` and so on come
// from the report. An unknown MFU is "n/a".
std::string ProgressLine(const StepReport& report, int64_t num_steps, double epoch, double epochs,
                         absl::Duration eta);

class ProgressView {
 public:
  // `out` must outlive this.
  ProgressView(ProgressStyle style, std::FILE* out, int64_t num_steps, int64_t epoch_length,
               double epochs);

  void OnStep(const StepReport& report, absl::Time now);
  // A line of its own, above the live one.
  void Say(const std::string& line);
  // Of the latest steps, by and large; 0 before the first.
  double seconds_per_step() const { return seconds_per_step_; }
  // Leaves the live line standing.
  void Finish();

 private:
  const ProgressStyle style_;
  std::FILE* const out_;
  const int64_t num_steps_;
  const int64_t epoch_length_;
  const double epochs_;
  std::string live_;             // the line on the screen
  double seconds_per_step_ = 0;  // exponential average
  absl::Time last_plain_ = absl::InfinitePast();
};

}  // namespace liquid

#endif  // LIQUID_WORKER_PROGRESS_H_
