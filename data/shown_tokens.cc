#include "data/shown_tokens.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "data/masking.h"

namespace liquid {
namespace {

float WeightOf(uint8_t mask, absl::Span<const float> other_weights) {
  if (mask < 2) return mask;
  LIQUID_CHECK(mask - 2U < other_weights.size(), "mask ", int{mask});
  return other_weights[mask - 2U];
}

}  // namespace

std::vector<ShownPiece> ShowTokens(const Tokenizer& tokenizer, absl::Span<const int32_t> tokens,
                                   absl::Span<const uint8_t> mask,
                                   absl::Span<const float> other_weights) {
  std::vector<ShownPiece> pieces;
  StreamDecoder decoder(&tokenizer, /*skip_special_tokens=*/false);
  for (const MaskRun& run : MaskRuns(mask.first(tokens.size()))) {
    ShownPiece piece;
    piece.trained = run.mask != 0;
    piece.weight = WeightOf(run.mask, other_weights);
    for (size_t t = run.begin; t < run.end; ++t) piece.text += decoder.Add(tokens[t]);
    pieces.push_back(std::move(piece));
  }
  if (!pieces.empty()) pieces.back().text += decoder.Finish();
  return pieces;
}

std::string ShownText(const std::vector<ShownPiece>& pieces) {
  std::string text;
  for (const ShownPiece& piece : pieces) {
    if (!piece.trained) {
      text += piece.text;
      continue;
    }
    const std::string weight = piece.weight == 1 ? "" : absl::StrCat(piece.weight, "|");
    absl::StrAppend(&text, "[[", weight, piece.text, "]]");
  }
  return text;
}

}  // namespace liquid
