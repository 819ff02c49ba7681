// A group of ranks of which only one is there: it moves nothing, and keeps count of what it would.
#ifndef LIQUID_PARALLEL_PLAN_PLAN_COMMUNICATOR_H_
#define LIQUID_PARALLEL_PLAN_PLAN_COMMUNICATOR_H_

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "parallel/gang_communicator.h"

namespace liquid {

enum class Collective : uint8_t { kAllReduce, kBroadcast, kAllGather, kReduceScatter, kReduce };
const char* CollectiveName(Collective collective);

struct CollectiveCall {
  Collective collective = Collective::kAllReduce;
  int size = 1;       // of the group
  int stride = 1;     // ranks of the gang between neighbours in it
  int64_t bytes = 0;  // of the whole tensor: what an all-gather makes, what a reduction reads

  // Sent by one rank if the ranks form a ring: of an all-reduce twice (size-1)/size of the tensor,
  // of the others once. Source: Patarasuk & Yuan 2009, "Bandwidth optimal all-reduce algorithms".
  double SentBytes() const;
  auto operator<=>(const CollectiveCall&) const = default;
};
using CollectiveCounts = std::map<CollectiveCall, int64_t>;

// What several groups of one rank would move. Thread-safe: reductions are begun by other threads.
class CollectiveLog {
 public:
  void Add(const CollectiveCall& call);
  // The calls since the last time, or ever.
  CollectiveCounts Take();

 private:
  Mutex mutex_;
  CollectiveCounts counts_ ABSL_GUARDED_BY(mutex_);
};

// Rank `rank` of `size`. Tensors stay as they are; messages come back from all ranks as this one's.
// `log`, if not null, must outlive this. Groups of one rank log nothing.
class PlanCommunicator final : public GangCommunicator {
 public:
  PlanCommunicator(int rank, int size, int stride, CollectiveLog* log)
      : rank_(rank), size_(size), stride_(stride), log_(log) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void AllReduceSum(TensorView inout) override { Log(Collective::kAllReduce, inout); }
  void Broadcast(TensorView inout, int /*root*/) override { Log(Collective::kBroadcast, inout); }
  void AllGatherParts(TensorView out, ConstTensorView in) override;
  void ReduceScatterPartsSum(TensorView out, ConstTensorView in) override;
  void ReduceSum(TensorView inout, int /*root*/) override { Log(Collective::kReduce, inout); }
  absl::Status Wait(absl::Time /*deadline*/) override { return absl::OkStatus(); }
  void Abort(absl::Status /*why*/) override {}
  absl::StatusOr<std::string> BroadcastMessage(std::string message, int /*root*/) override {
    return message;
  }
  absl::StatusOr<std::vector<std::string>> AllGatherMessages(std::string message) override {
    return std::vector<std::string>(static_cast<size_t>(size_), std::move(message));
  }
  // Not to be called: whether others give the same color is not known (GangMesh::CreateAlone).
  std::unique_ptr<GangCommunicator> Split(int color) override;

 private:
  void Log(Collective collective, const ConstTensorView& whole);

  const int rank_;
  const int size_;
  const int stride_;
  CollectiveLog* const log_;
};

}  // namespace liquid

#endif  // LIQUID_PARALLEL_PLAN_PLAN_COMMUNICATOR_H_
