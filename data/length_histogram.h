// How long documents are, against the length of a row.
#ifndef LIQUID_DATA_LENGTH_HISTOGRAM_H_
#define LIQUID_DATA_LENGTH_HISTOGRAM_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace liquid {

// Eight buckets of equal width up to a row's length T, then up to 2, 4 and 8 T, then all longer.
struct LengthHistogram {
  static constexpr size_t kNumInRow = 8;
  static constexpr size_t kNumBuckets = kNumInRow + 4;

  std::array<int64_t, kNumBuckets> counts = {};
  int64_t longest = 0;  // tokens

  // A document of so many tokens, before it is cut; sequence_length >= 2.
  void Add(int64_t num_tokens, int64_t sequence_length);
};

// The most tokens that a document of that bucket has; INT64_MAX for the last one.
int64_t BucketEnd(size_t bucket, int64_t sequence_length);

// For a terminal: a line for each bucket up to that of the longest, with a bar of at most
// `bar_width` letters and the count. Lines are indented by two spaces and joined by line ends.
std::string HistogramText(const LengthHistogram& lengths, int64_t sequence_length, int bar_width);

}  // namespace liquid

#endif  // LIQUID_DATA_LENGTH_HISTOGRAM_H_
