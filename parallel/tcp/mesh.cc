#include "parallel/tcp/mesh.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/log.h"
#include "base/random.h"
#include "base/status.h"

namespace liquid {
namespace {

constexpr size_t kMaxPostedBytes = size_t{64} << 20;
// What one peer may move in one pass, so that none waits for long behind another.
constexpr int64_t kTurnBytes = int64_t{1} << 20;
// From here on a payload is worth the word that says that it has been read.
constexpr uint64_t kWorthReading = 64 << 10;
constexpr absl::Duration kLongestSleep = absl::Seconds(1);

bool WouldBlock(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR || error == ENOBUFS;
}

std::string Frame(const FrameHeader& header, const std::string& payload = "") {
  std::string frame(reinterpret_cast<const char*>(&header), sizeof(header));
  frame += payload;
  return frame;
}

}  // namespace

std::string Mesh::Peer::Name() const {
  return absl::StrCat("gang ", connection.gang, " rank ", connection.rank);
}

Mesh::Mesh(int size, absl::Duration stall_timeout, Sentinel* sentinel)
    : size_(size),
      number_(RandomBits()),
      stall_timeout_(stall_timeout),
      sentinel_(sentinel),
      wake_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  LIQUID_CHECK(wake_fd_ >= 0, "eventfd: ", std::strerror(errno));
}

Mesh::~Mesh() {
  if (status().ok()) {
    const std::string bye = Frame({.kind = FrameKind::kBye});
    for (Peer& peer : peers_) {
      peer.posts.push_back(bye);
      int64_t moved = 0;
      if (!peer.is_over) WritePosts(peer, &moved);
    }
  }
  for (const Peer& peer : peers_) {
    if (sentinel_ != nullptr) sentinel_->Return(peer.connection.socket.fd());
  }
  {
    MutexLock lock(mutex_);
    open_fds_.clear();
  }
  peers_.clear();
  close(wake_fd_);
}

void Mesh::Adopt(std::vector<Connection> connections) {
  LIQUID_CHECK(peers_.empty(), "a mesh is formed once");
  for (Connection& connection : connections) {
    Tune(connection.socket, stall_timeout_ / 4);
    if (sentinel_ != nullptr) sentinel_->Lend(connection.socket.fd());
    peers_.emplace_back().connection = std::move(connection);
  }
  for (Peer& peer : peers_) {
    if (peer.connection.is_line || !IsUnix(peer.connection.socket)) continue;
    Queue(peer, Frame({.kind = FrameKind::kOffer,
                       .offset = number_,
                       .address = reinterpret_cast<uint64_t>(&number_)}));
  }
  polled_.resize(peers_.size() + 2);
  bool has_failed = false;
  {
    MutexLock lock(mutex_);
    for (const Peer& peer : peers_) open_fds_.push_back(peer.connection.socket.fd());
    has_failed = !status_.ok();
  }
  if (has_failed) Fail(absl::OkStatus());  // during the forming: ends the connections as well
}

absl::Status Mesh::status() {
  MutexLock lock(mutex_);
  return status_;
}

void Mesh::Fail(const absl::Status& why) {
  MutexLock lock(mutex_);
  status_.Update(why);
  for (const int fd : open_fds_) shutdown(fd, SHUT_RDWR);
  has_failed_ = true;
  const uint64_t one = 1;
  static_cast<void>(!write(wake_fd_, &one, sizeof(one)));
}

