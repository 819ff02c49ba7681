// Random numbers as a function of their place: the same whoever asks, in whatever order. And some
// that nobody can guess.
#ifndef LIQUID_BASE_RANDOM_H_
#define LIQUID_BASE_RANDOM_H_

#include <array>
#include <cstdint>

#include "absl/types/span.h"

namespace liquid {

// Philox4x32 with 10 rounds. Source: Salmon et al. 2011, "Parallel random numbers: as easy as
// 1, 2, 3", doi:10.1145/2063384.2063405.
inline std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter,
                                          std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

// The random numbers of one (seed, stream) pair, by index. A value: copies are equal.
class CounterRandom {
 public:
  CounterRandom(uint64_t seed, uint64_t stream) : seed_(seed), stream_(stream) {}

  double Uniform(uint64_t index) const;  // in [0, 1), multiples of 2^-53
  // Standard normal, by the method of Box and Muller (1958) on indices 2i, 2i+1, in float64 and
  // then rounded: equal on all machines whose log, sin and cos are good to about 2^-50.
  float Normal(uint64_t index) const;
  // out[i] = Normal(first + i), in less time.
  void FillNormal(uint64_t first, absl::Span<float> out) const;

 private:
  uint64_t seed_;
  uint64_t stream_;
};

// From the system: other ones in each call, process and machine.
uint64_t RandomBits();

}  // namespace liquid

#endif  // LIQUID_BASE_RANDOM_H_
