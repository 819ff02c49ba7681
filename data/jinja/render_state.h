// What every operation of one rendering shares: its budget and its clock.
#ifndef LIQUID_DATA_JINJA_RENDER_STATE_H_
#define LIQUID_DATA_JINJA_RENDER_STATE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "data/concat.h"

namespace liquid::jinja {

// A template comes from the internet: these bound its time, memory and stack.
struct Limits {
  int64_t max_steps = 10'000'000;       // evaluated nodes; long strings count for more
  int64_t max_text_bytes = 16ll << 20;  // of any one string, the output included
  int max_depth = 600;                  // nested evaluation: expressions, statements, macros
};

// Used by one thread.
class RenderState {
 public:
  RenderState(const Limits& limits, absl::CivilSecond now)
      : limits_(limits), now_(now), steps_left_(limits.max_steps) {}

  const Limits& limits() const { return limits_; }
  // Local time, as strftime_now() sees it.
  absl::CivilSecond now() const { return now_; }

  // ResourceExhausted once the steps are used up.
  absl::Status Charge(int64_t steps) {
    steps_left_ -= steps;
    if (steps_left_ >= 0) [[likely]] {
      return absl::OkStatus();
    }
    return absl::ResourceExhaustedError(
        Concat("the template takes more than ", limits_.max_steps, " steps"));
  }

  // Asks leave for a string of `num_bytes`, best before it is made.
  absl::Status ChargeText(size_t num_bytes) { return ChargeAppend(num_bytes, num_bytes); }

  // Asks leave for `num_added` more bytes in a string that has `num_bytes` with them.
  absl::Status ChargeAppend(size_t num_bytes, size_t num_added) {
    if (static_cast<int64_t>(num_bytes) > limits_.max_text_bytes) {
      return absl::ResourceExhaustedError(
          Concat("the template makes a string of more than ", limits_.max_text_bytes, " bytes"));
    }
    return Charge(1 + static_cast<int64_t>(num_added / kBytesPerStep));
  }

 private:
  static constexpr size_t kBytesPerStep = 64;

  Limits limits_;
  absl::CivilSecond now_;
  int64_t steps_left_;
};

}  // namespace liquid::jinja

#endif  // LIQUID_DATA_JINJA_RENDER_STATE_H_
