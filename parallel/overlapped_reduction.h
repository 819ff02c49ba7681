// A reduce-scatter that begins while its input is still being computed.
#ifndef LIQUID_PARALLEL_OVERLAPPED_REDUCTION_H_
#define LIQUID_PARALLEL_OVERLAPPED_REDUCTION_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "base/task_queue.h"
#include "parallel/gang_communicator.h"
#include "tensor/device.h"
#include "tensor/tensor.h"

namespace liquid {

// Every rank has a flat array of as many elements; rank r gets slice r of their sum. What is final
// is added range by range, in the same order on every rank, and goes to its owners in buckets: on
// GPUs on a stream of its own, on CPUs, where collectives block, from a thread of its own. The sums
// are those of ReduceScatterPartsSum, to the bit. Source: Li et al. 2020, arXiv:2006.15704, section
// 3.2.3.
class OverlappedReduction {
 public:
  // Elements that are sent at once.
  static constexpr int64_t kBucketElements = int64_t{1} << 20;

  // What is added has been enqueued on `stream`. `beside`: the stream of `group`, if it has one.
  // They must outlive this. From Add() to Finish() nobody else may use the group.
  OverlappedReduction(GangCommunicator& group, Stream& stream, Stream* beside = nullptr)
      : group_(group), stream_(stream), beside_(beside) {}
  ~OverlappedReduction() { Cancel(); }

  bool has_begun() const { return has_begun_; }
  // Collective. Elements [begin, end) of `flat` are final: they are read from now until Finish().
  // `slice` [elements of flat / size of the group] is written.
  void Add(const TensorView& slice, const TensorView& flat, int64_t begin, int64_t end);
  // Collective. Adds what was not added. What is enqueued on `stream` from now on finds `slice`
  // there, or the group has failed.
  void Finish();
  // Collective. What is enqueued on `stream` from now on runs behind what is under way; the slice
  // is unspecified.
  void Cancel();

 private:
  using Range = std::pair<int64_t, int64_t>;
  void Send(Range range);
  void Reduce(Range range, const TensorView& slice, const TensorView& flat);

  GangCommunicator& group_;
  Stream& stream_;
  Stream* const beside_;
  TensorView slice_;
  TensorView flat_;
  bool has_begun_ = false;
  Range bucket_;             // added and not sent
  std::vector<Range> sent_;  // with bucket_
  TaskQueue queue_;          // last: what is queued uses the others
};

}  // namespace liquid

#endif  // LIQUID_PARALLEL_OVERLAPPED_REDUCTION_H_
