#include "data/masking.h"

namespace liquid {

std::vector<uint8_t> MaskTokens(absl::Span<const ByteRange> tokens,
                                absl::Span<const ByteRange> trained) {
  std::vector<uint8_t> mask(tokens.size(), 0);
  size_t next = 0;  // the first trained range that ends behind the token's begin
  for (size_t t = 0; t < tokens.size(); ++t) {
    while (next < trained.size() && trained[next].end <= tokens[t].begin) ++next;
    if (next == trained.size()) break;
    const bool empty = tokens[t].begin == tokens[t].end;
    mask[t] = !empty && trained[next].begin < tokens[t].end ? 1 : 0;
  }
  return mask;
}

std::vector<MaskRun> MaskRuns(absl::Span<const uint8_t> mask) {
  std::vector<MaskRun> runs;
  for (size_t t = 0; t < mask.size(); ++t) {
    const bool trained = mask[t] != 0;
    if (runs.empty() || runs.back().trained != trained) runs.push_back({t, t, trained});
    runs.back().end = t + 1;
  }
  return runs;
}

}  // namespace liquid
