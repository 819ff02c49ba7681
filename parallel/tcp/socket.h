// Sockets of the data plane: owned, non-blocking, tuned for long streams between two processes.
#ifndef LIQUID_PARALLEL_TCP_SOCKET_H_
#define LIQUID_PARALLEL_TCP_SOCKET_H_

#include <sys/types.h>

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace liquid {

// Owns a socket. Ends the connection before it closes the file, since a sentinel may hold a copy.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket();
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

  int fd() const { return fd_; }  // -1: none

 private:
  int fd_ = -1;
};

// Where a process accepts connections: "HOST:PORT,UNIX_NAME,HOST_ID".
struct DataAddress {
  std::string tcp_host;  // digits, without brackets
  std::string tcp_port;
  std::string unix_name;  // in the abstract namespace
  std::string host_id;

  std::string ToString() const;
  static absl::StatusOr<DataAddress> Parse(const std::string& text);
};

// What all processes that can reach each other's abstract Unix sockets have in common, and nobody
// else: the boot of the machine and the network namespace. Empty if the system does not tell.
std::string HostId();

// Listening sockets, non-blocking.
absl::StatusOr<Socket> ListenTcp(const std::string& host, std::string* bound_host,
                                 std::string* bound_port);
absl::StatusOr<Socket> ListenUnix(const std::string& name);

// Begins to connect: the Unix socket if `address` is on this host, else TCP. The socket becomes
// writable when that is decided.
absl::StatusOr<Socket> Dial(const DataAddress& address);
// How the connecting has ended.
absl::Status ConnectError(const Socket& socket);

// Whether both ends are on this host, by a Unix socket.
bool IsUnix(const Socket& socket);
// The process that connected, or listened for, the other end of a Unix socket; 0 if the system does
// not tell.
pid_t PeerProcess(const Socket& socket);

// The next connection that waits at `listener`, non-blocking; an empty one if none does. `who`
// becomes the other end's address.
Socket Accept(int listener, std::string* who);

// Buffers, no delay, and a peer whose machine has vanished is given up after `silence`. Applies to
// connected sockets of both families.
void Tune(const Socket& socket, absl::Duration silence);

}  // namespace liquid

#endif  // LIQUID_PARALLEL_TCP_SOCKET_H_
