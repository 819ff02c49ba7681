#include "data/masking.h"

#include <algorithm>

namespace liquid {

std::vector<int32_t> RangesOfTokens(absl::Span<const ByteRange> tokens,
                                    absl::Span<const ByteRange> trained) {
  std::vector<int32_t> ranges(tokens.size(), -1);
  size_t next = 0;  // the first trained range that ends behind the token's begin
  for (size_t t = 0; t < tokens.size(); ++t) {
    while (next < trained.size() && trained[next].end <= tokens[t].begin) ++next;
    if (next == trained.size()) break;
    const bool empty = tokens[t].begin == tokens[t].end;
    if (!empty && trained[next].begin < tokens[t].end) ranges[t] = static_cast<int32_t>(next);
  }
  return ranges;
}

std::vector<uint8_t> MaskTokens(absl::Span<const ByteRange> tokens,
                                absl::Span<const ByteRange> trained) {
  const std::vector<int32_t> ranges = RangesOfTokens(tokens, trained);
  std::vector<uint8_t> mask(tokens.size());
  std::transform(ranges.begin(), ranges.end(), mask.begin(),
                 [](int32_t range) { return range >= 0 ? uint8_t{1} : uint8_t{0}; });
  return mask;
}

std::vector<MaskRun> MaskRuns(absl::Span<const uint8_t> mask) {
  std::vector<MaskRun> runs;
  for (size_t t = 0; t < mask.size(); ++t) {
    if (runs.empty() || runs.back().mask != mask[t]) runs.push_back({t, t, mask[t]});
    runs.back().end = t + 1;
  }
  return runs;
}

}  // namespace liquid