absl::Status Mesh::Run(Traffic& traffic) {
  if (has_failed_) return status();
  for (Peer& peer : peers_) {
    if (peer.connection.is_line) continue;
    if (traffic.IsOutgoing(peer.connection.gang)) ++peer.out_call;
    if (traffic.IsIncoming(peer.connection.gang)) ++peer.in_call;
  }
  absl::Time idle_since = absl::InfiniteFuture();  // infinite: not idle
  while (!has_failed_) {
    int64_t num_moved = 0;
    const absl::Status moved = Move(&traffic, &num_moved);
    if (!moved.ok()) {
      Fail(moved);
      break;
    }
    if (IsDone(traffic)) return absl::OkStatus();
    if (num_moved > 0) {
      idle_since = absl::InfiniteFuture();
      continue;
    }
    const absl::Time now = absl::Now();
    idle_since = std::min(idle_since, now);
    const absl::Duration left = stall_timeout_ - (now - idle_since);
    if (left <= absl::ZeroDuration()) {
      Fail(absl::DeadlineExceededError(absl::StrCat("no byte has moved for ",
                                                    absl::FormatDuration(stall_timeout_),
                                                    " to or from ", Awaited(traffic))));
      break;
    }
    Sleep(&traffic, left, -1);
  }
  return status();
}

void Mesh::Post(const std::string& message) {
  LIQUID_CHECK(message.size() <= kMaxPostedBytes, "a message of ", message.size(), " bytes");
  if (has_failed_) return;
  const std::string frame = Frame({.kind = FrameKind::kPosted, .length = message.size()}, message);
  for (Peer& peer : peers_) {
    if (!peer.connection.is_line && !peer.is_over) Queue(peer, frame);
  }
}

absl::Status Mesh::Look() {
  if (has_failed_) return status();
  int64_t num_moved = 0;
  const absl::Status moved = Move(&nothing_, &num_moved);
  if (!moved.ok()) Fail(moved);
  return moved;
}

absl::StatusOr<std::optional<Mesh::Posted>> Mesh::NextPosted(absl::Duration timeout, int wake_fd) {
  const absl::Time deadline = absl::Now() + timeout;
  bool is_last_look = false;
  while (!has_failed_) {
    int64_t num_moved = 0;
    const absl::Status moved = Move(nullptr, &num_moved);
    if (!inbox_.empty()) {
      // What came before a failure is handed out before it: it may be what the caller waits for.
      Posted posted = std::move(inbox_.front());
      inbox_.pop_front();
      return std::optional<Posted>(std::move(posted));
    }
    if (!moved.ok()) {
      Fail(moved);
      break;
    }
    if (is_last_look) return std::optional<Posted>();
    if (num_moved > 0) continue;
    const absl::Duration left = deadline - absl::Now();
    is_last_look = left <= absl::ZeroDuration();
    if (!is_last_look) is_last_look = Sleep(nullptr, left, wake_fd);
  }
  return status();
}

absl::Status Mesh::Move(Traffic* traffic, int64_t* num_moved) {
  for (Peer& peer : peers_) {
    if (peer.has_left && Needs(peer, traffic) && (peer.is_over || traffic == nullptr)) {
      return Hangup(peer, traffic, "has left the group");
    }
    if (!peer.is_over && (peer.may_read || peer.IsPaused())) {
      LIQUID_RETURN_IF_ERROR(Read(peer, traffic, num_moved));
    }
    if (peer.may_write && !peer.is_over) {
      LIQUID_RETURN_IF_ERROR(Write(peer, traffic, num_moved));
    }
  }
  return absl::OkStatus();
}

absl::Status Mesh::Read(Peer& peer, Traffic* traffic, int64_t* num_moved) {
  for (int64_t turn = 0; turn < kTurnBytes;) {
    if (peer.IsPaused()) {
      LIQUID_RETURN_IF_ERROR(OpenFrame(peer, traffic));
      if (peer.IsPaused() || peer.is_over) return absl::OkStatus();
      if (peer.in_done == 0) {  // no payload follows
        turn += static_cast<int64_t>(peer.in_header.length);
        *num_moved += static_cast<int64_t>(peer.in_header.length);
        continue;
      }
      peer.is_hung = false;
    }
    if (!peer.may_read) return absl::OkStatus();
    const bool is_header = peer.in_done < sizeof(FrameHeader);
    const size_t offset = is_header ? peer.in_done : peer.in_done - sizeof(FrameHeader);
    std::byte* to = is_header ? reinterpret_cast<std::byte*>(&peer.in_header) : peer.in_payload;
    const size_t wanted = (is_header ? sizeof(FrameHeader) : peer.in_header.length) - offset;
    const ssize_t count = recv(peer.connection.socket.fd(), to + offset, wanted, MSG_DONTWAIT);
    if (count < 0 && WouldBlock(errno)) {
      peer.may_read = false;
      return absl::OkStatus();
    }
    if (count <= 0) {
      return Hangup(peer, traffic,
                    count == 0 ? "hung up" : absl::StrCat("is gone: ", std::strerror(errno)));
    }
    // Less than was asked for: there is no more.
    if (static_cast<size_t>(count) < wanted) peer.may_read = false;
    peer.in_done += static_cast<size_t>(count);
    turn += count;
    *num_moved += count;
    if (peer.in_payload != nullptr && peer.in_done == sizeof(FrameHeader) + peer.in_header.length) {
      CloseFrame(peer, traffic);
    }
  }
  return absl::OkStatus();
}

