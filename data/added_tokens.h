// The "added_tokens" of a tokenizer.json: tokens found in the text itself, before any splitting.
#ifndef LIQUID_DATA_ADDED_TOKENS_H_
#define LIQUID_DATA_ADDED_TOKENS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "data/aligned_text.h"
#include "data/vocabulary.h"
#include "nlohmann/json.hpp"

namespace liquid {

struct AddedToken {
  std::string content;
  int32_t id = Vocabulary::kNone;
  bool single_word = false;  // not inside of a word
  bool strip_left = false;   // takes the white space before it
  bool strip_right = false;  // takes the white space after it
  bool normalized = false;   // is looked for in normalized text
  bool special = false;      // is control, not text
};

// Reads the list `value`, null being an empty one. InvalidArgument for a member of the wrong type,
// an id that is not the one that `vocabulary` has for the token, an id or a token listed twice.
// A token without content is left out, as in the reference.
absl::StatusOr<std::vector<AddedToken>> ReadAddedTokens(const nlohmann::json& value,
                                                        const Vocabulary& vocabulary);

// Finds tokens in text: leftmost first, of those the longest. Constant after the last Add():
// any thread.
class AddedTokenFinder {
 public:
  // `token` must outlive this; it is looked for as `spelling`, not empty.
  void Add(std::string_view spelling, const AddedToken* token);

  // Calls `on_text` for the text between tokens, never empty, and `on_token` for each token with
  // the text that it takes, in order.
  void Split(const TextSpan& text, absl::FunctionRef<void(const TextSpan&)> on_text,
             absl::FunctionRef<void(const AddedToken&, const TextSpan&)> on_token) const;

 private:
  // The longest spelling at text[at], and its length; null if there is none.
  const AddedToken* FindAt(std::string_view text, size_t at, size_t* length) const;

  // A trie: (node << 8 | byte) leads to a node; 0 is the root.
  absl::flat_hash_map<uint32_t, uint32_t> next_;
  std::vector<const AddedToken*> token_of_ = {nullptr};  // by node
  // The first place from `at` on where a spelling may begin; the text's end if there is none.
  size_t NextCandidate(std::string_view text, size_t at) const;
  bool MayBeginAt(std::string_view text, size_t at) const {
    const auto first = static_cast<uint8_t>(text[at]);
    if (!may_begin_[first]) return false;
    if (at + 1 == text.size()) return true;
    return may_begin_two_[first * 256u + static_cast<uint8_t>(text[at + 1])];
  }

  std::string first_bytes_;               // of all spellings, each once
  std::array<bool, 256> may_begin_ = {};  // by first byte
  std::vector<bool> may_begin_two_;       // by first two bytes
};

}  // namespace liquid

#endif  // LIQUID_DATA_ADDED_TOKENS_H_
