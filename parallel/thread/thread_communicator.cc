#include "parallel/thread/thread_communicator.h"

#include <cstring>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/mutex.h"

namespace liquid {
namespace {

// What the ranks of one group share. A collective is two meetings: all ranks have posted what they
// contribute, then all ranks have read the others' posts.
struct World {
  World(int n, absl::Duration t) : size(n), timeout(t), posts(n) {}

  const int size;
  const absl::Duration timeout;
  Mutex mutex;
  CondVar changed;
  std::vector<const std::string*> posts ABSL_GUARDED_BY(mutex);  // by rank
  int num_arrived ABSL_GUARDED_BY(mutex) = 0;
  int64_t num_meetings ABSL_GUARDED_BY(mutex) = 0;
  absl::Status status ABSL_GUARDED_BY(mutex);  // the first failure
  // Groups of some of these ranks, by the number of the split and the color.
  std::map<std::pair<int, int>, std::shared_ptr<World>> parts ABSL_GUARDED_BY(mutex);

  void Fail(const absl::Status& why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    status.Update(why);
    changed.SignalAll();
  }

  // Waits until all ranks are here. False if the group has failed.
  bool Meet() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    const int64_t meeting = num_meetings;
    if (++num_arrived == size) {
      num_arrived = 0;
      ++num_meetings;
      changed.SignalAll();
    }
    const absl::Time deadline = absl::Now() + timeout;
    while (num_meetings == meeting && status.ok()) {
      if (absl::Now() >= deadline) {
        Fail(absl::DeadlineExceededError(
            absl::StrCat("a peer did not come within ", absl::FormatDuration(timeout))));
      }
      changed.WaitFor(mutex, deadline - absl::Now());
    }
    return status.ok();
  }
};

template <typename T>
void AddTo(void* sum, const void* addend, int64_t count) {
  auto* to = static_cast<T*>(sum);
  const auto* from = static_cast<const T*>(addend);
  for (int64_t i = 0; i < count; ++i) to[i] += from[i];
}

void AddTo(const TensorView& sum, const std::string& addend) {
  LIQUID_CHECK(static_cast<int64_t>(addend.size()) == sum.NumBytes(), "ranks disagree in shape");
  switch (sum.dtype) {
    case DType::kF32:
      return AddTo<float>(sum.data, addend.data(), sum.NumElements());
    case DType::kF64:
      return AddTo<double>(sum.data, addend.data(), sum.NumElements());
    case DType::kI64:
      return AddTo<int64_t>(sum.data, addend.data(), sum.NumElements());
    default:
      LIQUID_CHECK(false, "no sums of ", absl::string_view(DTypeName(sum.dtype).data()));
  }
}

class ThreadCommunicator final : public GangCommunicator {
 public:
  ThreadCommunicator(std::shared_ptr<World> world, int rank)
      : world_(std::move(world)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return world_->size; }

  void AllReduceSum(TensorView inout) override {
    const auto posts = AllGatherMessages(Bytes(inout));
    if (!posts.ok()) return;
    std::memset(inout.data, 0, static_cast<size_t>(inout.NumBytes()));
    for (const std::string& post : *posts) AddTo(inout, post);
  }

  void AllGatherParts(TensorView out, ConstTensorView in) override {
    const auto posts = AllGatherMessages(Bytes(in));
    if (!posts.ok()) return;
    LIQUID_CHECK(out.NumBytes() == in.NumBytes() * size(), "parts of ", in.NumBytes(), " bytes");
    auto* to = static_cast<char*>(out.data);
    for (const std::string& post : *posts) {
      LIQUID_CHECK(static_cast<int64_t>(post.size()) == in.NumBytes(), "ranks disagree in shape");
      std::memcpy(to, post.data(), post.size());
      to += post.size();
    }
  }

  void ReduceScatterPartsSum(TensorView out, ConstTensorView in) override {
    LIQUID_CHECK(in.NumBytes() == out.NumBytes() * size(), "parts of ", out.NumBytes(), " bytes");
    const auto posts = AllGatherMessages(Bytes(in));
    if (!posts.ok()) return;
    const auto num_bytes = static_cast<size_t>(out.NumBytes());
    std::memcpy(out.data, (*posts)[0].data() + rank_ * num_bytes, num_bytes);
    for (int r = 1; r < size(); ++r) AddTo(out, (*posts)[r].substr(rank_ * num_bytes, num_bytes));
  }

  void ReduceSum(TensorView inout, int root) override {
    const auto posts = AllGatherMessages(Bytes(inout));
    if (!posts.ok() || rank_ != root) return;
    std::memcpy(inout.data, (*posts)[0].data(), (*posts)[0].size());
    for (int r = 1; r < size(); ++r) AddTo(inout, (*posts)[r]);
  }

  std::unique_ptr<GangCommunicator> Split(int color) override {
    const auto colors = AllGatherMessages(std::to_string(color));
    LIQUID_CHECK(colors.ok(), colors.status().ToString());
    int part_size = 0;
    int part_rank = 0;
    for (int r = 0; r < size(); ++r) {
      if ((*colors)[r] != (*colors)[rank_]) continue;
      if (r < rank_) ++part_rank;
      ++part_size;
    }
    MutexLock lock(world_->mutex);
    std::shared_ptr<World>& part = world_->parts[{num_splits_++, color}];
    if (part == nullptr) part = std::make_shared<World>(part_size, world_->timeout);
    return std::make_unique<ThreadCommunicator>(part, part_rank);
  }

  void Broadcast(TensorView inout, int root) override {
    const auto message = BroadcastMessage(rank_ == root ? Bytes(inout) : "", root);
    if (!message.ok()) return;
    LIQUID_CHECK(static_cast<int64_t>(message->size()) == inout.NumBytes());
    std::memcpy(inout.data, message->data(), message->size());
  }

  absl::Status Wait(absl::Time /*deadline*/) override {
    MutexLock lock(world_->mutex);
    return world_->status;
  }

  void Abort(absl::Status why) override {
    MutexLock lock(world_->mutex);
    world_->Fail(why);
  }

  absl::StatusOr<std::string> BroadcastMessage(std::string message, int root) override {
    auto posts = AllGatherMessages(std::move(message));
    if (!posts.ok()) return posts.status();
    return std::move((*posts)[root]);
  }

  absl::StatusOr<std::vector<std::string>> AllGatherMessages(std::string message) override {
    MutexLock lock(world_->mutex);
    if (!world_->status.ok()) return world_->status;
    world_->posts[rank_] = &message;
    if (!world_->Meet()) return world_->status;
    std::vector<std::string> all;
    all.reserve(world_->posts.size());
    for (const std::string* post : world_->posts) all.push_back(*post);
    if (!world_->Meet()) return world_->status;
    return all;
  }

 private:
  static std::string Bytes(const ConstTensorView& tensor) {
    return std::string(static_cast<const char*>(tensor.data),
                       static_cast<size_t>(tensor.NumBytes()));
  }

  const std::shared_ptr<World> world_;  // shared: lives as long as any rank of the group
  const int rank_;
  int num_splits_ = 0;
};

}  // namespace

std::vector<std::unique_ptr<GangCommunicator>> CreateThreadWorld(int size, absl::Duration timeout) {
  auto world = std::make_shared<World>(size, timeout);
  std::vector<std::unique_ptr<GangCommunicator>> ranks;
  ranks.reserve(size);
  for (int rank = 0; rank < size; ++rank) {
    ranks.push_back(std::make_unique<ThreadCommunicator>(world, rank));
  }
  return ranks;
}

}  // namespace liquid
