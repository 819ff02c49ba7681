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

// Makes the keys of sources other ones than those of the epochs of a job.
constexpr uint64_t kSourceKey = 0x6D69786564726F77;  // "mixedrow"

int64_t TotalDraws(const std::vector<RowSource>& sources) {
  int64_t total = 0;
  for (const RowSource& source : sources) {
    LIQUID_CHECK(source.num_rows >= 1 && source.draws >= 1, source.num_rows, " ", source.draws);
    total += source.draws;
  }
  return total;
}

uint64_t LowMask(int bits) { return (uint64_t{1} << bits) - 1; }

}  // namespace

EpochPermutation::EpochPermutation(uint64_t seed, int64_t size, bool shuffle)
    : seed_(seed), size_(size), shuffle_(shuffle) {
  LIQUID_CHECK(size >= 1 && size <= int64_t{1} << 62, "num_rows=", size);
  const int bits = static_cast<int>(std::bit_width(static_cast<uint64_t>(size - 1)));
  low_bits_ = bits / 2;
  high_bits_ = bits - low_bits_;
}

int64_t EpochPermutation::At(int64_t epoch, int64_t position) const {
  LIQUID_CHECK(epoch >= 0, "epoch=", epoch);
  LIQUID_CHECK(position >= 0 && position < size_, "position=", position, " of ", size_);
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
  } while (x >= static_cast<uint64_t>(size_));
  return static_cast<int64_t>(x);
}

EpochOrder::EpochOrder(uint64_t seed, int64_t num_rows, bool shuffle)
    : permutation_(seed, num_rows, shuffle),
      num_rows_(num_rows),
      is_mixed_(false),
      sources_({{0, 0, num_rows, permutation_}}) {}

EpochOrder::EpochOrder(uint64_t seed, const std::vector<RowSource>& sources, bool shuffle)
    : permutation_(seed, TotalDraws(sources), shuffle), num_rows_(0), is_mixed_(true) {
  int64_t first_draw = 0;
  for (const RowSource& source : sources) {
    const uint64_t key = Mix(Mix(seed ^ kSourceKey) + kStep * (sources_.size() + 1));
    sources_.push_back(
        {num_rows_, first_draw, source.draws, EpochPermutation(key, source.num_rows, shuffle)});
    num_rows_ += source.num_rows;
    first_draw += source.draws;
  }
}

EpochOrder::StreamRow EpochOrder::At(int64_t epoch, int64_t position) const {
  const int64_t drawn = permutation_.At(epoch, position);
  if (!is_mixed_) return {epoch, position, drawn, 0, epoch};
  int i = num_sources() - 1;
  while (sources_[i].first_draw > drawn) --i;
  const Source& source = sources_[i];
  const int64_t draw = epoch * source.draws + drawn - source.first_draw;
  const int64_t source_epoch = draw / source.permutation.size();
  const int64_t row = source.permutation.At(source_epoch, draw % source.permutation.size());
  return {epoch, position, source.first_row + row, i, source_epoch};
}

EpochOrder::StreamRow EpochOrder::AtStream(int64_t stream_position) const {
  LIQUID_CHECK(stream_position >= 0, "stream_position=", stream_position);
  return At(stream_position / epoch_length(), stream_position % epoch_length());
}

JobStream::JobStream(const EpochOrder& order, double epochs, int slots_per_step, int rows_per_slot)
    : order_(order),
      slots_per_step_(slots_per_step),
      rows_per_slot_(rows_per_slot),
      rows_per_step_(int64_t{slots_per_step} * rows_per_slot) {
  LIQUID_CHECK(slots_per_step >= 1 && rows_per_slot >= 1, slots_per_step, " x ", rows_per_slot);
  const double rows = epochs * static_cast<double>(order.epoch_length());
  LIQUID_CHECK(epochs > 0 && rows < 0x1p62, "epochs=", epochs, " rows=", order.epoch_length());
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
  return static_cast<double>(StreamEnd(step)) / static_cast<double>(order_.epoch_length());
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
