#include "parallel/tcp/hello.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/status.h"

namespace liquid {
namespace {

constexpr uint64_t kMagic = 0x4c69717569643031;  // "Liquid01": the version of what follows
constexpr char kWelcome = 'w';
constexpr size_t kMaxStrangers = 64;  // that have not said who they are
constexpr absl::Duration kHelloTimeout = absl::Seconds(1);
constexpr absl::Duration kRedial = absl::Milliseconds(5);
constexpr int kMaxPollMs = 20;

// The bytes on the wire; both ends are of one build.
struct Hello {
  uint64_t magic;
  Hash128 job;
  int64_t generation;
  uint64_t token;
  PeerName from;
  PeerName to;
};

Hello MakeHello(const Circle& circle, const PeerName& from, const PeerName& to) {
  Hello hello = {};
  hello.magic = kMagic;
  hello.job = HashBytes(circle.job);
  hello.generation = circle.generation;
  hello.token = circle.token;
  hello.from = from;
  hello.to = to;
  return hello;
}

// What is wrong with it; empty if nothing is.
std::string Fault(const Hello& hello, const Hello& expected) {
  if (hello.magic != expected.magic) return "it speaks something else";
  if (hello.job != expected.job) {
    return absl::StrCat("it is of job ", ToHex(hello.job), ", this is ", ToHex(expected.job));
  }
  if (hello.generation != expected.generation) {
    return absl::StrCat("it is of generation ", hello.generation, ", this is ",
                        expected.generation);
  }
  if (hello.token != expected.token) return "it does not know the generation's token";
  if (hello.to != expected.to) {
    return absl::StrCat("it wants ", hello.to.ToString(), ", this is ", expected.to.ToString());
  }
  return "";
}

class Connector {
 public:
  Connector(const DataPort& port, const Circle& circle, const PeerName& self,
            const std::vector<Peer>& peers)
      : port_(port), circle_(circle), self_(self), peers_(peers), dials_(peers.size()) {
    connections_.resize(peers.size());
  }

  absl::Status Run(absl::Time deadline, int abort_fd,
                   absl::FunctionRef<absl::Status()> is_aborted) {
    for (const Peer& peer : peers_) {
      LIQUID_ASSIGN_OR_RETURN(addresses_.emplace_back(), SocketAddress::FromWord(peer.address));
    }
    while (num_done_ < peers_.size()) {
      LIQUID_RETURN_IF_ERROR(is_aborted());
      const absl::Time now = absl::Now();
      if (now >= deadline) return Missing();
      for (size_t i = 0; i < peers_.size(); ++i) {
        if (peers_[i].name < self_ && !connections_[i].is_open()) Dial(i, now);
      }
      Accept(now);
      Hear(now);
      if (num_done_ < peers_.size()) Sleep(abort_fd);
    }
    return absl::OkStatus();
  }

  std::vector<Descriptor> Take() { return std::move(connections_); }

 private:
  struct DialUp {
    Descriptor connection;
    size_t num_sent = 0;
    absl::Time again = absl::InfinitePast();
  };
  struct Stranger {
    Descriptor connection;
    absl::Time since;
    Hello hello;
    size_t num_read = 0;
  };

  // One step of the way to peer `i`: connect, say hello, wait for the welcome.
  void Dial(size_t i, absl::Time now) {
    DialUp& dial = dials_[i];
    if (!dial.connection.is_open()) {
      if (now < dial.again) return;
      dial.connection = BeginToConnect(addresses_[i]);
      dial.num_sent = 0;
      dial.again = now + kRedial;
      if (!dial.connection.is_open()) return;
    }
    const Hello hello = MakeHello(circle_, self_, peers_[i].name);
    const auto* bytes = reinterpret_cast<const char*>(&hello);
    while (dial.num_sent < sizeof(hello)) {
      const ssize_t sent = send(dial.connection.get(), bytes + dial.num_sent,
                                sizeof(hello) - dial.num_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0) {
        const bool is_waiting = errno == EAGAIN || errno == ENOTCONN || errno == EINPROGRESS;
        if (!is_waiting) dial.connection.Reset(-1);
        return;
      }
      dial.num_sent += static_cast<size_t>(sent);
    }
    char answer = 0;
    const ssize_t got = recv(dial.connection.get(), &answer, 1, MSG_DONTWAIT);
    if (got == 1 && answer == kWelcome) {
      connections_[i] = std::move(dial.connection);
      ++num_done_;
    } else if (got >= 0 || (errno != EAGAIN && errno != EINTR)) {
      dial.connection.Reset(-1);  // it is of another generation yet; again a little later
    }
  }

