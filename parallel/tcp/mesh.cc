#include "parallel/tcp/mesh.h"

#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/status.h"

namespace liquid {
namespace {

constexpr size_t kMaxWrite = size_t{1} << 20;  // so that reading gets its turn
constexpr int kMaxPollMs = 1000;

}  // namespace

Mesh::Mesh(Sentinel* sentinel, absl::Duration stall_timeout)
    : sentinel_(sentinel),
      stall_timeout_(stall_timeout),
      abort_event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Mesh::~Mesh() { CloseAll(); }

absl::Status Mesh::Form(const DataPort& port, const Circle& circle, const PeerName& self,
                        const std::vector<Peer>& peers, size_t num_rail, absl::Time deadline) {
  auto sockets =
      Connect(port, circle, self, peers, deadline, abort_event_.get(), [this] { return status(); });
  if (!sockets.ok()) {
    Fail(sockets.status());
    return status();
  }
  connections_.resize(peers.size());
  num_rail_ = num_rail;
  for (size_t i = 0; i < peers.size(); ++i) {
    connections_[i].name = peers[i].name;
    connections_[i].socket = std::move((*sockets)[i]);
    TuneConnection(connections_[i].socket.get(), absl::ToInt64Milliseconds(stall_timeout_));
    if (sentinel_ != nullptr) sentinel_->Lend(connections_[i].socket.get());
  }
  return status();
}

void Mesh::Abort(const absl::Status& why) {
  {
    MutexLock lock(mutex_);
    status_.Update(why);
  }
  const uint64_t one = 1;
  static_cast<void>(!write(abort_event_.get(), &one, sizeof(one)));
}

absl::Status Mesh::status() {
  MutexLock lock(mutex_);
  return status_;
}

bool Mesh::Fail(const absl::Status& why) {
  Abort(why);
  CloseAll();
  return false;
}

bool Mesh::FailPeer(const Connection& connection, const char* what) {
  return Fail(absl::UnavailableError(absl::StrCat(connection.name.ToString(), " ", what)));
}

void Mesh::CloseAll() {
  for (Connection& connection : connections_) {
    if (!connection.socket.is_open()) continue;
    if (sentinel_ != nullptr) sentinel_->Return(connection.socket.get());
    connection.socket.Hangup();
  }
}

// --- Enqueueing.

void Mesh::SendHeader(size_t peer, FrameKind kind, uint32_t number, int64_t num_bytes) {
  const Header header = {kind, number, num_bytes};
  Outgoing& next = connections_[peer].outgoing.emplace_back();
  next.owned.assign(reinterpret_cast<const char*>(&header), sizeof(header));
  next.data = nullptr;
  next.num_bytes = sizeof(header);
}

void Mesh::SendBytes(size_t peer, const void* data, int64_t num_bytes) {
  if (num_bytes == 0) return;
  connections_[peer].outgoing.push_back({"", static_cast<const char*>(data), num_bytes});
}

void Mesh::SendFrame(size_t peer, FrameKind kind, uint32_t number, std::string content) {
  const auto size = static_cast<int64_t>(content.size());
  SendHeader(peer, kind, number, size);
  if (size > 0) connections_[peer].outgoing.push_back({std::move(content), nullptr, size});
}

void Mesh::ExpectHeader(size_t peer, FrameKind kind, uint32_t number, int64_t num_bytes) {
  LIQUID_CHECK(!IsWanting(connections_[peer]), "a frame is not finished");
  connections_[peer].expected = Header{kind, number, num_bytes};
}

void Mesh::ReceiveBytes(size_t peer, void* data, int64_t num_bytes) {
  if (num_bytes == 0) return;
  connections_[peer].incoming.push_back({static_cast<char*>(data), num_bytes});
}

// --- Carrying out.

bool Mesh::Run(Until until) {
  absl::Time stalled_at = absl::Now() + stall_timeout_;
  bool spun = false;
  while (true) {
    if (!status().ok()) return Fail(status());
    bool moved = false;
    bool is_done = true;
    for (size_t i = 0; i < num_rail_; ++i) {
      Connection& connection = connections_[i];
      if (!connection.outgoing.empty() && !WriteTo(connection, &moved)) return false;
      if (IsWanting(connection) && !ReadFrom(connection, false, &moved)) return false;
      is_done &=
          !IsWanting(connection) && (until == Until::kReceived || connection.outgoing.empty());
    }
    if (is_done) return true;
    if (moved) {
      spun = false;
      stalled_at = absl::InfinitePast();
      continue;
    }
    if (!spun) {
      spun = true;
      sched_yield();
      continue;
    }
    if (stalled_at == absl::InfinitePast()) stalled_at = absl::Now() + stall_timeout_;
    if (!Wait(stalled_at, -1, false)) return false;
    if (absl::Now() >= stalled_at) {
      return Fail(absl::DeadlineExceededError(
          absl::StrCat("no byte moved between gangs for ", absl::FormatDuration(stall_timeout_))));
    }
  }
}

bool Mesh::RunUntilPosted(absl::Time deadline, int wake_fd) {
  while (true) {
    if (!status().ok()) return Fail(status());
    bool moved = false;
    for (size_t i = 0; i < num_rail_; ++i) {
      Connection& connection = connections_[i];
      if (!connection.outgoing.empty() && !WriteTo(connection, &moved)) return false;
      if (!ReadFrom(connection, true, &moved)) return false;
      // Whoever hangs up now will not say what is waited for.
      if (connection.has_ended && posted_.empty()) return FailPeer(connection, "hung up");
    }
    if (!posted_.empty()) return true;
    if (moved) continue;
    pollfd wake = {.fd = wake_fd, .events = POLLIN, .revents = 0};
    if (absl::Now() >= deadline || (wake_fd >= 0 && poll(&wake, 1, 0) == 1)) return true;
    if (!Wait(deadline, wake_fd, true)) return false;
  }
}

bool Mesh::WriteTo(Connection& connection, bool* moved) {
  while (!connection.outgoing.empty()) {
    Outgoing& next = connection.outgoing.front();
    if (next.data == nullptr) next.data = next.owned.data();
    const ssize_t sent =
        send(connection.socket.get(), next.data,
             std::min(static_cast<size_t>(next.num_bytes), kMaxWrite), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EAGAIN || errno == EINTR) return true;
      return FailPeer(connection, "is gone");
    }
    *moved = true;
    next.data += sent;
    next.num_bytes -= sent;
    if (next.num_bytes > 0) return true;
    connection.outgoing.pop_front();
  }
  return true;
}

