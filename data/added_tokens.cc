#include "data/added_tokens.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "base/status.h"
#include "data/concat.h"
#include "data/json_fields.h"

namespace liquid {
namespace {

constexpr size_t kMaxTokens = 1 << 20;
constexpr size_t kMaxContentBytes = 1 << 12;

bool IsWordAt(std::string_view text, size_t at) {
  return at < text.size() && CharClassTable::Get().Is(DecodeUtf8(&text[at]), kWordMask);
}

size_t BeginOfCharacterBefore(std::string_view text, size_t at) {
  do {
    --at;
  } while (IsContinuation(text[at]));
  return at;
}

bool IsSpaceAt(std::string_view text, size_t at) {
  return CharClassTable::Get().Is(DecodeUtf8(&text[at]), kSpaceMask);
}

absl::StatusOr<AddedToken> ReadToken(const nlohmann::json& value, const std::string& path) {
  JsonFields fields(value, path);
  fields.RefuseOthersThan(
      {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
  AddedToken token;
  token.content = fields.String("content");
  token.single_word = fields.Bool("single_word", false);
  token.strip_left = fields.Bool("lstrip", false);
  token.strip_right = fields.Bool("rstrip", false);
  token.special = fields.Bool("special", false);
  token.normalized = fields.Bool("normalized", !token.special);
  const int64_t id = fields.Integer("id");
  if (id < 0 || id > Vocabulary::kMaxId) {
    fields.Fail("id", Concat(id, " is not in [0, ", Vocabulary::kMaxId, "]"));
  }
  if (token.content.size() > kMaxContentBytes) fields.Fail("content", "is too long");
  LIQUID_RETURN_IF_ERROR(fields.status());
  token.id = static_cast<int32_t>(id);
  return token;
}

}  // namespace

absl::StatusOr<std::vector<AddedToken>> ReadAddedTokens(const nlohmann::json& value,
                                                        const Vocabulary& vocabulary) {
  std::vector<AddedToken> tokens;
  if (value.is_null()) return tokens;
  if (!value.is_array() || value.size() > kMaxTokens) {
    return absl::InvalidArgumentError("added_tokens: must be a list, and not a huge one");
  }
  absl::flat_hash_set<std::string> contents;
  absl::flat_hash_set<int32_t> ids;
  for (size_t i = 0; i < value.size(); ++i) {
    const std::string path = Concat("added_tokens[", i, "]");
    LIQUID_ASSIGN_OR_RETURN(AddedToken token, ReadToken(value[i], path));
    if (token.content.empty()) continue;
    const auto fail = [&](std::string_view what) {
      return absl::InvalidArgumentError(Concat(path, " \"", token.content, "\": ", what));
    };
    const int32_t known_id = vocabulary.IdOf(token.content);
    if (known_id != Vocabulary::kNone && known_id != token.id) {
      return fail(Concat("id ", token.id, ", but the vocabulary says ", known_id));
    }
    if (known_id == Vocabulary::kNone && vocabulary.Has(token.id)) {
      return fail(Concat("id ", token.id, " is that of the vocabulary's \"",
                         vocabulary.TokenOf(token.id), "\""));
    }
    if (!contents.insert(token.content).second) return fail("is listed twice");
    if (!ids.insert(token.id).second) return fail(Concat("id ", token.id, " is used twice"));
    tokens.push_back(std::move(token));
  }
  return tokens;
}

void AddedTokenFinder::Add(std::string_view spelling, const AddedToken* token) {
  uint32_t node = 0;
  for (const char c : spelling) {
    const auto [it, added] = next_.try_emplace(node << 8 | static_cast<uint8_t>(c),
                                               static_cast<uint32_t>(token_of_.size()));
    if (added) token_of_.push_back(nullptr);
    node = it->second;
  }
  token_of_[node] = token;
  const auto first = static_cast<uint8_t>(spelling[0]);
  if (!may_begin_[first]) first_bytes_.push_back(spelling[0]);
  may_begin_[first] = true;
  may_begin_two_.resize(256 * 256);
  for (size_t second = 0; second < 256; ++second) {
    if (spelling.size() > 1 && second != static_cast<uint8_t>(spelling[1])) continue;
    may_begin_two_[first * 256u + second] = true;
  }
}

const AddedToken* AddedTokenFinder::FindAt(std::string_view text, size_t at, size_t* length) const {
  const AddedToken* found = nullptr;
  uint32_t node = 0;
  for (size_t i = at; i < text.size(); ++i) {
    const auto it = next_.find(node << 8 | static_cast<uint8_t>(text[i]));
    if (it == next_.end()) break;
    node = it->second;
    if (token_of_[node] == nullptr) continue;
    found = token_of_[node];
    *length = i + 1 - at;
  }
  return found;
}

size_t AddedTokenFinder::NextCandidate(std::string_view text, size_t at) const {
  if (first_bytes_.empty()) return text.size();
  if (first_bytes_.size() > 1) {
    while (at < text.size() && !MayBeginAt(text, at)) ++at;
    return at;
  }
  return std::min(text.find(first_bytes_[0], at), text.size());
}

void AddedTokenFinder::Split(
    const TextSpan& text, absl::FunctionRef<void(const TextSpan&)> on_text,
    absl::FunctionRef<void(const AddedToken&, const TextSpan&)> on_token) const {
  const std::string_view s = text.text;
  size_t done = 0;
  for (size_t at = 0; (at = NextCandidate(s, at)) < s.size();) {
    size_t length = 0;
    const AddedToken* token = FindAt(s, at, &length);
    if (token == nullptr) {
      ++at;
      continue;
    }
    size_t begin = at;
    size_t end = at + length;
    at = end;
    if (token->single_word &&
        ((begin > 0 && IsWordAt(s, BeginOfCharacterBefore(s, begin))) || IsWordAt(s, end))) {
      continue;
    }
    if (token->strip_left) {
      while (begin > done) {
        const size_t before = BeginOfCharacterBefore(s, begin);
        if (!IsSpaceAt(s, before)) break;
        begin = before;
      }
    }
    if (token->strip_right) {
      while (end < s.size() && IsSpaceAt(s, end)) end += Utf8Length(s[end]);
    }
    if (done < begin) on_text(text.Sub(done, begin));
    on_token(*token, text.Sub(begin, end));
    done = end;
  }
  if (done < s.size()) on_text(text.Sub(done, s.size()));
}

}  // namespace liquid
