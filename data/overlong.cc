#include "data/overlong.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace liquid {
namespace {

constexpr std::array<std::pair<OverlongPolicy, std::string_view>, 4> kNames = {{
    {OverlongPolicy::kTruncate, "truncate"},
    {OverlongPolicy::kSplit, "split"},
    {OverlongPolicy::kDrop, "drop"},
    {OverlongPolicy::kError, "error"},
}};

std::vector<Document> Split(const Document& document, size_t length) {
  std::vector<Document> pieces;
  for (size_t begin = 0; begin + 1 < document.tokens.size(); begin += length - 1) {
    const size_t end = std::min(begin + length, document.tokens.size());
    Document piece;
    piece.origin = document.origin;
    piece.origin.part = static_cast<int32_t>(pieces.size());
    piece.tokens.assign(document.tokens.begin() + static_cast<ptrdiff_t>(begin),
                        document.tokens.begin() + static_cast<ptrdiff_t>(end));
    piece.trained.assign(document.trained.begin() + static_cast<ptrdiff_t>(begin),
                         document.trained.begin() + static_cast<ptrdiff_t>(end));
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

// Counts the turns of a document of which the first `length` tokens are kept.
void CountTurns(const Document& document, size_t length, OverlongCounts* counts) {
  bool is_final_whole = true;
  const auto trained = [&](size_t t) { return t > 0 && document.trained[t] != 0; };
  for (size_t t = 0; t < document.trained.size();) {
    size_t end = t;
    while (end < document.trained.size() && trained(end)) ++end;
    if (end > t) {
      is_final_whole = end <= length;
      ++(is_final_whole ? counts->num_whole_turns
                        : (t < length ? counts->num_cut_turns : counts->num_lost_turns));
    }
    t = end + 1;
  }
  if (!is_final_whole) ++counts->num_cut_final_turns;
}

}  // namespace

absl::StatusOr<OverlongPolicy> ParseOverlongPolicy(std::string_view name) {
  for (const auto& [policy, policy_name] : kNames) {
    if (policy_name == name) return policy;
  }
  return absl::InvalidArgumentError(absl::StrCat("data.overlong: '", std::string(name),
                                                 "' is none of truncate, split, drop, error"));
}

std::string_view OverlongPolicyName(OverlongPolicy policy) {
  return kNames[static_cast<size_t>(policy)].second;
}

absl::StatusOr<std::vector<Document>> FitDocument(Document document, OverlongPolicy policy,
                                                  int sequence_length, OverlongCounts* counts) {
  LIQUID_CHECK(sequence_length >= 2, "sequence_length=", sequence_length);
  const auto length = static_cast<size_t>(sequence_length);
  const size_t size = document.tokens.size();
  std::vector<Document> pieces;
  const bool is_truncated = size > length && policy == OverlongPolicy::kTruncate;
  if (size <= length || is_truncated || policy == OverlongPolicy::kSplit) {
    CountTurns(document, is_truncated ? length : size, counts);
  }
  if (size <= length) {
    pieces.push_back(std::move(document));
  } else {
    ++counts->num_overlong;
    switch (policy) {
      case OverlongPolicy::kError:
        return absl::InvalidArgumentError(
            absl::StrCat(size, " tokens do not fit into a row of ", length,
                         "; raise data.sequence_length, or set data.overlong to truncate, split or "
                         "drop"));
      case OverlongPolicy::kDrop:
        ++counts->num_dropped;
        counts->num_tokens_cut += static_cast<int64_t>(size);
        break;
      case OverlongPolicy::kSplit:
        ++counts->num_split;
        pieces = Split(document, length);
        break;
      case OverlongPolicy::kTruncate:
        ++counts->num_truncated;
        counts->num_tokens_cut += static_cast<int64_t>(size - length);
        document.tokens.resize(length);
        document.trained.resize(length);
        pieces.push_back(std::move(document));
        break;
    }
  }
  counts->num_untrained += static_cast<int64_t>(
      std::erase_if(pieces, [](const Document& piece) { return NumTargets(piece) == 0; }));
  return pieces;
}

}  // namespace liquid
