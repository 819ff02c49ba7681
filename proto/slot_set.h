// Some of the slots of a step.
#ifndef LIQUID_PROTO_SLOT_SET_H_
#define LIQUID_PROTO_SLOT_SET_H_

#include <map>
#include <optional>

#include "proto/coordinator.pb.h"

namespace liquid {

using SlotRanges = google::protobuf::RepeatedPtrField<SlotRange>;

// A set of slot numbers, held as ranges that neither touch nor overlap. A value.
class SlotSet {
 public:
  SlotSet() = default;
  SlotSet(int begin, int end) { Add(begin, end); }

  // What a message says. Nullopt if a range is empty or negative, or a slot comes twice.
  static std::optional<SlotSet> FromRanges(const SlotRanges& ranges);
  SlotRanges ToRanges() const;  // ascending

  // Every operation costs O(log ranges), and O(1) for each range that it swallows.
  void Add(int begin, int end);  // [begin, end); slots that are in already stay
  void Remove(int begin, int end);
  void Add(const SlotSet& other);
  void Remove(const SlotSet& other);

  bool empty() const { return ranges_.empty(); }
  int size() const { return size_; }
  bool Contains(int slot) const;
  bool Contains(const SlotSet& other) const;
  bool Overlaps(const SlotSet& other) const;
  // Its `count` highest slots, or all of them.
  SlotSet Last(int count) const;
  int end() const { return ranges_.empty() ? 0 : ranges_.rbegin()->second; }  // highest slot + 1
  const std::map<int, int>& ranges() const { return ranges_; }                // begin -> end

  friend bool operator==(const SlotSet& a, const SlotSet& b) { return a.ranges_ == b.ranges_; }

 private:
  std::map<int, int> ranges_;
  int size_ = 0;
};

}  // namespace liquid

#endif  // LIQUID_PROTO_SLOT_SET_H_
