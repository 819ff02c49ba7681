#include "parallel/nccl/nccl_group.h"

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <array>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/handle.h"
#include "base/mutex.h"
#include "base/status.h"
#include "kernels/cuda/device/elementwise.h"
#include "tensor/cuda/cuda_stream.h"

namespace liquid {
namespace {

// Unless a group leaves in order, it is aborted: NCCL's Destroy waits for peers that may be gone.
using CommHandle = Handle<ncclComm_t, ncclCommAbort>;
using EventHandle = Handle<cudaEvent_t, cudaEventDestroy>;

constexpr absl::Duration kWatchInterval = absl::Milliseconds(1);

// Unavailable where a peer or the network failed, else Internal.
absl::Status FromNccl(ncclResult_t code, std::string_view what) {
  if (code == ncclSuccess || code == ncclInProgress) return absl::OkStatus();
  std::string text = absl::StrCat(absl::string_view(what.data(), what.size()), ": ",
                                  ncclGetErrorString(code), " (", ncclGetLastError(nullptr), ")");
  return code == ncclRemoteError || code == ncclSystemError
             ? absl::UnavailableError(std::move(text))
             : absl::InternalError(std::move(text));
}

ncclDataType_t ToNccl(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return ncclFloat32;
    case DType::kF64:
      return ncclFloat64;
    case DType::kI64:
      return ncclInt64;
    default:
      LIQUID_CHECK(false, "no NCCL sums of dtype ", static_cast<int>(dtype));
  }
}

// Memory of the device that grows and is kept.
class DeviceScratch {
 public:
  explicit DeviceScratch(Device& device) : device_(device) {}
  absl::StatusOr<void*> Get(int64_t num_bytes) {
    if (num_bytes > num_bytes_) {
      LIQUID_ASSIGN_OR_RETURN(memory_, device_.Allocate(static_cast<size_t>(num_bytes)));
      num_bytes_ = num_bytes;
    }
    return memory_.get();
  }

 private:
  Device& device_;
  Buffer memory_;
  int64_t num_bytes_ = 0;
};

// The operations enqueued last, and events behind them: which one is it that does not end?
class OperationLog {
 public:
  void Add(std::string_view name, int64_t num_bytes, cudaStream_t stream) {
    Entry& entry = entries_[static_cast<size_t>(num_enqueued_ % kSize)];
    if (entry.event == nullptr) {
      cudaEvent_t event = nullptr;
      if (cudaEventCreateWithFlags(&event, cudaEventDisableTiming) != cudaSuccess) return;
      entry.event.reset(event);
    }
    entry.name = name;
    entry.num_bytes = num_bytes;
    ++num_enqueued_;
    static_cast<void>(cudaEventRecord(entry.event.get(), stream));
  }

  // The number of the first one that has not ended, of those known; num_enqueued() if all have.
  int64_t FirstPending() const {
    for (int64_t n = num_enqueued_ > kSize ? num_enqueued_ - kSize : 0; n < num_enqueued_; ++n) {
      if (cudaEventQuery(At(n).event.get()) == cudaErrorNotReady) return n;
    }
    return num_enqueued_;
  }
  int64_t num_enqueued() const { return num_enqueued_; }
  std::string Describe(int64_t number) const {
    const Entry& entry = At(number);
    return absl::StrCat("operation ", number, " (",
                        absl::string_view(entry.name.data(), entry.name.size()), " of ",
                        entry.num_bytes, " bytes)");
  }

 private:
  static constexpr int64_t kSize = 256;
  struct Entry {
    std::string_view name;
    int64_t num_bytes = 0;
    EventHandle event;
  };
  const Entry& At(int64_t number) const { return entries_[static_cast<size_t>(number % kSize)]; }
  std::array<Entry, kSize> entries_;
  int64_t num_enqueued_ = 0;
};

// What groups and rails share: all but splitting.
class NcclGroup {
 public:
  NcclGroup(Communicator& hosts, Stream& stream, NcclOptions options)
      : hosts_(hosts),
        stream_(AsCudaStream(stream)),
        options_(std::move(options)),
        received_(stream.device()) {}
  ~NcclGroup() {
    stream_.SetWatch(this, nullptr);
    if (comm_ != nullptr && status().ok()) Leave();
  }

  Communicator& hosts() const { return hosts_; }
  Stream& stream() const { return stream_; }
  const NcclOptions& options() const { return options_; }
  int rank() const { return hosts_.rank(); }
  int size() const { return hosts_.size(); }

