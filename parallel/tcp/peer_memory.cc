#include "parallel/tcp/peer_memory.h"

#include <poll.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

namespace liquid {

std::optional<PeerMemory> PeerMemory::Of(const Socket& socket) {
  const pid_t process = PeerProcess(socket);
  if (process <= 0) return std::nullopt;
  Socket life(static_cast<int>(syscall(SYS_pidfd_open, process, 0)));
  if (life.fd() < 0) return std::nullopt;
  return PeerMemory(process, std::move(life), socket.fd());
}

bool PeerMemory::Read(uint64_t address, void* out, size_t num_bytes) const {
  auto* to = static_cast<char*>(out);
  for (size_t done = 0; done < num_bytes;) {
    const iovec local{to + done, num_bytes - done};
    const iovec remote{reinterpret_cast<void*>(address + done), num_bytes - done};
    const ssize_t count = process_vm_readv(process_, &local, 1, &remote, 1, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    done += static_cast<size_t>(count);
  }
  return IsThere();
}

bool PeerMemory::IsThere() const {
  pollfd ends[2] = {{life_.fd(), POLLIN, 0}, {connection_, POLLRDHUP, 0}};
  int count;
  do {
    count = poll(ends, 2, 0);
  } while (count < 0 && errno == EINTR);
  return count == 0;
}

}  // namespace liquid
