#include "base/random.h"

#include <cmath>
#include <numbers>
#include <random>

namespace liquid {
namespace {

uint64_t Join(uint32_t high, uint32_t low) { return static_cast<uint64_t>(high) << 32 | low; }

std::array<uint32_t, 4> Block(uint64_t seed, uint64_t stream, uint64_t index) {
  return Philox4x32({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                     static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)},
                    {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
}

double ToUnit(uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1p-53; }

std::array<float, 2> NormalPair(const std::array<uint32_t, 4>& block) {
  const double u = 1 - ToUnit(Join(block[0], block[1]));  // in (0, 1]
  const double angle = 2 * std::numbers::pi * ToUnit(Join(block[2], block[3]));
  const double radius = std::sqrt(-2 * std::log(u));
  return {static_cast<float>(radius * std::cos(angle)),
          static_cast<float>(radius * std::sin(angle))};
}

}  // namespace

double CounterRandom::Uniform(uint64_t index) const {
  const auto block = Block(seed_, stream_, index / 2);
  const size_t half = index % 2 * 2;
  return ToUnit(Join(block[half], block[half + 1]));
}

float CounterRandom::Normal(uint64_t index) const {
  return NormalPair(Block(seed_, stream_, index / 2))[index % 2];
}

void CounterRandom::FillNormal(uint64_t first, absl::Span<float> out) const {
  size_t i = 0;
  if (first % 2 == 1 && !out.empty()) out[i++] = Normal(first);
  for (; i + 1 < out.size(); i += 2) {
    const auto pair = NormalPair(Block(seed_, stream_, (first + i) / 2));
    out[i] = pair[0];
    out[i + 1] = pair[1];
  }
  if (i < out.size()) out[i] = Normal(first + i);
}

uint64_t RandomBits() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

}  // namespace liquid
