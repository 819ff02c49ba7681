#include "data/vocabulary.h"

#include <algorithm>
#include <array>

#include "absl/strings/escaping.h"
#include "base/check.h"
#include "data/concat.h"
#include "data/word_hash.h"

namespace liquid {
namespace {

uint32_t HashOf(std::string_view token) { return static_cast<uint32_t>(HashWord(token) >> 32); }

}  // namespace

void Vocabulary::Reserve(size_t num_tokens, size_t num_bytes) {
  bytes_.reserve(num_bytes);
  places_.reserve(num_tokens);
  size_t num_slots = 64;
  while (num_slots < num_tokens * 2) num_slots *= 2;
  if (num_slots > slots_.size()) Rehash(num_slots);
}

void Vocabulary::Rehash(size_t num_slots) {
  std::vector<Slot> old(num_slots);
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.id == kNone) continue;
    size_t i = slot.hash & (num_slots - 1);
    while (slots_[i].id != kNone) i = (i + 1) & (num_slots - 1);
    slots_[i] = slot;
  }
}

// The slot that holds `token`, or the free one where it belongs.
size_t Vocabulary::FindSlot(std::string_view token, uint32_t hash) const {
  size_t i = hash & (slots_.size() - 1);
  while (slots_[i].id != kNone && (slots_[i].hash != hash || TokenOf(slots_[i].id) != token)) {
    i = (i + 1) & (slots_.size() - 1);
  }
  return i;
}

absl::Status Vocabulary::Add(std::string_view token, int64_t id) {
  const auto named = [&](std::string_view what) {
    return absl::InvalidArgumentError(
        Concat("token \"", absl::Utf8SafeCHexEscape(Printable(token)), "\": ", what));
  };
  if (id < 0 || id > kMaxId) {
    return named(Concat("id ", id, " is not in [0, ", kMaxId, "]"));
  }
  if (Has(static_cast<int32_t>(id))) {
    return named(Concat("id ", id, " is that of \"",
                        absl::Utf8SafeCHexEscape(Printable(TokenOf(static_cast<int32_t>(id)))),
                        "\" already"));
  }
  if ((num_tokens_ + 1) * 2 > slots_.size()) Rehash(std::max<size_t>(64, slots_.size() * 2));
  const uint32_t hash = HashOf(token);
  Slot& slot = slots_[FindSlot(token, hash)];
  if (slot.id != kNone) return named("is listed twice");
  slot = {hash, static_cast<int32_t>(id)};
  if (static_cast<size_t>(id) >= places_.size()) places_.resize(static_cast<size_t>(id) + 1);
  places_[static_cast<size_t>(id)] = {bytes_.size(), static_cast<uint32_t>(token.size())};
  bytes_.append(token);
  ++num_tokens_;
  return absl::OkStatus();
}

int32_t Vocabulary::IdOf(std::string_view token) const {
  if (slots_.empty()) return kNone;
  return slots_[FindSlot(token, HashOf(token))].id;
}

// Each step asks for the memory of the next one for all tokens before it reads any.
void Vocabulary::IdsOf(absl::Span<const std::string_view> tokens, int32_t* ids) const {
  LIQUID_CHECK(tokens.size() <= kMaxBatch, "a batch of ", tokens.size(), " tokens");
  if (slots_.empty()) {
    std::fill_n(ids, tokens.size(), kNone);
    return;
  }
  std::array<uint32_t, kMaxBatch> hashes;
  for (size_t i = 0; i < tokens.size(); ++i) {
    hashes[i] = HashOf(tokens[i]);
    __builtin_prefetch(&slots_[hashes[i] & (slots_.size() - 1)]);
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    const int32_t id = slots_[hashes[i] & (slots_.size() - 1)].id;
    if (id != kNone) __builtin_prefetch(&places_[static_cast<size_t>(id)]);
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    const int32_t id = slots_[hashes[i] & (slots_.size() - 1)].id;
    if (id != kNone) __builtin_prefetch(&bytes_[places_[static_cast<size_t>(id)].begin]);
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    ids[i] = slots_[FindSlot(tokens[i], hashes[i])].id;
  }
}

}  // namespace liquid
