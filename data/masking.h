// Which tokens are trained.
#ifndef LIQUID_DATA_MASKING_H_
#define LIQUID_DATA_MASKING_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "data/aligned_text.h"

namespace liquid {

// 1 for every token that overlaps a trained range of the text, as transformers' assistant mask
// does: a token that holds the last of what was given and the first of what is to be said has to
// be said. Tokens that come from no text get 0. `tokens` ascend and may overlap
// (Tokenizer::EncodeWithOffsets); `trained` ascend and are disjoint.
std::vector<uint8_t> MaskTokens(absl::Span<const ByteRange> tokens,
                                absl::Span<const ByteRange> trained);

// For every token the first of `trained` that MaskTokens finds it to overlap; -1: none.
std::vector<int32_t> RangesOfTokens(absl::Span<const ByteRange> tokens,
                                    absl::Span<const ByteRange> trained);

// Runs of tokens of equal mask: [begin, end) and the mask.
struct MaskRun {
  size_t begin = 0;
  size_t end = 0;
  uint8_t mask = 0;
  friend bool operator==(const MaskRun&, const MaskRun&) = default;
};
std::vector<MaskRun> MaskRuns(absl::Span<const uint8_t> mask);

}  // namespace liquid

#endif  // LIQUID_DATA_MASKING_H_