absl::Status Mesh::OpenFrame(Peer& peer, Traffic* traffic) {
  const FrameHeader& header = peer.in_header;
  if (header.mark != FrameHeader::kMark) {
    return absl::DataLossError(absl::StrCat(peer.Name(), " sent no frame: it begins with ",
                                            absl::Hex(header.mark), ", a frame with ",
                                            absl::Hex(FrameHeader::kMark)));
  }
  switch (header.kind) {
    case FrameKind::kBye:
      peer.has_left = true;
      peer.is_over = true;
      if (Needs(peer, traffic)) return Hangup(peer, traffic, "has left the group");
      return absl::OkStatus();
    case FrameKind::kPosted:
      if (header.length > kMaxPostedBytes) {
        return absl::DataLossError(absl::StrCat(peer.Name(), " posted ", header.length,
                                                " bytes, the most is ", kMaxPostedBytes));
      }
      peer.in_message.resize(header.length);
      peer.in_payload = reinterpret_cast<std::byte*>(peer.in_message.data());
      if (header.length == 0) CloseFrame(peer, traffic);
      return absl::OkStatus();
    case FrameKind::kOffer:
    case FrameKind::kReadable:
    case FrameKind::kHasRead:
      return TakeWord(peer);
    default:
      return OpenDataFrame(peer, traffic);
  }
}

absl::Status Mesh::OpenDataFrame(Peer& peer, Traffic* traffic) {
  const FrameHeader& header = peer.in_header;
  const int gang = peer.connection.gang;
  const bool is_ours = traffic != nullptr && !peer.connection.is_line && traffic->IsIncoming(gang);
  if (header.call > peer.in_call && !(is_ours && traffic->Awaits(gang))) {
    return absl::OkStatus();  // of a later call: it stays where it is
  }
  if (!is_ours || header.call != peer.in_call) {
    return absl::InvalidArgumentError(
        absl::StrCat(peer.Name(), " sent ", ToString(header), " in call ", peer.in_call));
  }
  const auto place = traffic->PlaceFor(gang, header);
  if (!place.ok()) return Annotate(place.status(), peer.Name());
  if (*place != nullptr && header.address != 0) return ReadPayload(peer, traffic, *place);
  peer.in_payload = *place;
  return absl::OkStatus();
}

// Of this process's memory, or of the peer's.
absl::Status Mesh::TakeWord(Peer& peer) {
  const FrameHeader& header = peer.in_header;
  if (header.length != 0 || peer.connection.is_line) {
    return absl::InvalidArgumentError(absl::StrCat(peer.Name(), " sent ", ToString(header)));
  }
  if (header.kind == FrameKind::kOffer) {
    peer.memory = PeerMemory::Of(peer.connection.socket);
    uint64_t number = 0;
    const bool is_readable = peer.memory.has_value() &&
                             peer.memory->Read(header.address, &number, sizeof(number)) &&
                             number == header.offset;
    if (is_readable) {
      Queue(peer, Frame({.kind = FrameKind::kReadable}));
    } else {
      peer.memory.reset();
      static std::once_flag is_said;
      std::call_once(is_said, [&peer] {
        LogInfo(peer.Name(),
                " is on this host, but its memory is closed to this process: what it sends is "
                "copied twice (docs/clusters.md, Several gangs on one machine)");
      });
    }
  } else if (header.kind == FrameKind::kReadable) {
    peer.is_reader = true;
  } else {
    if (header.call != peer.out_call || header.offset != peer.num_offered) {
      return absl::InvalidArgumentError(
          absl::StrCat(peer.Name(), " has read ", header.offset, " frames of call ", header.call,
                       ", it was to read ", peer.num_offered, " of call ", peer.out_call));
    }
    peer.num_offered = 0;
  }
  peer.in_done = 0;
  return absl::OkStatus();
}

