// Where other gangs reach this rank: a TCP port and, for processes of the same host, a Unix socket.
#ifndef LIQUID_PARALLEL_TCP_DATA_PORT_H_
#define LIQUID_PARALLEL_TCP_DATA_PORT_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "parallel/tcp/socket.h"

namespace liquid {

// Opened once in the life of a process; every generation's TcpGroup accepts its peers here. What
// does not say hello properly (hello.h) is closed and logged, and disturbs nobody. Between two
// groups' forming nobody accepts: connections wait in the kernel's queue (at most 512), and the
// next forming takes the current ones and drops the stale.
class DataPort {
 public:
  // `host`: an address of this machine that the other gangs' machines can reach. Unavailable if it
  // cannot be bound, InvalidArgument if it says "all interfaces".
  static absl::StatusOr<std::unique_ptr<DataPort>> Open(const std::string& host);

  // One word for the coordinator's member list: it names both sockets, and the host by something
  // that no other host has, so that a peer knows whether the Unix socket is for it.
  const std::string& address() const { return address_; }

  // The listening sockets, non-blocking.
  int tcp_fd() const { return tcp_.fd(); }
  int unix_fd() const { return unix_.fd(); }

 private:
  DataPort() = default;

  Socket tcp_;
  Socket unix_;
  std::string address_;
};

}  // namespace liquid

#endif  // LIQUID_PARALLEL_TCP_DATA_PORT_H_
