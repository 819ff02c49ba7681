#include "parallel/tcp/tcp_group.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/status.h"
#include "parallel/tcp/mesh.h"

namespace liquid {
namespace {

// Contributions are added in blocks that fit the cache with those of a few peers.
constexpr int64_t kBlockBytes = int64_t{256} << 10;

template <typename T>
void Add(T* __restrict to, const T* __restrict a, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] += a[i];
}

// to += from, elementwise.
void AddBlock(DType dtype, void* to, const void* from, int64_t count) {
  switch (dtype) {
    case DType::kF32:
      return Add(static_cast<float*>(to), static_cast<const float*>(from), count);
    case DType::kF64:
      return Add(static_cast<double*>(to), static_cast<const double*>(from), count);
    case DType::kI64:
      return Add(static_cast<int64_t*>(to), static_cast<const int64_t*>(from), count);
    default:
      LIQUID_CHECK(false, "no sums of dtype ", static_cast<int>(dtype));
  }
}

std::byte* At(const TensorView& tensor, int64_t element) {
  return static_cast<std::byte*>(tensor.data) + element * SizeOf(tensor.dtype);
}

const std::byte* At(const ConstTensorView& tensor, int64_t element) {
  return static_cast<const std::byte*>(tensor.data) + element * SizeOf(tensor.dtype);
}

}  // namespace

TcpGroup::TcpGroup(DataPort& port, Options options, Sentinel* sentinel)
    : port_(port),
      options_(std::move(options)),
      mesh_(std::make_unique<Mesh>(sentinel, options_.stall_timeout)) {
  const auto num_gangs = static_cast<int>(options_.addresses.size());
  LIQUID_CHECK(options_.gang >= 0 && options_.gang < num_gangs);
  scratch_.resize(static_cast<size_t>(num_gangs - 1) * kBlockBytes);
}

TcpGroup::~TcpGroup() = default;

absl::Status TcpGroup::Form(absl::Time deadline) {
  std::vector<Peer> peers;
  for (int gang = 0; gang < size(); ++gang) {
    if (gang == rank()) continue;
    peers.push_back(
        {{gang, options_.rank_in_gang}, options_.addresses[gang][options_.rank_in_gang]});
  }
  const size_t num_rail = peers.size();
  // The lines inside the gang: between its leader and every other rank.
  const auto& kin = options_.addresses[options_.gang];
  for (int rank = 0; rank < static_cast<int>(kin.size()); ++rank) {
    const bool has_line = (rank == 0) != (options_.rank_in_gang == 0);
    if (has_line) peers.push_back({{options_.gang, rank}, kin[rank]});
  }
  const Circle circle = {options_.job, options_.generation, options_.token};
  return mesh_->Form(port_, circle, {options_.gang, options_.rank_in_gang}, peers, num_rail,
                     deadline);
}

int TcpGroup::rank() const { return options_.gang; }

int TcpGroup::size() const { return static_cast<int>(options_.addresses.size()); }

// Peers are numbered by place, this process left out.
size_t TcpGroup::PeerAt(int place) const {
  LIQUID_CHECK(place >= 0 && place < size() && place != rank(), "peer ", place);
  return static_cast<size_t>(place < rank() ? place : place - 1);
}

int TcpGroup::PlaceOf(size_t peer) const {
  const int place = static_cast<int>(peer);
  return place < rank() ? place : place + 1;
}