// The peer keeps its payload as it is until it has word, or closes the connection before it changes
// it: what was read while the connection stood is what it sent.
absl::Status Mesh::ReadPayload(Peer& peer, Traffic* traffic, std::byte* place) {
  if (!peer.memory.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat(peer.Name(), " sent an address that it was not asked for"));
  }
  if (!peer.memory->Read(peer.in_header.address, place, peer.in_header.length)) {
    return Hangup(peer, traffic, "is gone: its memory cannot be read");
  }
  ++peer.num_read;
  CloseFrame(peer, traffic);
  return absl::OkStatus();
}

void Mesh::CloseFrame(Peer& peer, Traffic* traffic) {
  if (peer.in_header.kind == FrameKind::kPosted) {
    inbox_.push_back({peer.connection.gang, std::move(peer.in_message)});
    peer.in_message.clear();
  } else {
    traffic->Arrived(peer.connection.gang, peer.in_header);
  }
  peer.in_done = 0;
  peer.in_payload = nullptr;
  if (peer.num_read == 0 || traffic->Awaits(peer.connection.gang)) return;
  peer.owes_word = true;
  Queue(peer, Frame({.kind = FrameKind::kHasRead,
                     .call = peer.in_call,
                     .offset = std::exchange(peer.num_read, 0)}));
}

void Mesh::Queue(Peer& peer, std::string frame) {
  peer.posts.push_back(std::move(frame));
  int64_t moved = 0;
  WritePosts(peer, &moved);
}

bool Mesh::WritePosts(Peer& peer, int64_t* num_moved) {
  if (peer.is_sending) return false;
  while (!peer.posts.empty()) {
    const std::string& frame = peer.posts.front();
    const ssize_t count = send(peer.connection.socket.fd(), frame.data() + peer.post_done,
                               frame.size() - peer.post_done, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0) {
      // An end, if it is one, is found by reading: a goodbye may be in front of it.
      if (!WouldBlock(errno)) peer.may_read = true;
      peer.may_write = false;
      return false;
    }
    *num_moved += count;
    peer.post_done += static_cast<size_t>(count);
    if (peer.post_done < frame.size()) continue;
    peer.posts.pop_front();
    peer.post_done = 0;
  }
  peer.owes_word = false;
  return true;
}

