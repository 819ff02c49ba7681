// Reading from another process's memory, where the kernel lets us: one copy instead of two.
#ifndef LIQUID_PARALLEL_TCP_PEER_MEMORY_H_
#define LIQUID_PARALLEL_TCP_PEER_MEMORY_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>

#include "parallel/tcp/socket.h"

namespace liquid {

// Of the process at the other end of a Unix socket. process_vm_readv(2) asks for the same user, and
// for no rule against it (Yama's ptrace_scope, seccomp, another pid namespace).
class PeerMemory {
 public:
  // Nothing if the system does not tell who is at the other end of `socket`, which must outlive
  // this. Whether its memory can be read, only a Read tells.
  static std::optional<PeerMemory> Of(const Socket& socket);

  // Copies bytes [address, address + num_bytes) to `out`. False if not all can be read, or if the
  // other end has died or shut the connection by the time that they have been: then `out` may hold
  // anything.
  bool Read(uint64_t address, void* out, size_t num_bytes) const;

 private:
  PeerMemory(pid_t process, Socket life, int connection)
      : process_(process), life_(std::move(life)), connection_(connection) {}
  bool IsThere() const;

  pid_t process_;
  Socket life_;  // a pidfd: its number stands for this process only as long as that is silent
  int connection_;
};

}  // namespace liquid

#endif  // LIQUID_PARALLEL_TCP_PEER_MEMORY_H_