// This rank's slice of the sum of every rank's `in`, to `out`, block by block; `done` is told of
// each. Contributions are added in the order of the ranks.
void TcpGroup::ReduceSlice(ConstTensorView in, TensorView out,
                           absl::FunctionRef<void(int64_t begin, int64_t count)> done) {
  const size_t num_peers = static_cast<size_t>(size() - 1);
  const int64_t element = SizeOf(in.dtype);
  const Slice mine = SliceOf(in.NumElements(), rank(), size());
  ++number_;
  if (!mesh_->status().ok()) return;
  for (size_t peer = 0; peer < num_peers; ++peer) {
    const Slice theirs = SliceOf(in.NumElements(), PlaceOf(peer), size());
    const int64_t num_bytes = (theirs.end - theirs.begin) * element;
    mesh_->SendHeader(peer, FrameKind::kReduce, number_, num_bytes);
    mesh_->SendBytes(peer, At(in, theirs.begin), num_bytes);
    mesh_->ExpectHeader(peer, FrameKind::kReduce, number_, (mine.end - mine.begin) * element);
  }
  const int64_t block = kBlockBytes / element;
  for (int64_t begin = mine.begin; begin < mine.end; begin += block) {
    const int64_t count = std::min(block, mine.end - begin);
    for (size_t peer = 0; peer < num_peers; ++peer) {
      mesh_->ReceiveBytes(peer, scratch_.data() + static_cast<int64_t>(peer) * kBlockBytes,
                          count * element);
    }
    if (!mesh_->Run(Mesh::Until::kReceived)) return;
    // The ranks below this one first, in the scratch of the lowest.
    std::byte* sum = scratch_.data();
    for (int place = 1; place < rank(); ++place) {
      AddBlock(in.dtype, sum, scratch_.data() + static_cast<int64_t>(PeerAt(place)) * kBlockBytes,
               count);
    }
    if (At(out, begin) != At(in, begin)) {
      std::memcpy(At(out, begin), At(in, begin), static_cast<size_t>(count * element));
    }
    if (rank() > 0) AddBlock(in.dtype, At(out, begin), sum, count);  // a + b is b + a
    for (int place = rank() + 1; place < size(); ++place) {
      AddBlock(in.dtype, At(out, begin),
               scratch_.data() + static_cast<int64_t>(PeerAt(place)) * kBlockBytes, count);
    }
    done(begin, count);
  }
  if (mine.begin == mine.end) mesh_->Run(Mesh::Until::kReceived);
}

void TcpGroup::AllReduceSum(TensorView inout) {
  const int64_t element = SizeOf(inout.dtype);
  const size_t num_peers = static_cast<size_t>(size() - 1);
  const Slice mine = SliceOf(inout.NumElements(), rank(), size());
  const uint32_t number = number_ + 1;
  bool has_header = false;
  ReduceSlice(inout, inout, [&](int64_t begin, int64_t count) {
    for (size_t peer = 0; peer < num_peers; ++peer) {
      if (!has_header) {
        mesh_->SendHeader(peer, FrameKind::kGather, number, (mine.end - mine.begin) * element);
      }
      mesh_->SendBytes(peer, At(inout, begin), count * element);
    }
    has_header = true;
  });
  if (!mesh_->status().ok()) return;
  for (size_t peer = 0; peer < num_peers; ++peer) {
    const Slice theirs = SliceOf(inout.NumElements(), PlaceOf(peer), size());
    const int64_t num_bytes = (theirs.end - theirs.begin) * element;
    if (!has_header) mesh_->SendHeader(peer, FrameKind::kGather, number, 0);
    mesh_->ExpectHeader(peer, FrameKind::kGather, number, num_bytes);
    mesh_->ReceiveBytes(peer, At(inout, theirs.begin), num_bytes);
  }
  mesh_->Run(Mesh::Until::kAllDone);
}

void TcpGroup::ReduceScatterSum(ConstTensorView in, TensorView out) {
  ReduceSlice(in, out, [](int64_t, int64_t) {});
  if (mesh_->status().ok()) mesh_->Run(Mesh::Until::kAllDone);
}

void TcpGroup::AllGather(TensorView inout) {
  const int64_t element = SizeOf(inout.dtype);
  const Slice mine = SliceOf(inout.NumElements(), rank(), size());
  const int64_t my_bytes = (mine.end - mine.begin) * element;
  ++number_;
  if (!mesh_->status().ok()) return;
  for (size_t peer = 0; peer + 1 < static_cast<size_t>(size()); ++peer) {
    const Slice theirs = SliceOf(inout.NumElements(), PlaceOf(peer), size());
    const int64_t num_bytes = (theirs.end - theirs.begin) * element;
    mesh_->SendHeader(peer, FrameKind::kGather, number_, my_bytes);
    mesh_->SendBytes(peer, At(inout, mine.begin), my_bytes);
    mesh_->ExpectHeader(peer, FrameKind::kGather, number_, num_bytes);
    mesh_->ReceiveBytes(peer, At(inout, theirs.begin), num_bytes);
  }
  mesh_->Run(Mesh::Until::kAllDone);
}

void TcpGroup::Broadcast(TensorView inout, int root) {
  ++number_;
  if (!mesh_->status().ok()) return;
  if (root == rank()) {
    for (size_t peer = 0; peer + 1 < static_cast<size_t>(size()); ++peer) {
      mesh_->SendHeader(peer, FrameKind::kBroadcast, number_, inout.NumBytes());
      mesh_->SendBytes(peer, inout.data, inout.NumBytes());
    }
  } else {
    mesh_->ExpectHeader(PeerAt(root), FrameKind::kBroadcast, number_, inout.NumBytes());
    mesh_->ReceiveBytes(PeerAt(root), inout.data, inout.NumBytes());
  }
  mesh_->Run(Mesh::Until::kAllDone);
}