absl::Status Mesh::Write(Peer& peer, Traffic* traffic, int64_t* num_moved) {
  const int gang = peer.connection.gang;
  for (int64_t turn = 0; turn < kTurnBytes;) {
    if (!peer.is_sending) {
      if (!WritePosts(peer, num_moved)) return absl::OkStatus();
      if (traffic == nullptr || peer.connection.is_line || !traffic->IsOutgoing(gang)) {
        return absl::OkStatus();
      }
      if (!traffic->NextFrame(gang, &peer.out_header, &peer.out_payload)) return absl::OkStatus();
      peer.out_header.call = peer.out_call;
      peer.out_header.address = 0;
      if (peer.is_reader && peer.out_header.length >= kWorthReading) {
        peer.out_header.address = reinterpret_cast<uint64_t>(peer.out_payload);
        ++peer.num_offered;
        turn += static_cast<int64_t>(peer.out_header.length);
      }
      peer.out_done = 0;
      peer.is_sending = true;
    }
    const size_t length = peer.out_header.address == 0 ? peer.out_header.length : 0;
    const size_t header_left = sizeof(FrameHeader) - std::min(peer.out_done, sizeof(FrameHeader));
    const size_t payload_done = peer.out_done + header_left - sizeof(FrameHeader);
    iovec parts[2] = {
        {reinterpret_cast<std::byte*>(&peer.out_header) + (sizeof(FrameHeader) - header_left),
         header_left},
        {const_cast<std::byte*>(peer.out_payload) + payload_done, length - payload_done}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    const ssize_t count =
        sendmsg(peer.connection.socket.fd(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0) {
      const int error = errno;
      peer.may_write = false;
      if (WouldBlock(error)) return absl::OkStatus();
      if (peer.IsPaused()) {
        return Hangup(peer, traffic, absl::StrCat("is gone: ", std::strerror(error)));
      }
      peer.may_read = true;  // finds the end, behind what came before it
      *num_moved += 1;
      return absl::OkStatus();
    }
    peer.out_done += static_cast<size_t>(count);
    turn += count;
    *num_moved += count;
    peer.is_sending = peer.out_done < sizeof(FrameHeader) + length;
  }
  return absl::OkStatus();
}

bool Mesh::Needs(const Peer& peer, const Traffic* traffic) const {
  if (traffic == nullptr) return true;  // waiting for whoever speaks next needs everybody
  if (peer.connection.is_line) return false;
  const int gang = peer.connection.gang;
  return peer.is_sending || peer.num_offered > 0 || peer.owes_word ||
         (traffic->IsOutgoing(gang) && traffic->HasMoreFor(gang)) ||
         (traffic->IsIncoming(gang) && traffic->Awaits(gang));
}

absl::Status Mesh::Hangup(Peer& peer, const Traffic* traffic, const std::string& how) {
  peer.is_over = true;
  if (peer.has_left && !Needs(peer, traffic)) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(peer.Name(), " ", how));
}

bool Mesh::IsDone(const Traffic& traffic) const {
  for (const Peer& peer : peers_) {
    if (Needs(peer, &traffic)) return false;
  }
  return true;
}

std::string Mesh::Awaited(const Traffic& traffic) const {
  std::string names;
  for (const Peer& peer : peers_) {
    if (Needs(peer, &traffic)) absl::StrAppend(&names, names.empty() ? "" : ", ", peer.Name());
  }
  return names;
}

bool Mesh::Sleep(const Traffic* traffic, absl::Duration timeout, int wake_fd) {
  polled_[0] = {wake_fd_, POLLIN, 0};
  polled_[1] = {wake_fd, POLLIN, 0};
  for (size_t i = 0; i < peers_.size(); ++i) {
    const Peer& peer = peers_[i];
    short events = POLLRDHUP;
    if (!peer.IsPaused()) events |= POLLIN;
    const bool has_out =
        peer.is_sending || !peer.posts.empty() ||
        (traffic != nullptr && Needs(peer, traffic) && traffic->HasMoreFor(peer.connection.gang));
    if (has_out && !peer.may_write) events |= POLLOUT;
    const bool is_watched = !peer.is_over && !(peer.is_hung && peer.IsPaused());
    polled_[i + 2] = {is_watched ? peer.connection.socket.fd() : -1, events, 0};
  }
  const absl::Duration rest = std::clamp(timeout, absl::ZeroDuration(), kLongestSleep);
  const timespec time = absl::ToTimespec(rest);
  ppoll(polled_.data(), polled_.size(), &time, nullptr);
  for (size_t i = 0; i < peers_.size(); ++i) {
    Peer& peer = peers_[i];
    const short events = polled_[i + 2].revents;
    if ((events & (POLLIN | POLLRDHUP | POLLHUP | POLLERR)) != 0) peer.may_read = true;
    if ((events & (POLLOUT | POLLHUP | POLLERR)) != 0) peer.may_write = true;
    if ((events & (POLLRDHUP | POLLHUP | POLLERR)) != 0 && peer.IsPaused()) peer.is_hung = true;
  }
  return (polled_[1].revents & POLLIN) != 0;
}

}  // namespace liquid
