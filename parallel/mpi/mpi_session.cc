#include "parallel/mpi/mpi_session.h"

#include <mpi.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/mutex.h"
#include "base/status.h"

namespace liquid {
namespace {

// Elements of one call: MPI counts are int, and Open MPI's scratch memory is as large as a call.
constexpr int64_t kMaxElements = int64_t{1} << 20;
// Above this all-gathers go as broadcasts in pieces, for the same reasons.
constexpr int64_t kMostGatheredBytes = int64_t{16} << 20;

absl::Status FromMpi(int code, std::string_view what) {
  if (code == MPI_SUCCESS) return absl::OkStatus();
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  return absl::UnavailableError(absl::StrCat(absl::string_view(what.data(), what.size()), ": ",
                                             absl::string_view(text, static_cast<size_t>(length))));
}

MPI_Datatype ToMpi(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return MPI_FLOAT;
    case DType::kF64:
      return MPI_DOUBLE;
    case DType::kI64:
      return MPI_INT64_T;
    default:
      LIQUID_CHECK(false, "no MPI sums of dtype ", static_cast<int>(dtype));
  }
}

// Waits for `request`: first at full attention, then ever more asleep, so that ranks which wait for
// a slow or paused one leave it their core.
absl::Status WaitPolitely(MPI_Request request, std::string_view what) {
  constexpr int kSpins = 2000;
  auto nap = std::chrono::microseconds(20);
  for (int round = 0;; ++round) {
    int done = 0;
    LIQUID_RETURN_IF_ERROR(FromMpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), what));
    if (done != 0) return absl::OkStatus();
    if (round < kSpins) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(nap);
      nap = std::min(nap * 2, std::chrono::microseconds(1000));
    }
  }
}

// Memory that grows and is kept: touching new pages is dear.
class Scratch {
 public:
  void* Get(int64_t num_bytes) {
    if (static_cast<int64_t>(bytes_.size()) < num_bytes) bytes_.resize(num_bytes);
    return bytes_.data();
  }

 private:
  std::vector<std::byte> bytes_;
};

template <typename T>
void SumParts(void* out, const void* parts, int num_parts, int64_t count) {
  const auto* from = static_cast<const T*>(parts);
  auto* to = static_cast<T*>(out);
  std::copy_n(from, count, to);
  for (int part = 1; part < num_parts; ++part) {
    from += count;
    for (int64_t i = 0; i < count; ++i) to[i] += from[i];
  }
}

void SumParts(DType dtype, void* out, const void* parts, int num_parts, int64_t count) {
  switch (dtype) {
    case DType::kF32:
      return SumParts<float>(out, parts, num_parts, count);
    case DType::kF64:
      return SumParts<double>(out, parts, num_parts, count);
    case DType::kI64:
      return SumParts<int64_t>(out, parts, num_parts, count);
    default:
      LIQUID_CHECK(false, "no sums of dtype ", static_cast<int>(dtype));
  }
}

class MpiCommunicator final : public GangCommunicator {
 public:
  // Owns `comm`.
  explicit MpiCommunicator(MPI_Comm comm) : comm_(comm) {
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
  }
  ~MpiCommunicator() override { MPI_Comm_free(&comm_); }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void AllReduceSum(TensorView inout) override {
    const MPI_Datatype type = ToMpi(inout.dtype);
    InPieces(inout, [&](char* data, int count) {
      return FromMpi(MPI_Allreduce(MPI_IN_PLACE, data, count, type, MPI_SUM, comm_),
                     "MPI_Allreduce");
    });
  }

  void AllGatherParts(TensorView out, ConstTensorView in) override {
    LIQUID_CHECK(out.NumBytes() == in.NumBytes() * size_, "parts of ", in.NumBytes(), " bytes");
    const int64_t part = in.NumBytes();
    const auto* from = static_cast<const char*>(in.data);
    auto* to = static_cast<char*>(out.data);
    if (part <= kMostGatheredBytes) {
      Call([&] {
        return FromMpi(MPI_Allgather(from, static_cast<int>(part), MPI_BYTE, to,
                                     static_cast<int>(part), MPI_BYTE, comm_),
                       "MPI_Allgather");
      });
      return;
    }
    std::copy_n(from, part, to + rank_ * part);
    for (int root = 0; root < size_; ++root) {
      Broadcast(TensorView(to + root * part, DType::kU8, {part}), root);
    }
  }