absl::Status TcpGroup::Wait(absl::Time /*deadline*/) { return mesh_->status(); }

void TcpGroup::Abort(absl::Status why) { mesh_->Abort(why); }

absl::StatusOr<std::vector<std::string>> TcpGroup::AllGatherMessages(std::string message) {
  ++number_;
  LIQUID_RETURN_IF_ERROR(mesh_->status());
  const size_t num_peers = static_cast<size_t>(size() - 1);
  std::vector<std::string> all(static_cast<size_t>(size()));
  for (size_t peer = 0; peer < num_peers; ++peer) {
    mesh_->SendFrame(peer, FrameKind::kMessage, number_, message);
    mesh_->ExpectHeader(peer, FrameKind::kMessage, number_, -1);
  }
  if (!mesh_->Run(Mesh::Until::kReceived)) return mesh_->status();
  for (size_t peer = 0; peer < num_peers; ++peer) {
    std::string& theirs = all[static_cast<size_t>(PlaceOf(peer))];
    theirs.resize(static_cast<size_t>(mesh_->FrameSize(peer)));
    mesh_->ReceiveBytes(peer, theirs.data(), mesh_->FrameSize(peer));
  }
  if (!mesh_->Run(Mesh::Until::kAllDone)) return mesh_->status();
  all[static_cast<size_t>(rank())] = std::move(message);
  return all;
}

absl::StatusOr<std::string> TcpGroup::BroadcastMessage(std::string message, int root) {
  ++number_;
  LIQUID_RETURN_IF_ERROR(mesh_->status());
  if (root == rank()) {
    for (size_t peer = 0; peer + 1 < static_cast<size_t>(size()); ++peer) {
      mesh_->SendFrame(peer, FrameKind::kMessage, number_, message);
    }
  } else {
    mesh_->ExpectHeader(PeerAt(root), FrameKind::kMessage, number_, -1);
    if (!mesh_->Run(Mesh::Until::kReceived)) return mesh_->status();
    message.resize(static_cast<size_t>(mesh_->FrameSize(PeerAt(root))));
    mesh_->ReceiveBytes(PeerAt(root), message.data(), mesh_->FrameSize(PeerAt(root)));
  }
  if (!mesh_->Run(Mesh::Until::kAllDone)) return mesh_->status();
  return message;
}

void TcpGroup::Send(const void* data, int64_t num_bytes, int to) {
  if (!mesh_->status().ok()) return;
  const size_t peer = PeerAt(to);
  mesh_->SendHeader(peer, FrameKind::kDirect, 0, num_bytes);
  mesh_->SendBytes(peer, data, num_bytes);
  mesh_->Run(Mesh::Until::kAllDone);
}

void TcpGroup::Receive(void* data, int64_t num_bytes, int from) {
  if (!mesh_->status().ok()) return;
  const size_t peer = PeerAt(from);
  mesh_->ExpectHeader(peer, FrameKind::kDirect, 0, num_bytes);
  mesh_->ReceiveBytes(peer, data, num_bytes);
  mesh_->Run(Mesh::Until::kReceived);
}

void TcpGroup::Post(std::string message) {
  if (!mesh_->status().ok()) return;
  LIQUID_CHECK(!message.empty() && static_cast<int64_t>(message.size()) <= Mesh::kMaxMessage);
  for (size_t peer = 0; peer + 1 < static_cast<size_t>(size()); ++peer) {
    mesh_->SendFrame(peer, FrameKind::kPosted, 0, message);
  }
}

absl::StatusOr<std::optional<TcpGroup::Posted>> TcpGroup::NextPosted(absl::Duration timeout,
                                                                     int wake_fd) {
  LIQUID_RETURN_IF_ERROR(mesh_->status());
  if (mesh_->posted().empty() && !mesh_->RunUntilPosted(absl::Now() + timeout, wake_fd)) {
    return mesh_->status();
  }
  if (mesh_->posted().empty()) return std::optional<Posted>();
  auto [peer, message] = std::move(mesh_->posted().front());
  mesh_->posted().pop_front();
  return std::optional<Posted>({PlaceOf(peer), std::move(message)});
}

}  // namespace liquid
