// What this folder wants of sockets.
#ifndef LIQUID_PARALLEL_TCP_SOCKET_H_
#define LIQUID_PARALLEL_TCP_SOCKET_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace liquid {

// Owns a file descriptor.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    Reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~Descriptor() { Reset(-1); }

  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  void Reset(int fd);
  // For sockets: ends the connection even if another process holds a copy.
  void Hangup();

 private:
  int fd_ = -1;
};

// Where a process listens: a Unix socket for its own host, and a TCP port.
struct SocketAddress {
  std::string host_id;    // of the host and its network: no other has it
  std::string unix_name;  // abstract
  std::string tcp_host;   // numeric
  int tcp_port = 0;

  std::string ToWord() const;  // without white space
  static absl::StatusOr<SocketAddress> FromWord(const std::string& word);
};

// SocketAddress::host_id of this process.
std::string HostId();

// Both listen without blocking. The TCP port is any free one, and returned.
absl::StatusOr<Descriptor> ListenOnUnix(const std::string& name);
absl::StatusOr<Descriptor> ListenOnTcp(const std::string& host, SocketAddress* address);

// Begins to connect, without waiting; by the Unix socket if the address is on this host. Closed if
// nobody listens there.
Descriptor BeginToConnect(const SocketAddress& address);
// For a connection that stands: no delay, large buffers, an end within `timeout_ms` once the other
// host has vanished.
void TuneConnection(int fd, int64_t timeout_ms);

}  // namespace liquid

#endif  // LIQUID_PARALLEL_TCP_SOCKET_H_
