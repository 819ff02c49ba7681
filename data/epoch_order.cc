#include "data/epoch_order.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/check.h"

namespace liquid {
namespace {

constexpr int kNumRounds = 12;
constexpr uint64_t kStep = 0x9E3779B97F4A7C15;  // 2^64 / golden ratio, odd

// The finalizer of SplitMix64. Source: Steele, Lea & Flood 2014, "Fast Splittable Pseudorandom
// Number Generators", with Stafford's variant 13 constants.
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

uint64_t LowMask(int bits) { return (uint64_t{1} << bits) - 1; }

}  // namespace

EpochOrder::EpochOrder(uint64_t seed, int64_t num_rows, bool shuffle)
    : seed_(seed), num_rows_(num_rows), shuffle_(shuffle) {
  LIQUID_CHECK(num_rows >= 1 && num_rows <= int64_t{1} << 62, "num_rows=", num_rows);
  const int bits = static_cast<int>(std::bit_width(static_cast<uint64_t>(num_rows - 1)));
  low_bits_ = bits / 2;
  high_bits_ = bits - low_bits_;
}

int64_t EpochOrder::RowAt(int64_t epoch, int64_t position) const {
  LIQUID_CHECK(epoch >= 0, "epoch=", epoch);
  LIQUID_CHECK(position >= 0 && position < num_rows_, "position=", position, " of ", num_rows_);
  if (!shuffle_) return position;
  const uint64_t epoch_key = Mix(Mix(seed_ + kStep) + kStep * (static_cast<uint64_t>(epoch) + 1));
  const uint64_t low_mask = LowMask(low_bits_);
  const uint64_t high_mask = LowMask(high_bits_);
  auto x = static_cast<uint64_t>(position);
  do {
    uint64_t low = x & low_mask;
    uint64_t high = x >> low_bits_;
    for (uint64_t round = 1; round <= kNumRounds; ++round) {
      const uint64_t round_key = Mix(epoch_key + kStep * round);
      // Halves of unequal width: odd rounds change the high one, even rounds the low one.
      if (round % 2 == 1) {
        high ^= Mix(round_key ^ (low + 1) * kStep) & high_mask;
      } else {
        low ^= Mix(round_key ^ (high + 1) * kStep) & low_mask;
      }
    }
    x = high << low_bits_ | low;
  } while (x >= static_cast<uint64_t>(num_rows_));
  return static_cast<int64_t>(x);
}

EpochOrder::StreamRow EpochOrder::AtStream(int64_t stream_position) const {
  LIQUID_CHECK(stream_position >= 0, "stream_position=", stream_position);
  const int64_t epoch = stream_position / num_rows_;
  const int64_t position = stream_position % num_rows_;
  return {epoch, position, RowAt(epoch, position)};
}

JobStream::JobStream(const EpochOrder& order, double epochs, int slots_per_step, int rows_per_slot)
    : order_(order),
      slots_per_step_(slots_per_step),
      rows_per_slot_(rows_per_slot),
      rows_per_step_(int64_t{slots_per_step} * rows_per_slot) {
  LIQUID_CHECK(slots_per_step >= 1 && rows_per_slot >= 1, slots_per_step, " x ", rows_per_slot);
  const double rows = epochs * static_cast<double>(order.num_rows());
  LIQUID_CHECK(epochs > 0 && rows < 0x1p62, "epochs=", epochs, " rows=", order.num_rows());
  num_stream_rows_ = std::max<int64_t>(std::llround(rows), 1);
  num_steps_ = (num_stream_rows_ - 1) / rows_per_step_ + 1;
}

int64_t JobStream::StreamBegin(int64_t step) const {
  LIQUID_CHECK(step >= 1 && step <= num_steps_, "step=", step, " of 1..", num_steps_);
  return (step - 1) * rows_per_step_;
}

int64_t JobStream::StreamEnd(int64_t step) const {
  return std::min(StreamBegin(step) + rows_per_step_, num_stream_rows_);
}

double JobStream::EpochsAfter(int64_t step) const {
  if (step == 0) return 0;
  return static_cast<double>(StreamEnd(step)) / static_cast<double>(order_.num_rows());
}

void JobStream::SlotRows(int64_t step, int slot, std::vector<int64_t>* rows) const {
  LIQUID_CHECK(slot >= 0 && slot < slots_per_step_, "slot=", slot, " of ", slots_per_step_);
  const int64_t begin = StreamBegin(step) + int64_t{slot} * rows_per_slot_;
  const int64_t end = StreamEnd(step);
  rows->clear();
  for (int64_t position = begin; position < begin + rows_per_slot_; ++position) {
    rows->push_back(position < end ? order_.AtStream(position).row : -1);
  }
}

}  // namespace liquid
