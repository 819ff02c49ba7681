// Where other gangs reach this rank: a TCP port and, for processes of the same host, a Unix socket.
#ifndef LIQUID_PARALLEL_TCP_DATA_PORT_H_
#define LIQUID_PARALLEL_TCP_DATA_PORT_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "parallel/tcp/socket.h"

namespace liquid {

// Opened once in the life of a process; every generation's TcpGroup accepts its peers here. What
// does not say hello properly (tcp_group.h) is closed and logged, and disturbs nobody.
class DataPort {
 public:
  // `host`: an address of this machine that the other gangs' machines can reach. Unavailable if it
  // cannot be bound.
  static absl::StatusOr<std::unique_ptr<DataPort>> Open(const std::string& host);

  // One word for the coordinator's member list: it names both sockets, and the host by something
  // that no other host has, so that a peer knows whether the Unix socket is for it.
  const std::string& address() const { return address_; }

  // Both listen, without blocking.
  int tcp_listener() const { return tcp_.get(); }
  int unix_listener() const { return unix_.get(); }

 private:
  DataPort() = default;

  Descriptor tcp_;
  Descriptor unix_;
  std::string address_;
};

}  // namespace liquid

#endif  // LIQUID_PARALLEL_TCP_DATA_PORT_H_
