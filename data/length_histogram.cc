#include "data/length_histogram.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace liquid {
namespace {

size_t BucketOf(int64_t num_tokens, int64_t sequence_length) {
  size_t bucket = 0;
  while (num_tokens > BucketEnd(bucket, sequence_length)) ++bucket;
  return bucket;
}

}  // namespace

int64_t BucketEnd(size_t bucket, int64_t sequence_length) {
  constexpr auto kIn = static_cast<int64_t>(LengthHistogram::kNumInRow);
  if (bucket + 1 >= LengthHistogram::kNumBuckets) return INT64_MAX;
  const auto number = static_cast<int64_t>(bucket) + 1;
  if (number <= kIn) return sequence_length * number / kIn;
  return sequence_length << (number - kIn);
}

void LengthHistogram::Add(int64_t num_tokens, int64_t sequence_length) {
  ++counts[BucketOf(num_tokens, sequence_length)];
  longest = std::max(longest, num_tokens);
}

std::string HistogramText(const LengthHistogram& lengths, int64_t sequence_length, int bar_width) {
  const int64_t most =
      std::max<int64_t>(1, *std::max_element(lengths.counts.begin(), lengths.counts.end()));
  std::vector<std::string> lines;
  int64_t begin = 1;
  for (size_t i = 0; i <= BucketOf(lengths.longest, sequence_length); ++i) {
    const int64_t end = std::min(BucketEnd(i, sequence_length), lengths.longest);
    if (end < begin) continue;  // rows of a few tokens have fewer buckets
    const int64_t count = lengths.counts[i];
    // What is there at all is seen.
    const int64_t bar = (count * bar_width + most - 1) / most;
    lines.push_back(absl::StrFormat(
        "  %7d .. %-7d |%s%s%d%s", begin, end, std::string(static_cast<size_t>(bar), '#'),
        bar > 0 ? " " : "", count, i >= LengthHistogram::kNumInRow ? "  longer than a row" : ""));
    begin = end + 1;
  }
  return absl::StrJoin(lines, "\n");
}

}  // namespace liquid