  // Collective.
  absl::Status Form() {
    ncclUniqueId id{};
    const absl::Status made =
        rank() == 0 ? FromNccl(ncclGetUniqueId(&id), "ncclGetUniqueId") : absl::OkStatus();
    // An empty message: rank 0 has none.
    std::string bytes = made.ok() ? std::string(id.internal, sizeof(id.internal)) : "";
    LIQUID_ASSIGN_OR_RETURN(bytes, hosts_.BroadcastMessage(std::move(bytes), 0));
    if (!made.ok()) return Named(made);
    if (bytes.size() != sizeof(id.internal)) {
      return Named(absl::UnavailableError("rank 0 could not begin: its own line says why"));
    }
    std::memcpy(id.internal, bytes.data(), bytes.size());
    LIQUID_RETURN_IF_ERROR(stream_.Synchronize());  // and the device is the thread's
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclComm_t comm = nullptr;
    const ncclResult_t begun = ncclCommInitRankConfig(&comm, size(), id, rank(), &config);
    comm_.reset(comm);
    LIQUID_RETURN_IF_ERROR(Named(FromNccl(begun, "ncclCommInitRankConfig")));
    LIQUID_RETURN_IF_ERROR(AwaitReady(options_.deadline));
    stream_.SetWatch(this, [this] { Watch(); });
    return absl::OkStatus();
  }

  // Enqueues what `call` does, unless something failed before.
  template <typename NcclCall>
  void Enqueue(std::string_view name, int64_t num_bytes, const NcclCall& call) {
    if (comm_ == nullptr || !status().ok()) return;
    ncclResult_t code = call(comm_.get(), stream_.native());
    // Groups connect when they are first used.
    if (code == ncclInProgress) return AwaitEnqueued(name, num_bytes);
    if (const absl::Status failed = FromNccl(code, name); !failed.ok()) return Fail(Named(failed));
    log_.Add(name, num_bytes, stream_.native());
  }

  void AwaitEnqueued(std::string_view name, int64_t num_bytes) {
    if (AwaitReady(absl::Now() + options_.stall_timeout).ok()) {
      log_.Add(name, num_bytes, stream_.native());
    }
  }

  void AllReduceSum(const TensorView& inout) {
    Enqueue("all-reduce", inout.NumBytes(), [&](ncclComm_t comm, cudaStream_t stream) {
      return ncclAllReduce(inout.data, inout.data, Count(inout), ToNccl(inout.dtype), ncclSum, comm,
                           stream);
    });
  }

  void Broadcast(const TensorView& inout, int root) {
    Enqueue("broadcast", inout.NumBytes(), [&](ncclComm_t comm, cudaStream_t stream) {
      return ncclBroadcast(inout.data, inout.data, static_cast<size_t>(inout.NumBytes()), ncclUint8,
                           root, comm, stream);
    });
  }

  void AllGatherParts(const TensorView& out, const ConstTensorView& in) {
    LIQUID_CHECK(out.NumBytes() == in.NumBytes() * size(), "parts of ", in.NumBytes(), " bytes");
    Enqueue("all-gather", out.NumBytes(), [&](ncclComm_t comm, cudaStream_t stream) {
      return ncclAllGather(in.data, out.data, static_cast<size_t>(in.NumBytes()), ncclUint8, comm,
                           stream);
    });
  }

  void ReduceScatterPartsSum(const TensorView& out, const ConstTensorView& in) {
    LIQUID_CHECK(in.NumBytes() == out.NumBytes() * size(), "parts of ", out.NumBytes(), " bytes");
    if (out.dtype == DType::kF32 && HasFixedOrder()) {
      float* const all = Received(size() * out.NumBytes());
      if (all == nullptr) return;
      Enqueue("reduce-scatter", in.NumBytes(), [&](ncclComm_t comm, cudaStream_t stream) {
        return ncclAlltoAll(in.data, all, Count(out), ncclFloat32, comm, stream);
      });
      SumReceived(out, all);
      return;
    }
    Enqueue("reduce-scatter", in.NumBytes(), [&](ncclComm_t comm, cudaStream_t stream) {
      return ncclReduceScatter(in.data, out.data, Count(out), ToNccl(out.dtype), ncclSum, comm,
                               stream);
    });
  }

  void ReduceSum(const TensorView& inout, int root) {
    if (inout.dtype == DType::kF32 && HasFixedOrder()) {
      float* const all = rank() == root ? Received(size() * inout.NumBytes()) : nullptr;
      if (rank() == root && all == nullptr) return;
      Enqueue("reduce", inout.NumBytes(), [&](ncclComm_t comm, cudaStream_t stream) {
        return Gather(all, inout, root, comm, stream);
      });
      if (rank() == root) SumReceived(inout, all);
      return;
    }
    Enqueue("reduce", inout.NumBytes(), [&](ncclComm_t comm, cudaStream_t stream) {
      return ncclReduce(inout.data, inout.data, Count(inout), ToNccl(inout.dtype), ncclSum, root,
                        comm, stream);
    });
  }