  void Accept(absl::Time now) {
    for (const int listener : {port_.unix_listener(), port_.tcp_listener()}) {
      while (true) {
        Descriptor connection(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!connection.is_open()) break;
        if (strangers_.size() == kMaxStrangers) strangers_.erase(strangers_.begin());
        strangers_.push_back({std::move(connection), now, {}, 0});
      }
    }
  }

  void Hear(absl::Time now) {
    std::erase_if(strangers_, [&](Stranger& stranger) { return !StillUnknown(&stranger, now); });
  }

  // False once it is known who it is, or that it is nobody.
  bool StillUnknown(Stranger* stranger, absl::Time now) {
    auto* bytes = reinterpret_cast<char*>(&stranger->hello);
    const ssize_t got = recv(stranger->connection.get(), bytes + stranger->num_read,
                             sizeof(Hello) - stranger->num_read, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return false;
    if (got > 0) stranger->num_read += static_cast<size_t>(got);
    const bool is_garbage =
        stranger->num_read >= sizeof(uint64_t) && stranger->hello.magic != kMagic;
    if (stranger->num_read < sizeof(Hello) && !is_garbage) {
      if (now - stranger->since < kHelloTimeout) return true;
      LogWarning("data port: closed a connection that said nothing for ",
                 absl::FormatDuration(kHelloTimeout));
      return false;
    }
    Admit(stranger);
    return false;
  }

  void Admit(Stranger* stranger) {
    const Hello& hello = stranger->hello;
    const std::string fault = Fault(hello, MakeHello(circle_, hello.from, self_));
    // Of a generation that this process has yet to hear of: it will dial again.
    const bool is_early = hello.magic == kMagic && hello.generation > circle_.generation;
    if (!fault.empty() && is_early) return;
    if (!fault.empty()) {
      LogWarning("data port: refused a connection: ", fault);
      return;
    }
    const auto peer = std::find_if(peers_.begin(), peers_.end(), [&](const Peer& candidate) {
      return candidate.name == hello.from && self_ < hello.from;
    });
    if (peer == peers_.end()) {
      LogWarning("data port: refused ", hello.from.ToString(), ", which has no business here");
      return;
    }
    Descriptor& place = connections_[static_cast<size_t>(peer - peers_.begin())];
    if (send(stranger->connection.get(), &kWelcome, 1, MSG_NOSIGNAL | MSG_DONTWAIT) != 1) return;
    // A second one is the same peer's next try: it gave the first one up.
    if (!place.is_open()) ++num_done_;
    place = std::move(stranger->connection);
  }

  void Sleep(int abort_fd) {
    std::vector<pollfd> waiting = {{abort_fd, POLLIN, 0},
                                   {port_.unix_listener(), POLLIN, 0},
                                   {port_.tcp_listener(), POLLIN, 0}};
    int timeout = kMaxPollMs;
    for (size_t i = 0; i < peers_.size(); ++i) {
      if (!(peers_[i].name < self_) || connections_[i].is_open()) continue;
      const DialUp& dial = dials_[i];
      if (dial.connection.is_open()) {
        const short events = dial.num_sent < sizeof(Hello) ? POLLOUT : POLLIN;
        waiting.push_back({dial.connection.get(), events, 0});
      } else {
        timeout = static_cast<int>(absl::ToInt64Milliseconds(kRedial));
      }
    }
    for (const Stranger& stranger : strangers_) {
      waiting.push_back({stranger.connection.get(), POLLIN, 0});
    }
    poll(waiting.data(), waiting.size(), timeout);
  }

  absl::Status Missing() const {
    std::vector<std::string> names;
    for (size_t i = 0; i < peers_.size(); ++i) {
      if (!connections_[i].is_open()) names.push_back(peers_[i].name.ToString());
    }
    return absl::DeadlineExceededError(
        absl::StrCat("generation ", circle_.generation,
                     ": not connected in time: ", absl::StrJoin(names, "; ")));
  }

  const DataPort& port_;
  const Circle& circle_;
  const PeerName self_;
  const std::vector<Peer>& peers_;
  std::vector<SocketAddress> addresses_;
  std::vector<DialUp> dials_;
  std::vector<Descriptor> connections_;
  std::vector<Stranger> strangers_;
  size_t num_done_ = 0;
};

}  // namespace

std::string PeerName::ToString() const {
  return absl::StrCat("the gang at place ", gang, ", rank ", rank);
}

absl::StatusOr<std::vector<Descriptor>> Connect(const DataPort& port, const Circle& circle,
                                                const PeerName& self,
                                                const std::vector<Peer>& peers, absl::Time deadline,
                                                int abort_fd,
                                                absl::FunctionRef<absl::Status()> is_aborted) {
  Connector connector(port, circle, self, peers);
  LIQUID_RETURN_IF_ERROR(connector.Run(deadline, abort_fd, is_aborted));
  return connector.Take();
}

}  // namespace liquid
