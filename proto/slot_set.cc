#include "proto/slot_set.h"

#include <algorithm>
#include <iterator>

namespace liquid {

std::optional<SlotSet> SlotSet::FromRanges(const SlotRanges& ranges) {
  SlotSet set;
  for (const SlotRange& range : ranges) {
    if (range.begin() < 0 || range.end() <= range.begin()) return std::nullopt;
    const int before = set.size();
    set.Add(range.begin(), range.end());
    if (set.size() - before != range.end() - range.begin()) return std::nullopt;
  }
  return set;
}

SlotRanges SlotSet::ToRanges() const {
  SlotRanges ranges;
  for (const auto& [begin, end] : ranges_) {
    SlotRange& range = *ranges.Add();
    range.set_begin(begin);
    range.set_end(end);
  }
  return ranges;
}

void SlotSet::Add(int begin, int end) {
  if (begin >= end) return;
  auto it = ranges_.upper_bound(begin);
  if (it != ranges_.begin() && std::prev(it)->second >= begin) --it;
  while (it != ranges_.end() && it->first <= end) {
    begin = std::min(begin, it->first);
    end = std::max(end, it->second);
    size_ -= it->second - it->first;
    it = ranges_.erase(it);
  }
  ranges_.emplace(begin, end);
  size_ += end - begin;
}

void SlotSet::Remove(int begin, int end) {
  if (begin >= end) return;
  auto it = ranges_.upper_bound(begin);
  if (it != ranges_.begin() && std::prev(it)->second > begin) --it;
  while (it != ranges_.end() && it->first < end) {
    const auto [old_begin, old_end] = *it;
    it = ranges_.erase(it);
    size_ -= old_end - old_begin;
    if (old_begin < begin) {
      ranges_.emplace(old_begin, begin);
      size_ += begin - old_begin;
    }
    if (end < old_end) {
      it = ranges_.emplace(end, old_end).first;
      size_ += old_end - end;
    }
  }
}

void SlotSet::Add(const SlotSet& other) {
  for (const auto& [begin, end] : other.ranges_) Add(begin, end);
}

void SlotSet::Remove(const SlotSet& other) {
  for (const auto& [begin, end] : other.ranges_) Remove(begin, end);
}

bool SlotSet::Contains(int slot) const {
  const auto it = ranges_.upper_bound(slot);
  return it != ranges_.begin() && std::prev(it)->second > slot;
}

bool SlotSet::Contains(const SlotSet& other) const {
  return std::all_of(other.ranges_.begin(), other.ranges_.end(), [this](const auto& range) {
    const auto it = ranges_.upper_bound(range.first);
    return it != ranges_.begin() && std::prev(it)->second >= range.second;
  });
}

bool SlotSet::Overlaps(const SlotSet& other) const {
  return std::any_of(other.ranges_.begin(), other.ranges_.end(), [this](const auto& range) {
    const auto it = ranges_.lower_bound(range.second);
    return it != ranges_.begin() && std::prev(it)->second > range.first;
  });
}

SlotSet SlotSet::Last(int count) const {
  SlotSet last;
  for (auto it = ranges_.rbegin(); it != ranges_.rend() && count > 0; ++it) {
    const int taken = std::min(count, it->second - it->first);
    last.Add(it->second - taken, it->second);
    count -= taken;
  }
  return last;
}

}  // namespace liquid
