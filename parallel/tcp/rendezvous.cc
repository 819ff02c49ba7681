#include "parallel/tcp/rendezvous.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/log.h"
#include "base/status.h"

namespace liquid {
namespace {

constexpr size_t kMaxStrangers = 64;
constexpr absl::Duration kStrangersTime = absl::Seconds(1);
constexpr absl::Duration kFirstPause = absl::Milliseconds(1);
constexpr absl::Duration kLongestPause = absl::Milliseconds(20);
constexpr size_t kMaxLogged = 64;  // lines of one forming

bool Say(const Socket& socket, const void* data, size_t size) {
  return send(socket.fd(), data, size, MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(size);
}

bool WouldBlock(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

std::string NameOf(const Rendezvous::Place& place) {
  return absl::StrCat("gang ", place.gang, " rank ", place.rank);
}

}  // namespace

Rendezvous::Rendezvous(const DataPort& port, const Hello& own, const std::vector<Target>& targets)
    : port_(port), own_(own) {
  const Place here{own.from_gang, own.from_rank};
  for (const Target& target : targets) {
    Line& line = lines_.emplace_back();
    line.target = target;
    line.is_dialed = target.place < here;
    line.pause = kFirstPause;
  }
}

absl::Status Rendezvous::Meet(absl::Time deadline, int abort_fd) {
  while (!IsComplete()) {
    const absl::Time now = absl::Now();
    DialAll(now);
    FillPolled(abort_fd);
    const absl::Time wake = std::min(deadline, NextDeadline());
    const timespec rest =
        absl::ToTimespec(std::clamp(wake - now, absl::ZeroDuration(), absl::Seconds(1)));
    ppoll(polled_.data(), polled_.size(), &rest, nullptr);
    if (polled_[0].revents != 0) return absl::AbortedError("aborted while the gangs were meeting");
    for (size_t i = 0; i < lines_.size(); ++i) {
      LIQUID_RETURN_IF_ERROR(Advance(lines_[i], polled_[i + 3].revents));
    }
    const absl::Time later = absl::Now();
    AcceptAll(port_.tcp_fd(), later);
    AcceptAll(port_.unix_fd(), later);
    for (auto it = strangers_.begin(); it != strangers_.end();) {
      it = Hear(*it, later) ? std::next(it) : strangers_.erase(it);
    }
    if (later >= deadline && !IsComplete()) {
      return absl::DeadlineExceededError(absl::StrCat("these did not come in time: ", Missing()));
    }
  }
  return absl::OkStatus();
}

std::vector<Mesh::Connection> Rendezvous::TakeConnections() {
  std::vector<Mesh::Connection> connections;
  for (Line& line : lines_) {
    const Place& place = line.target.place;
    const bool is_line = place.gang == own_.from_gang;
    connections.push_back({place.gang, place.rank, is_line, std::move(line.socket)});
  }
  return connections;
}

void Rendezvous::DialAll(absl::Time now) {
  for (Line& line : lines_) {
    if (!line.is_dialed || line.state != State::kIdle || now < line.retry_at) continue;
    auto socket = Dial(line.target.address);
    if (!socket.ok()) {
      TryAgain(line);
      continue;
    }
    line.socket = *std::move(socket);
    line.state = State::kConnecting;
  }
}

void Rendezvous::TryAgain(Line& line) {
  line.socket = Socket();
  line.state = State::kIdle;
  line.retry_at = absl::Now() + line.pause;
  line.pause = std::min(2 * line.pause, kLongestPause);
}

void Rendezvous::SayHello(Line& line) {
  Hello hello = own_;
  hello.to_gang = line.target.place.gang;
  hello.to_rank = line.target.place.rank;
  if (ConnectError(line.socket).ok() && Say(line.socket, &hello, sizeof(hello))) {
    line.state = State::kSaidHello;
  } else {
    TryAgain(line);
  }
}

absl::Status Rendezvous::Advance(Line& line, short events) {
  if (events == 0) return absl::OkStatus();
  if (line.state == State::kConnecting) {
    SayHello(line);
    return absl::OkStatus();
  }
  if (line.state == State::kConnected) {
    return absl::UnavailableError(absl::StrCat(NameOf(line.target.place), " hung up"));
  }
  if (line.state == State::kIdle) return absl::OkStatus();
  char word = 0;
  const ssize_t count = recv(line.socket.fd(), &word, 1, MSG_DONTWAIT);
  if (count < 0 && WouldBlock(errno)) return absl::OkStatus();
  const bool is_welcome = line.state == State::kSaidHello;
  if (count == 1 && word == (is_welcome ? kWelcome : kConfirm)) {
    if (!is_welcome || Say(line.socket, &kConfirm, 1)) {
      line.state = State::kConnected;
      return absl::OkStatus();
    }
  }
  TryAgain(line);
  return absl::OkStatus();
}

void Rendezvous::AcceptAll(int listener, absl::Time now) {
  while (true) {
    Stranger stranger;
    stranger.socket = Accept(listener, &stranger.who);
    if (stranger.socket.fd() < 0) return;
    stranger.deadline = now + kStrangersTime;
    if (!Hear(stranger, now)) continue;
    if (strangers_.size() == kMaxStrangers) {
      TurnAway(strangers_.front(), absl::ResourceExhaustedError(absl::StrCat(
                                       "more than ", kMaxStrangers, " connections say nothing")));
      strangers_.pop_front();
    }
    strangers_.push_back(std::move(stranger));
  }
}

bool Rendezvous::Hear(Stranger& stranger, absl::Time now) {
  char* const hello = reinterpret_cast<char*>(&stranger.hello);
  while (stranger.num_read < sizeof(Hello)) {
    const ssize_t count = recv(stranger.socket.fd(), hello + stranger.num_read,
                               sizeof(Hello) - stranger.num_read, MSG_DONTWAIT);
    if (count < 0 && WouldBlock(errno)) break;
    if (count <= 0) {
      TurnAway(stranger,
               absl::UnavailableError(absl::StrCat("it hung up after ", stranger.num_read,
                                                   " bytes of a hello of ", sizeof(Hello))));
      return false;
    }
    stranger.num_read += static_cast<size_t>(count);
  }
  const size_t num_magic = std::min(stranger.num_read, sizeof(Hello::kMagic));
  const bool is_garbage = std::memcmp(hello, &Hello::kMagic, num_magic) != 0;
  if (!is_garbage && stranger.num_read == sizeof(Hello)) {
    LetIn(stranger);
    return false;
  }
  if (is_garbage) {
    TurnAway(stranger, absl::InvalidArgumentError(absl::StrCat(
                           "it said '", absl::CHexEscape(absl::string_view(hello, num_magic)),
                           "', a hello begins with '",
                           absl::CHexEscape(absl::string_view(
                               reinterpret_cast<const char*>(&Hello::kMagic), num_magic)),
                           "'")));
    return false;
  }
  if (now >= stranger.deadline) {
    TurnAway(stranger, absl::DeadlineExceededError(absl::StrCat(
                           "it said ", stranger.num_read, " bytes of a hello of ", sizeof(Hello),
                           " within ", absl::FormatDuration(kStrangersTime))));
    return false;
  }
  return true;
}

void Rendezvous::LetIn(Stranger& stranger) {
  const Hello& hello = stranger.hello;
  if (const absl::Status status = CheckHello(hello, own_); !status.ok()) {
    TurnAway(stranger, status);
    return;
  }
  const Place from{hello.from_gang, hello.from_rank};
  for (Line& line : lines_) {
    if (line.target.place != from || line.is_dialed) continue;
    if (line.state == State::kConnected) {
      TurnAway(stranger, absl::AlreadyExistsError(absl::StrCat(NameOf(from), " is here already")));
      return;
    }
    // An older one that was not confirmed is of a try that the peer has given up.
    line.socket = std::move(stranger.socket);
    line.state = Say(line.socket, &kWelcome, 1) ? State::kWelcomed : State::kIdle;
    return;
  }
  TurnAway(stranger, absl::NotFoundError(absl::StrCat(NameOf(from), " has no business with gang ",
                                                      own_.from_gang, " rank ", own_.from_rank)));
}

void Rendezvous::TurnAway(const Stranger& stranger, const absl::Status& why) {
  // Somebody who is ahead comes again soon; what repeats itself is logged once.
  if (why.code() == absl::StatusCode::kOutOfRange) return;
  const std::string text(why.message());
  if (turned_away_.size() >= kMaxLogged || !turned_away_.insert(text).second) return;
  LogWarning("closed a data connection of ", stranger.who, ": ", text);
}

bool Rendezvous::IsComplete() const {
  return std::all_of(lines_.begin(), lines_.end(),
                     [](const Line& line) { return line.state == State::kConnected; });
}

std::vector<int> Rendezvous::MissingGangs() const {
  std::vector<int> gangs;
  for (const Line& line : lines_) {
    const int gang = line.target.place.gang;
    if (line.state != State::kConnected && gang != own_.from_gang) gangs.push_back(gang);
  }
  return gangs;
}

std::string Rendezvous::Missing() const {
  std::string names;
  for (const Line& line : lines_) {
    if (line.state == State::kConnected) continue;
    absl::StrAppend(&names, names.empty() ? "" : ", ", NameOf(line.target.place));
  }
  return names;
}

void Rendezvous::FillPolled(int abort_fd) {
  polled_.clear();
  polled_.push_back({abort_fd, POLLIN, 0});
  polled_.push_back({port_.tcp_fd(), POLLIN, 0});
  polled_.push_back({port_.unix_fd(), POLLIN, 0});
  for (const Line& line : lines_) {
    short events = POLLIN;
    if (line.state == State::kConnecting) events = POLLOUT;
    if (line.state == State::kConnected) events = POLLRDHUP;
    polled_.push_back({line.socket.fd(), events, 0});
  }
  for (const Stranger& stranger : strangers_) {
    polled_.push_back({stranger.socket.fd(), POLLIN, 0});
  }
}

absl::Time Rendezvous::NextDeadline() const {
  absl::Time next = absl::InfiniteFuture();
  for (const Line& line : lines_) {
    if (line.is_dialed && line.state == State::kIdle) next = std::min(next, line.retry_at);
  }
  for (const Stranger& stranger : strangers_) next = std::min(next, stranger.deadline);
  return next;
}

}  // namespace liquid
