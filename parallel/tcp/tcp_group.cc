#include "parallel/tcp/tcp_group.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "parallel/tcp/hello.h"
#include "parallel/tcp/rendezvous.h"
#include "parallel/tcp/slice.h"

namespace liquid {
namespace {

// Of one message of a call: more is a lie.
constexpr int64_t kMaxMessageBytes = int64_t{1} << 30;

absl::StatusOr<std::vector<Rendezvous::Target>> TargetsOf(const TcpGroup::Options& options) {
  std::vector<Rendezvous::Target> targets;
  const auto add = [&](int gang, int rank) {
    auto address = DataAddress::Parse(options.addresses[gang][rank]);
    if (!address.ok()) return address.status();
    targets.push_back({{gang, rank}, *std::move(address)});
    return absl::OkStatus();
  };
  const auto num_gangs = static_cast<int>(options.addresses.size());
  for (int gang = 0; gang < num_gangs; ++gang) {
    if (gang != options.gang) LIQUID_RETURN_IF_ERROR(add(gang, options.rank_in_gang));
  }
  if (options.rank_in_gang != 0) {
    LIQUID_RETURN_IF_ERROR(add(options.gang, 0));
  } else {
    const auto gang_size = static_cast<int>(options.addresses[options.gang].size());
    for (int rank = 1; rank < gang_size; ++rank) {
      LIQUID_RETURN_IF_ERROR(add(options.gang, rank));
    }
  }
  return targets;
}

}  // namespace

TcpGroup::TcpGroup(DataPort& port, Options options, Sentinel* sentinel)
    : port_(port),
      options_(std::move(options)),
      size_(static_cast<int>(options_.addresses.size())),
      mesh_(size_, options_.stall_timeout, sentinel),
      sums_(options_.gang, size_),
      buffers_(size_) {
  LIQUID_CHECK(options_.gang >= 0 && options_.gang < size_, "gang ", options_.gang, " of ", size_);
  LIQUID_CHECK(options_.stall_timeout > absl::ZeroDuration(), "no stall timeout");
  for (const auto& gang : options_.addresses) {
    LIQUID_CHECK(
        options_.rank_in_gang >= 0 && options_.rank_in_gang < static_cast<int>(gang.size()),
        "rank ", options_.rank_in_gang, " of a gang of ", gang.size());
  }
}

TcpGroup::~TcpGroup() = default;

absl::Status TcpGroup::Form(absl::Time deadline) {
  LIQUID_RETURN_IF_ERROR(mesh_.status());
  Hello hello;
  SetJob(options_.job, &hello);
  hello.generation = options_.generation;
  hello.token = options_.token;
  hello.from_gang = options_.gang;
  hello.from_rank = options_.rank_in_gang;
  const auto targets = TargetsOf(options_);
  absl::Status met = targets.status();
  if (met.ok()) {
    Rendezvous rendezvous(port_, hello, *targets);
    met = rendezvous.Meet(deadline, mesh_.wake_fd());
    if (met.ok()) mesh_.Adopt(rendezvous.TakeConnections());
    if (absl::IsDeadlineExceeded(met)) unreached_ = rendezvous.MissingGangs();
  }
  // Whoever aborts has latched why: that comes first.
  if (!met.ok()) mesh_.Fail(met);
  return Annotate(mesh_.status(), absl::StrCat("forming generation ", options_.generation));
}

void TcpGroup::AllReduceSum(TensorView inout) {
  if (size_ == 1) return;
  sums_.Start(inout, inout, /*all_reduce=*/true);
  mesh_.Run(sums_).IgnoreError();
}

void TcpGroup::ReduceScatterSum(ConstTensorView in, TensorView out) {
  if (size_ == 1) {
    const auto* const bytes = static_cast<const char*>(in.data);
    std::copy_n(bytes, in.NumBytes(), static_cast<char*>(out.data));
    return;
  }
  sums_.Start(in, out, /*all_reduce=*/false);
  mesh_.Run(sums_).IgnoreError();
}

void TcpGroup::AllGather(TensorView inout) {
  buffers_.Start(FrameKind::kSlice);
  const auto slice_of = [&](int r) {
    return SliceView(inout, SliceOf(inout.NumElements(), r, size_));
  };
  const TensorView own = slice_of(rank());
  for (int r = 0; r < size_; ++r) {
    if (r == rank()) continue;
    const TensorView theirs = slice_of(r);
    buffers_.Send(r, own.data, own.NumBytes());
    buffers_.Receive(r, theirs.data, theirs.NumBytes());
  }
  mesh_.Run(buffers_).IgnoreError();
}

void TcpGroup::Broadcast(TensorView inout, int root) {
  buffers_.Start(FrameKind::kBroadcast);
  FanOut(inout.data, inout.NumBytes(), root);
  mesh_.Run(buffers_).IgnoreError();
}

void TcpGroup::FanOut(void* data, int64_t num_bytes, int root) {
  LIQUID_CHECK(root >= 0 && root < size_, "root ", root, " of ", size_);
  if (root != rank()) {
    buffers_.Receive(root, data, num_bytes);
    return;
  }
  for (int r = 0; r < size_; ++r) {
    if (r != root) buffers_.Send(r, data, num_bytes);
  }
}

absl::Status TcpGroup::Wait(absl::Time /*deadline*/) { return mesh_.status(); }

void TcpGroup::Abort(absl::Status why) {
  LIQUID_CHECK(!why.ok(), "an abort without a reason");
  mesh_.Fail(why);
}

absl::StatusOr<std::string> TcpGroup::BroadcastMessage(std::string message, int root) {
  auto length = static_cast<int64_t>(message.size());
  buffers_.Start(FrameKind::kMessage);
  FanOut(&length, sizeof(length), root);
  LIQUID_RETURN_IF_ERROR(mesh_.Run(buffers_));
  LIQUID_RETURN_IF_ERROR(CheckLength(length, root));
  message.resize(static_cast<size_t>(length));
  buffers_.Start(FrameKind::kMessage);
  FanOut(message.data(), length, root);
  LIQUID_RETURN_IF_ERROR(mesh_.Run(buffers_));
  return message;
}

absl::StatusOr<std::vector<std::string>> TcpGroup::AllGatherMessages(std::string message) {
  std::vector<int64_t> lengths(size_, static_cast<int64_t>(message.size()));
  std::vector<std::string> all(size_);
  buffers_.Start(FrameKind::kMessage);
  for (int r = 0; r < size_; ++r) {
    if (r == rank()) continue;
    buffers_.Send(r, &lengths[rank()], sizeof(int64_t));
    buffers_.Receive(r, &lengths[r], sizeof(int64_t));
  }
  LIQUID_RETURN_IF_ERROR(mesh_.Run(buffers_));
  buffers_.Start(FrameKind::kMessage);
  for (int r = 0; r < size_; ++r) {
    if (r == rank()) continue;
    LIQUID_RETURN_IF_ERROR(CheckLength(lengths[r], r));
    all[r].resize(static_cast<size_t>(lengths[r]));
    buffers_.Send(r, message.data(), lengths[rank()]);
    buffers_.Receive(r, all[r].data(), lengths[r]);
  }
  LIQUID_RETURN_IF_ERROR(mesh_.Run(buffers_));
  all[rank()] = std::move(message);
  return all;
}

absl::Status TcpGroup::CheckLength(int64_t length, int from) {
  if (length >= 0 && length <= kMaxMessageBytes) return absl::OkStatus();
  const absl::Status why = absl::DataLossError(absl::StrCat(
      "gang ", from, " announced a message of ", length, " bytes, the most is ", kMaxMessageBytes));
  mesh_.Fail(why);
  return why;
}

void TcpGroup::Send(const void* data, int64_t num_bytes, int to) {
  LIQUID_CHECK(to != rank(), "to itself");
  buffers_.StartSend(to);
  buffers_.Send(to, data, num_bytes);
  mesh_.Run(buffers_).IgnoreError();
}

void TcpGroup::Receive(void* data, int64_t num_bytes, int from) {
  LIQUID_CHECK(from != rank(), "from itself");
  buffers_.StartReceive(from);
  buffers_.Receive(from, data, num_bytes);
  mesh_.Run(buffers_).IgnoreError();
}

void TcpGroup::Post(std::string message) { mesh_.Post(message); }

absl::StatusOr<std::optional<TcpGroup::Posted>> TcpGroup::NextPosted(absl::Duration timeout,
                                                                     int wake_fd) {
  return mesh_.NextPosted(timeout, wake_fd);
}

}  // namespace liquid
