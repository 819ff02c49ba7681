#include "model/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/check.h"
#include "base/random.h"

namespace liquid {
namespace {

// Sets this sampler's random numbers apart from others of the same seed.
constexpr uint64_t kStream = 0x73616d706c6572;  // "sampler"

float Rank(float logit) {
  return std::isnan(logit) ? -std::numeric_limits<float>::infinity() : logit;
}

}  // namespace

int32_t SampleToken(absl::Span<const float> logits, const SamplerOptions& options, uint64_t index) {
  LIQUID_CHECK(!logits.empty());
  const auto likelier = [&](int32_t a, int32_t b) {
    const float x = Rank(logits[a]);
    const float y = Rank(logits[b]);
    return x != y ? x > y : a < b;
  };
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  if (options.temperature <= 0) return *std::min_element(ids.begin(), ids.end(), likelier);

  size_t count = ids.size();
  if (options.top_k > 0) count = std::min(count, static_cast<size_t>(options.top_k));
  std::partial_sort(ids.begin(), ids.begin() + static_cast<int64_t>(count), ids.end(), likelier);
  std::vector<double> weights(count);
  double total = 0;
  for (size_t i = 0; i < count; ++i) {
    const double below_best = static_cast<double>(Rank(logits[ids[i]])) - Rank(logits[ids[0]]);
    weights[i] = i == 0 ? 1.0 : std::exp(below_best / options.temperature);
    total += weights[i];
  }
  double kept = 0;
  size_t num_kept = 0;
  while (num_kept < count && (num_kept == 0 || kept < options.top_p * total)) {
    kept += weights[num_kept++];
  }
  double left = CounterRandom(options.seed, kStream).Uniform(index) * kept;
  for (size_t i = 0; i + 1 < num_kept; ++i) {
    left -= weights[i];
    if (left < 0) return ids[i];
  }
  return ids[num_kept - 1];
}

}  // namespace liquid