  void ReduceScatterPartsSum(TensorView out, ConstTensorView in) override {
    LIQUID_CHECK(in.NumBytes() == out.NumBytes() * size_, "parts of ", out.NumBytes(), " bytes");
    const int64_t element = SizeOf(out.dtype);
    const int64_t part = out.NumElements();
    const int64_t most = std::max<int64_t>(1, kMaxElements / size_);
    for (int64_t first = 0; first < part; first += most) {
      const int64_t count = std::min(most, part - first);
      const auto num_bytes = static_cast<size_t>(count * element);
      auto* packed = static_cast<char*>(packed_.Get(size_ * count * element));
      auto* received = static_cast<char*>(received_.Get(size_ * count * element));
      for (int r = 0; r < size_; ++r) {
        std::memcpy(packed + r * num_bytes,
                    static_cast<const char*>(in.data) + (r * part + first) * element, num_bytes);
      }
      Call([&] {
        return FromMpi(MPI_Alltoall(packed, static_cast<int>(num_bytes), MPI_BYTE, received,
                                    static_cast<int>(num_bytes), MPI_BYTE, comm_),
                       "MPI_Alltoall");
      });
      SumParts(out.dtype, static_cast<char*>(out.data) + first * element, received, size_, count);
    }
  }

  void ReduceSum(TensorView inout, int root) override {
    const int64_t element = SizeOf(inout.dtype);
    const int64_t most = std::max<int64_t>(1, kMaxElements / size_);
    for (int64_t first = 0; first < inout.NumElements(); first += most) {
      const int64_t count = std::min(most, inout.NumElements() - first);
      const auto num_bytes = static_cast<int>(count * element);
      char* mine = static_cast<char*>(inout.data) + first * element;
      void* all = rank_ == root ? received_.Get(size_ * count * element) : nullptr;
      Call([&] {
        MPI_Request request = MPI_REQUEST_NULL;
        LIQUID_RETURN_IF_ERROR(FromMpi(
            MPI_Igather(mine, num_bytes, MPI_BYTE, all, num_bytes, MPI_BYTE, root, comm_, &request),
            "MPI_Igather"));
        return WaitPolitely(request, "MPI_Igather");
      });
      if (rank_ == root) SumParts(inout.dtype, mine, all, size_, count);
    }
  }

  std::vector<std::optional<std::string>> RollCall(const std::string& message,
                                                   absl::Duration patience) override {
    constexpr int kTag = 1;  // nothing else goes from rank to rank
    constexpr size_t kBytes = 64;
    LIQUID_CHECK(message.size() < kBytes, message.size());
    const auto size = static_cast<size_t>(size_);
    // They outlive a rank that never answers: kept until the process ends.
    auto* const mine = new std::array<char, kBytes>{};
    std::copy(message.begin(), message.end(), mine->begin());
    auto* const theirs = new std::vector<std::array<char, kBytes>>(size);
    std::vector<MPI_Request> requests(size);
    for (int r = 0; r < size_; ++r) {
      MPI_Request sent = MPI_REQUEST_NULL;
      MPI_Isend(mine->data(), kBytes, MPI_BYTE, r, kTag, comm_, &sent);
      MPI_Request_free(&sent);
      MPI_Irecv((*theirs)[r].data(), kBytes, MPI_BYTE, r, kTag, comm_, &requests[r]);
    }
    std::vector<std::optional<std::string>> words(size);
    const absl::Time deadline = absl::Now() + patience;
    size_t num_come = 0;
    while (num_come < size && absl::Now() < deadline) {
      for (size_t r = 0; r < size; ++r) {
        int done = 0;
        if (words[r].has_value()) continue;
        if (MPI_Test(&requests[r], &done, MPI_STATUS_IGNORE) != MPI_SUCCESS || done == 0) continue;
        words[r] = (*theirs)[r].data();
        ++num_come;
      }
      absl::SleepFor(absl::Milliseconds(1));
    }
    return words;
  }

