#include "data/packing.h"

#include <algorithm>
#include <tuple>

#include "base/check.h"
#include "base/status.h"

namespace liquid {
namespace {

// A document with a target has two tokens, so a row with less room than that is full.
constexpr int64_t kSmallestDocument = 2;

// Enough rows that some document nearly always fits, few enough that they take some MB.
int OpenRows(int sequence_length) { return std::clamp((1 << 22) / sequence_length, 16, 1024); }

}  // namespace

int64_t NumTargets(const Document& document) {
  if (document.trained.empty()) return 0;
  return std::count_if(document.trained.begin() + 1, document.trained.end(),
                       [](uint8_t mask) { return mask != 0; });
}

void PackedRow::Append(const Document& document) {
  LIQUID_CHECK(!document.tokens.empty() && document.tokens.size() == document.trained.size(),
               document.tokens.size(), " tokens, ", document.trained.size(), " masks");
  documents.push_back({static_cast<int32_t>(tokens.size()),
                       static_cast<int32_t>(document.tokens.size()), document.origin});
  tokens.insert(tokens.end(), document.tokens.begin(), document.tokens.end());
  target_mask.push_back(0);
  target_mask.insert(target_mask.end(), document.trained.begin() + 1, document.trained.end());
}

Packer::Packer(int sequence_length, bool packing, Emit emit)
    : sequence_length_(sequence_length),
      num_open_rows_(packing ? OpenRows(sequence_length) : 0),
      emit_(std::move(emit)) {
  LIQUID_CHECK(sequence_length >= 2, "sequence_length=", sequence_length);
}

absl::Status Packer::Add(const Document& document) {
  const auto size = static_cast<int64_t>(document.tokens.size());
  LIQUID_CHECK(size >= 1 && size <= sequence_length_, size, " of ", sequence_length_);
  const auto fit = by_room_.lower_bound({size, 0});
  int64_t number;
  int64_t room;
  if (fit != by_room_.end()) {
    std::tie(room, number) = *fit;
    by_room_.erase(fit);
  } else {
    if (!by_room_.empty() && static_cast<int>(by_room_.size()) >= num_open_rows_) {
      const int64_t fullest = by_room_.begin()->second;
      by_room_.erase(by_room_.begin());
      LIQUID_RETURN_IF_ERROR(Close(fullest));
    }
    number = next_row_++;
    room = sequence_length_;
  }
  open_[number].Append(document);
  room -= size;
  if (room < kSmallestDocument || num_open_rows_ == 0) return Close(number);
  by_room_.insert({room, number});
  return absl::OkStatus();
}

absl::Status Packer::Finish() {
  by_room_.clear();
  while (!open_.empty()) LIQUID_RETURN_IF_ERROR(Close(open_.begin()->first));
  return absl::OkStatus();
}

absl::Status Packer::Close(int64_t row) {
  const auto closed = open_.extract(row);
  return emit_(closed.mapped());
}

}  // namespace liquid
