#include "model/rotary_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"

namespace liquid {
namespace {

double ScaleForLlama3(double frequency, const RopeConfig& rope) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  const double original = rope.original_max_position_embeddings;
  if (wavelength < original / rope.high_freq_factor) return frequency;
  if (wavelength > original / rope.low_freq_factor) return frequency / rope.factor;
  const double t = (original / wavelength - rope.low_freq_factor) /
                   (rope.high_freq_factor - rope.low_freq_factor);
  return (1 - t) * frequency / rope.factor + t * frequency;
}

}  // namespace

std::vector<double> RotaryFrequencies(const RopeConfig& rope, int64_t head_dim) {
  LIQUID_CHECK(head_dim > 0 && head_dim % 2 == 0, head_dim);
  const auto num_turning =
      static_cast<int64_t>(rope.rotated_part * static_cast<double>(head_dim) / 2);
  std::vector<double> frequencies;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    double frequency =
        std::pow(rope.theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
    if (rope.scaling == RopeConfig::Scaling::kLinear) frequency /= rope.factor;
    if (rope.scaling == RopeConfig::Scaling::kProportional) {
      frequency = i < num_turning ? frequency / rope.factor : 0;
    }
    if (rope.scaling == RopeConfig::Scaling::kLlama3) frequency = ScaleForLlama3(frequency, rope);
    frequencies.push_back(frequency);
  }
  return frequencies;
}

void RotaryTable::Reserve(int64_t num_positions, TensorPool& pool, Stream& stream) {
  if (num_positions <= num_positions_) return;
  // Doubling keeps the number of rebuilds small while a generation grows.
  num_positions_ = std::max<int64_t>({num_positions, 2 * num_positions_, 256});
  const auto half = static_cast<int64_t>(frequencies_.size());
  std::vector<float> cosines(num_positions_ * half);
  std::vector<float> sines(num_positions_ * half);
  for (int64_t p = 0; p < num_positions_; ++p) {
    for (int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(p) * frequencies_[i];
      cosines[p * half + i] = static_cast<float>(std::cos(angle));
      sines[p * half + i] = static_cast<float>(std::sin(angle));
    }
  }
  cos_ = pool.AllocateF32({num_positions_, half});
  sin_ = pool.AllocateF32({num_positions_, half});
  stream.CopyFromHost(cos_.view().data, cosines.data(), cosines.size() * sizeof(float));
  stream.CopyFromHost(sin_.view().data, sines.data(), sines.size() * sizeof(float));
  const absl::Status done = stream.Synchronize();  // the host copies go
  LIQUID_CHECK(done.ok(), done.ToString());
}

}  // namespace liquid
