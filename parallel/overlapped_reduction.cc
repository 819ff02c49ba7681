#include "parallel/overlapped_reduction.h"

#include <algorithm>

#include "base/check.h"
#include "parallel/flat_layout.h"

namespace liquid {

void OverlappedReduction::Add(const TensorView& slice, const TensorView& flat, int64_t begin,
                              int64_t end) {
  LIQUID_CHECK(flat.NumElements() == slice.NumElements() * group_.size() && begin < end, begin);
  slice_ = slice;
  flat_ = flat;
  has_begun_ = true;
  // Gradients come from the last tensor to the first, mostly, so that neighbours become one bucket.
  if (bucket_.first == end) {
    bucket_.first = begin;
  } else if (bucket_.second == begin) {
    bucket_.second = end;
  } else {
    Send(std::exchange(bucket_, {begin, end}));
  }
  if (bucket_.second - bucket_.first >= kBucketElements) Send(std::exchange(bucket_, {}));
}

void OverlappedReduction::Finish() {
  Send(std::exchange(bucket_, {}));
  std::vector<Range> sent = std::exchange(sent_, {});
  std::sort(sent.begin(), sent.end());
  int64_t end = 0;
  for (const Range& range : sent) {
    Send({end, range.first});
    end = range.second;
  }
  Send({end, flat_.NumElements()});
  Cancel();
}

void OverlappedReduction::Cancel() {
  if (beside_ == nullptr) {
    queue_.Drain();
  } else {
    stream_.WaitFor(*beside_);
  }
  bucket_ = {};
  sent_.clear();
  has_begun_ = false;
}

void OverlappedReduction::Send(Range range) {
  if (range.first == range.second) return;
  sent_.push_back(range);
  if (beside_ == nullptr) {
    queue_.Post([this, range, slice = slice_, flat = flat_] { Reduce(range, slice, flat); });
  } else {
    beside_->WaitFor(stream_);
    Reduce(range, slice_, flat_);
  }
}

void OverlappedReduction::Reduce(Range range, const TensorView& slice, const TensorView& flat) {
  const int64_t slice_size = slice.NumElements();
  Stream& stream = beside_ != nullptr ? *beside_ : stream_;
  for (int64_t begin = range.first; begin < range.second;) {
    const int owner = static_cast<int>(begin / slice_size);
    const int64_t end = std::min(range.second, (owner + 1) * slice_size);
    TensorView part = Elements(flat, begin, end);
    if (owner == group_.rank()) {
      // Summed in the slice: the flat array stays as it is.
      const TensorView own = Elements(slice, begin % slice_size, begin % slice_size + end - begin);
      stream.CopyOnDevice(own.data, part.data, static_cast<size_t>(own.NumBytes()));
      part = own;
    }
    group_.ReduceSum(part, owner);
    begin = end;
  }
}

}  // namespace liquid