  absl::Status Wait(absl::Time deadline) {
    deadline_ = deadline;
    const absl::Status device = stream_.Synchronize();
    deadline_ = absl::InfiniteFuture();
    stalled_since_ = absl::InfinitePast();
    const absl::Status mine = status();
    return mine.ok() ? device : mine;
  }

  void Abort(absl::Status why) {
    LIQUID_CHECK(!why.ok(), "an abort without a reason");
    MutexLock lock(mutex_);
    status_.Update(why);
  }

 private:
  static size_t Count(const TensorView& tensor) {
    return static_cast<size_t>(tensor.NumElements());
  }
  // NCCL's own sums are in an order of its choosing. SumRuns adds so many rows in theirs; more
  // ranks are replicas, whose float sums promise nothing.
  bool HasFixedOrder() const { return size() <= cuda::kSumRows; }

  absl::Status Named(const absl::Status& status) const {
    return Annotate(status, absl::StrCat("NCCL among the ranks of '", options_.name, "'"));
  }

  absl::Status status() {
    MutexLock lock(mutex_);
    return status_;
  }

  float* Received(int64_t num_bytes) {
    const absl::StatusOr<void*> memory = received_.Get(num_bytes);
    if (!memory.ok()) Fail(memory.status());
    return memory.ok() ? static_cast<float*>(*memory) : nullptr;
  }

  ncclResult_t Gather(float* all, const TensorView& mine, int root, ncclComm_t comm,
                      cudaStream_t stream) const {
    ncclGroupStart();
    ncclSend(mine.data, Count(mine), ncclFloat32, root, comm, stream);
    for (int r = 0; r < size() && rank() == root; ++r) {
      ncclRecv(all + r * mine.NumElements(), Count(mine), ncclFloat32, r, comm, stream);
    }
    return ncclGroupEnd();
  }

  void SumReceived(const TensorView& out, const float* all) {
    stream_.Latch(cuda::SumRuns(stream_.native(), cuda::Element::kF32, out.f32(), all, size(),
                                out.NumElements()),
                  "SumRuns");
  }

  absl::Status AwaitReady(absl::Time deadline) {
    while (true) {
      ncclResult_t code = ncclSuccess;
      const ncclResult_t asked = ncclCommGetAsyncError(comm_.get(), &code);
      if (asked == ncclSuccess && code == ncclSuccess) return absl::OkStatus();
      absl::Status why = FromNccl(asked == ncclSuccess ? code : asked, "coming together");
      why.Update(status());
      why.Update(PeersStatus());
      if (absl::Now() > deadline) {
        why.Update(absl::DeadlineExceededError("not all ranks have come"));
      }
      if (!why.ok()) {
        Fail(why);
        return Named(why);
      }
      absl::SleepFor(kWatchInterval);
    }
  }

  absl::Status PeersStatus() const {
    return options_.peers_status == nullptr ? absl::OkStatus() : options_.peers_status();
  }

  // While the thread waits for the stream.
  void Watch() {
    if (comm_ == nullptr) return;
    const absl::Time now = absl::Now();
    if (now < next_watch_) return;
    next_watch_ = now + kWatchInterval;
    ncclResult_t code = ncclSuccess;
    absl::Status why = FromNccl(ncclCommGetAsyncError(comm_.get(), &code), "NCCL");
    why.Update(FromNccl(code, "NCCL"));
    // The hosts know more of a peer that is gone than NCCL does.
    if (absl::Status peers = PeersStatus(); !peers.ok()) why = std::move(peers);
    if (absl::Status aborted = status(); !aborted.ok()) why = std::move(aborted);
    if (why.ok() && now > deadline_) {
      why = absl::DeadlineExceededError(absl::StrCat("waited in vain for ", Stalled()));
    }
    if (why.ok()) why = CheckProgress(now);
    if (!why.ok()) Fail(Named(why));
  }

  // DeadlineExceeded if the same operation has been pending for too long.
  absl::Status CheckProgress(absl::Time now) {
    if (options_.stall_timeout == absl::InfiniteDuration()) return absl::OkStatus();
    const int64_t pending = log_.FirstPending();
    if (pending == log_.num_enqueued() || pending != stalled_operation_ ||
        stalled_since_ == absl::InfinitePast()) {
      stalled_operation_ = pending;
      stalled_since_ = now;
      return absl::OkStatus();
    }
    if (now - stalled_since_ < options_.stall_timeout) return absl::OkStatus();
    return absl::DeadlineExceededError(absl::StrCat(Stalled(), " has not ended in ",
                                                    absl::FormatDuration(options_.stall_timeout),
                                                    "; ", MissingRanks(pending)));
  }

  std::string Stalled() const {
    const int64_t pending = log_.FirstPending();
    return pending < log_.num_enqueued() ? log_.Describe(pending) : "work on the device";
  }

