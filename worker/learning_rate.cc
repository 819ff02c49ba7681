#include "worker/learning_rate.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"

namespace liquid {

double LearningRate(const Optimizer& optimizer, int64_t step, int64_t num_steps) {
  LIQUID_CHECK(step >= 1 && step <= num_steps, "step ", step, " of ", num_steps);
  const double peak = optimizer.learning_rate();
  const int64_t warmup = optimizer.warmup_steps();
  if (step < warmup) return peak * static_cast<double>(step) / static_cast<double>(warmup);
  if (optimizer.schedule() == "constant") return peak;
  // From 0 at the end of the warm-up to 1 at the last step.
  const int64_t length = std::max<int64_t>(1, num_steps - warmup);
  const double progress = static_cast<double>(step - warmup) / static_cast<double>(length);
  const double ratio = optimizer.final_learning_rate_ratio();
  if (optimizer.schedule() == "linear") return peak * (1 - (1 - ratio) * progress);
  LIQUID_CHECK(optimizer.schedule() == "cosine", optimizer.schedule());
  const double cosine = 0.5 * (1 + std::cos(std::numbers::pi * progress));
  return peak * (ratio + (1 - ratio) * cosine);
}

}  // namespace liquid
