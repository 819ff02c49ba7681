// How a process is let into a generation: by saying the right words, in time.
#ifndef LIQUID_PARALLEL_TCP_HELLO_H_
#define LIQUID_PARALLEL_TCP_HELLO_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "parallel/tcp/data_port.h"
#include "parallel/tcp/socket.h"

namespace liquid {

// A process of the generation: rank `rank` of the gang at place `gang`.
struct PeerName {
  int32_t gang;
  int32_t rank;

  friend auto operator<=>(const PeerName&, const PeerName&) = default;
  std::string ToString() const;
};

struct Circle {
  std::string job;  // digest
  int64_t generation = 0;
  uint64_t token = 0;
};

struct Peer {
  PeerName name;
  std::string address;
};

// Connects `self` to all of `peers`, each of which does the same: the lower name listens, the
// higher one dials. The connections, in the order of `peers`. While it waits, `is_aborted` is
// asked, at least every few milliseconds. Strangers (other words, no words) are closed, logged, and
// keep nobody waiting. Errors: what is_aborted says; DeadlineExceeded, naming who did not come.
absl::StatusOr<std::vector<Descriptor>> Connect(const DataPort& port, const Circle& circle,
                                                const PeerName& self,
                                                const std::vector<Peer>& peers, absl::Time deadline,
                                                int abort_fd,
                                                absl::FunctionRef<absl::Status()> is_aborted);

}  // namespace liquid

#endif  // LIQUID_PARALLEL_TCP_HELLO_H_