  // Who has not come to operation `pending`.
  std::string MissingRanks(int64_t pending) const {
    if (options_.roll_call == nullptr) return "who is missing is not known";
    const auto words = options_.roll_call(absl::StrCat(log_.num_enqueued()));
    std::vector<std::string> missing;
    for (size_t r = 0; r < words.size(); ++r) {
      int64_t num_enqueued = 0;
      if (!words[r].has_value()) {
        missing.push_back(absl::StrCat("rank ", r, " does not answer"));
      } else if (absl::SimpleAtoi(*words[r], &num_enqueued) && num_enqueued <= pending) {
        missing.push_back(absl::StrCat("rank ", r, " has come to operation ", num_enqueued));
      }
    }
    return missing.empty() ? "every rank has come to it" : absl::StrJoin(missing, ", ");
  }

  // In order: what peers still read of this rank stays as it is until they have.
  void Leave() {
    constexpr absl::Duration kPatience = absl::Seconds(1);
    const absl::Time deadline = absl::Now() + kPatience;
    ncclResult_t code = ncclCommFinalize(comm_.get());
    while (code == ncclInProgress && absl::Now() < deadline) {
      absl::SleepFor(kWatchInterval);
      if (ncclCommGetAsyncError(comm_.get(), &code) != ncclSuccess) return;
    }
    if (code == ncclSuccess) static_cast<void>(ncclCommDestroy(comm_.release()));
  }

  // Latches `why`, and ends what is under way on the device.
  void Fail(const absl::Status& why) {
    Abort(why);
    comm_.reset();
  }

  Communicator& hosts_;
  CudaStream& stream_;
  const NcclOptions options_;
  DeviceScratch received_;
  CommHandle comm_;  // null once it has failed
  OperationLog log_;
  absl::Time deadline_ = absl::InfiniteFuture();  // of the Wait under way
  absl::Time next_watch_ = absl::InfinitePast();
  int64_t stalled_operation_ = -1;
  absl::Time stalled_since_ = absl::InfinitePast();
  Mutex mutex_;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);  // the first failure
};

// The calls of a Communicator, on top of `Base`.
template <typename Base>
class OnNccl : public Base {
 public:
  explicit OnNccl(std::unique_ptr<NcclGroup> group) : group_(std::move(group)) {}
  int rank() const override { return group_->rank(); }
  int size() const override { return group_->size(); }
  void AllReduceSum(TensorView inout) override { group_->AllReduceSum(inout); }
  void Broadcast(TensorView inout, int root) override { group_->Broadcast(inout, root); }
  absl::Status Wait(absl::Time deadline) override { return group_->Wait(deadline); }
  void Abort(absl::Status why) override { group_->Abort(std::move(why)); }
  absl::StatusOr<std::string> BroadcastMessage(std::string message, int root) override {
    return group_->hosts().BroadcastMessage(std::move(message), root);
  }
  absl::StatusOr<std::vector<std::string>> AllGatherMessages(std::string message) override {
    return group_->hosts().AllGatherMessages(std::move(message));
  }

 protected:
  const std::unique_ptr<NcclGroup> group_;
};

class NcclGangGroup final : public OnNccl<GangCommunicator> {
 public:
  using OnNccl::OnNccl;
  void AllGatherParts(TensorView out, ConstTensorView in) override {
    group_->AllGatherParts(out, in);
  }
  void ReduceScatterPartsSum(TensorView out, ConstTensorView in) override {
    group_->ReduceScatterPartsSum(out, in);
  }
  void ReduceSum(TensorView inout, int root) override { group_->ReduceSum(inout, root); }
  std::unique_ptr<GangCommunicator> Split(int /*color*/) override {
    LIQUID_CHECK(false, "split the hosts' group, and make one of NCCL from the part");
  }
};

absl::StatusOr<std::unique_ptr<NcclGroup>> FormGroup(Communicator& hosts, Stream& stream,
                                                     NcclOptions options) {
  auto group = std::make_unique<NcclGroup>(hosts, stream, std::move(options));
  LIQUID_RETURN_IF_ERROR(group->Form());
  return group;
}

}  // namespace

absl::StatusOr<std::unique_ptr<GangCommunicator>> CreateNcclGroup(GangCommunicator& hosts,
                                                                  Stream& stream,
                                                                  NcclOptions options) {
  LIQUID_ASSIGN_OR_RETURN(auto group, FormGroup(hosts, stream, std::move(options)));
  return std::make_unique<NcclGangGroup>(std::move(group));
}

absl::StatusOr<std::unique_ptr<Communicator>> CreateNcclRail(Communicator& hosts, Stream& stream,
                                                             NcclOptions options) {
  LIQUID_ASSIGN_OR_RETURN(auto group, FormGroup(hosts, stream, std::move(options)));
  return std::make_unique<OnNccl<Communicator>>(std::move(group));
}

}  // namespace liquid