// Reads what is wanted, and posted frames on the way to it.
bool Mesh::ReadFrom(Connection& connection, bool wants_posts, bool* moved) {
  while (true) {
    char* target = nullptr;
    int64_t wanted = 0;
    if (connection.in_post) {
      target = connection.post.data() + connection.post.size() - connection.frame_bytes;
      wanted = connection.frame_bytes;
    } else if (!connection.expected.has_value() && !connection.incoming.empty()) {
      target = connection.incoming.front().data;
      wanted = connection.incoming.front().num_bytes;
    } else if (connection.header_is_new) {
      if (!connection.expected.has_value()) return true;  // of a call that is to come
      if (!MeetExpected(connection)) return false;
      continue;
    } else if (connection.expected.has_value() || wants_posts) {
      target = reinterpret_cast<char*>(&connection.header) + connection.header_read;
      wanted = static_cast<int64_t>(sizeof(Header) - connection.header_read);
    } else {
      return true;
    }
    const ssize_t got =
        recv(connection.socket.get(), target, static_cast<size_t>(wanted), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (got <= 0) {
      connection.has_ended = true;
      if (IsWanting(connection) || connection.in_post) return FailPeer(connection, "is gone");
      return true;
    }
    *moved = true;
    if (connection.in_post) {
      connection.frame_bytes -= got;
      if (connection.frame_bytes > 0) continue;
      connection.in_post = false;
      posted_.emplace_back(static_cast<size_t>(&connection - connections_.data()),
                           std::move(connection.post));
    } else if (!connection.expected.has_value() && !connection.incoming.empty()) {
      Incoming& part = connection.incoming.front();
      part.data += got;
      part.num_bytes -= got;
      if (part.num_bytes == 0) connection.incoming.pop_front();
    } else {
      connection.header_read += static_cast<size_t>(got);
      if (connection.header_read == sizeof(Header) && !TakeHeader(connection)) return false;
    }
  }
}

bool Mesh::TakeHeader(Connection& connection) {
  connection.header_read = 0;
  const Header& header = connection.header;
  if (header.kind != FrameKind::kPosted) {
    connection.header_is_new = true;
    return true;
  }
  if (header.num_bytes < 1 || header.num_bytes > kMaxMessage) {
    return FailPeer(connection, "posted a message of an impossible size");
  }
  connection.in_post = true;
  connection.frame_bytes = header.num_bytes;
  connection.post.assign(static_cast<size_t>(header.num_bytes), '\0');
  return true;
}

bool Mesh::MeetExpected(Connection& connection) {
  const Header expected = *connection.expected;
  const Header& header = connection.header;
  const bool size_is_right = expected.num_bytes >= 0
                                 ? header.num_bytes == expected.num_bytes
                                 : header.num_bytes >= 0 && header.num_bytes <= kMaxMessage;
  if (header.kind != expected.kind || header.number != expected.number || !size_is_right) {
    const auto name = [](const Header& one) {
      return absl::StrCat("kind ", one.kind, ", number ", one.number, ", ", one.num_bytes,
                          " bytes");
    };
    return Fail(
        absl::InternalError(absl::StrCat(connection.name.ToString(), " sends ", name(header),
                                         " where ", name(expected), " was expected")));
  }
  connection.frame_bytes = header.num_bytes;
  connection.header_is_new = false;
  connection.expected.reset();
  return true;
}

// Until something can be done, or `deadline`.
bool Mesh::Wait(absl::Time deadline, int wake_fd, bool wants_posts) {
  std::vector<pollfd> waiting = {{abort_event_.get(), POLLIN, 0}, {wake_fd, POLLIN, 0}};
  for (size_t i = 0; i < connections_.size(); ++i) {
    const Connection& connection = connections_[i];
    short events = 0;
    const bool is_line = i >= num_rail_;
    const bool may_read = IsWanting(connection) || (wants_posts && !connection.header_is_new);
    if (is_line || may_read) events |= POLLIN | POLLRDHUP;
    if (!connection.outgoing.empty()) events |= POLLOUT;
    // A rail on which nothing is waited for has nothing to say that others would not say too.
    waiting.push_back({events == 0 ? -1 : connection.socket.get(), events, 0});
  }
  const int64_t left =
      absl::ToInt64Milliseconds(absl::Ceil(deadline - absl::Now(), absl::Milliseconds(1)));
  poll(waiting.data(), waiting.size(), static_cast<int>(std::clamp<int64_t>(left, 0, kMaxPollMs)));
  for (size_t i = num_rail_; i < connections_.size(); ++i) {
    if (waiting[i + 2].revents != 0) return FailPeer(connections_[i], "of this gang broke off");
  }
  return true;
}

}  // namespace liquid