  std::unique_ptr<GangCommunicator> Split(int color) override {
    MPI_Comm part = MPI_COMM_NULL;
    MPI_Comm_split(comm_, color, rank_, &part);
    return std::make_unique<MpiCommunicator>(part);
  }

  void Broadcast(TensorView inout, int root) override {
    const TensorView bytes(inout.data, DType::kU8, {inout.NumBytes()});
    InPieces(bytes, [&](char* data, int count) {
      return FromMpi(MPI_Bcast(data, count, MPI_BYTE, root, comm_), "MPI_Bcast");
    });
  }

  absl::Status Wait(absl::Time /*deadline*/) override { return status(); }

  void Abort(absl::Status why) override {
    MutexLock lock(mutex_);
    status_.Update(why);
  }

  absl::StatusOr<std::string> BroadcastMessage(std::string message, int root) override {
    LIQUID_RETURN_IF_ERROR(status());
    auto size = static_cast<int64_t>(message.size());
    LIQUID_RETURN_IF_ERROR(PoliteBroadcast(&size, sizeof(size), root));
    message.resize(static_cast<size_t>(size));
    LIQUID_RETURN_IF_ERROR(PoliteBroadcast(message.data(), message.size(), root));
    return message;
  }

  absl::StatusOr<std::vector<std::string>> AllGatherMessages(std::string message) override {
    std::vector<std::string> all;
    for (int root = 0; root < size_; ++root) {
      LIQUID_ASSIGN_OR_RETURN(std::string one,
                              BroadcastMessage(root == rank_ ? message : std::string(), root));
      all.push_back(std::move(one));
    }
    return all;
  }

 private:
  absl::Status status() {
    MutexLock lock(mutex_);
    return status_;
  }

  // Does `call`, unless something failed before; latches its failure.
  template <typename MpiCall>
  void Call(const MpiCall& call) {
    if (!status().ok()) return;
    absl::Status result = call();
    if (!result.ok()) Abort(std::move(result));
  }

  template <typename MpiCall>
  void InPieces(const TensorView& tensor, const MpiCall& call) {
    const int64_t count = tensor.NumElements();
    for (int64_t done = 0; done < count && status().ok(); done += kMaxElements) {
      char* data = static_cast<char*>(tensor.data) + done * SizeOf(tensor.dtype);
      Call([&] { return call(data, static_cast<int>(std::min(kMaxElements, count - done))); });
    }
  }

  absl::Status PoliteBroadcast(void* data, size_t num_bytes, int root) {
    LIQUID_CHECK(num_bytes <= INT32_MAX, "a message of ", num_bytes, " bytes");
    MPI_Request request = MPI_REQUEST_NULL;
    LIQUID_RETURN_IF_ERROR(
        FromMpi(MPI_Ibcast(data, static_cast<int>(num_bytes), MPI_BYTE, root, comm_, &request),
                "MPI_Ibcast"));
    return WaitPolitely(request, "MPI_Ibcast");
  }

  MPI_Comm comm_;
  int rank_ = 0;
  int size_ = 1;
  Scratch packed_;
  Scratch received_;
  Mutex mutex_;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);  // the first failure
};

}  // namespace

MpiSession::MpiSession(int* argc, char*** argv) {
  int provided = 0;
  MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &provided);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  MPI_Comm node = MPI_COMM_NULL;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node);
  MPI_Comm_size(node, &local_size_);
  MPI_Comm_rank(node, &local_rank_);
  MPI_Comm_free(&node);
}

MpiSession::~MpiSession() { MPI_Finalize(); }

std::unique_ptr<GangCommunicator> MpiSession::CreateWorld() {
  MPI_Comm all = MPI_COMM_NULL;
  MPI_Comm_dup(MPI_COMM_WORLD, &all);
  return std::make_unique<MpiCommunicator>(all);
}

void MpiSession::AbortAll(int exit_code) {
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

}  // namespace liquid
