// How the processes of a generation find each other.
#ifndef LIQUID_PARALLEL_TCP_RENDEZVOUS_H_
#define LIQUID_PARALLEL_TCP_RENDEZVOUS_H_

#include <poll.h>

#include <list>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "parallel/tcp/data_port.h"
#include "parallel/tcp/hello.h"
#include "parallel/tcp/mesh.h"

namespace liquid {

// Connects to all peers of one process at once. Processes are ordered by (gang, rank): each dials
// those before it and accepts those after it. A dialer that is turned away tries again; somebody
// who connects and says nothing, or nothing proper, is closed after a second at most, while
// everything else goes on.
class Rendezvous {
 public:
  struct Place {
    int gang;
    int rank;
    auto operator<=>(const Place&) const = default;
  };
  struct Target {
    Place place;
    DataAddress address;
  };

  // `own`: the hello of this process (`from` is its place). `targets`: all that it must be
  // connected to. `port` must outlive this.
  Rendezvous(const DataPort& port, const Hello& own, const std::vector<Target>& targets);

  // OK once everybody is connected; Aborted when `abort_fd` becomes readable, Unavailable,
  // DeadlineExceeded (naming who is missing).
  absl::Status Meet(absl::Time deadline, int abort_fd);
  // After Meet: other gangs' places to which a connection is missing.
  std::vector<int> MissingGangs() const;
  // After Meet: the connections, in the order of the targets.
  std::vector<Mesh::Connection> TakeConnections();

 private:
  enum class State {
    kIdle,        // dialer: waits for retry_at; acceptor: waits for the peer
    kConnecting,  // dialer
    kSaidHello,   // dialer: waits for the welcome
    kWelcomed,    // acceptor: waits for the confirmation
    kConnected,
  };
  struct Line {
    Target target;
    bool is_dialed = false;
    State state = State::kIdle;
    Socket socket;
    absl::Time retry_at = absl::InfinitePast();
    absl::Duration pause;  // before the next try
  };
  struct Stranger {
    std::string who;
    absl::Time deadline;
    Socket socket;
    Hello hello;
    size_t num_read = 0;
  };

  void DialAll(absl::Time now);
  void SayHello(Line& line);
  void TryAgain(Line& line);
  void AcceptAll(int listener, absl::Time now);
  // Reads what a stranger has said. False: it is a stranger no longer, or was closed.
  bool Hear(Stranger& stranger, absl::Time now);
  void LetIn(Stranger& stranger);
  void TurnAway(const Stranger& stranger, const absl::Status& why);
  absl::Status Advance(Line& line, short events);
  bool IsComplete() const;
  std::string Missing() const;
  void FillPolled(int abort_fd);
  absl::Time NextDeadline() const;

  const DataPort& port_;
  const Hello own_;
  std::vector<Line> lines_;
  std::list<Stranger> strangers_;      // oldest first
  std::set<std::string> turned_away_;  // what was logged, each once
  std::vector<pollfd> polled_;
};

}  // namespace liquid

#endif  // LIQUID_PARALLEL_TCP_RENDEZVOUS_H_
