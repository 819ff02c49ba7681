// Tokens as text again, with what of it is trained: for people.
#ifndef LIQUID_DATA_SHOWN_TOKENS_H_
#define LIQUID_DATA_SHOWN_TOKENS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "data/tokenizer.h"

namespace liquid {

// A part of a document as text.
struct ShownPiece {
  std::string text;  // special tokens included
  bool trained = false;
  float weight = 0;  // in the loss
};

// The document of these tokens, in order. `mask` is as long; what its bytes stand for is in
// data/loss_weights.h, and `other_weights` are its others().
std::vector<ShownPiece> ShowTokens(const Tokenizer& tokenizer, absl::Span<const int32_t> tokens,
                                   absl::Span<const uint8_t> mask,
                                   absl::Span<const float> other_weights = {});
// As plain text: trained parts in [[ ]], and where the weight is not 1 in [[0.5| ]].
std::string ShownText(const std::vector<ShownPiece>& pieces);

}  // namespace liquid

#endif  // LIQUID_DATA_SHOWN_TOKENS_H_
