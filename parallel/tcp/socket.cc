#include "parallel/tcp/socket.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/hash.h"

namespace liquid {
namespace {

constexpr int kBacklog = 512;
constexpr int kUnixBufferBytes = 1 << 20;
constexpr int kTcpBufferBytes = 4 << 20;

sockaddr_un UnixAddress(const std::string& name, socklen_t* size) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  // The leading zero makes it abstract: it goes with its process.
  std::memcpy(address.sun_path + 1, name.data(),
              std::min(name.size(), sizeof(address.sun_path) - 2));
  *size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return address;
}

std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> Resolve(const std::string& host, int port,
                                                           int flags) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), absl::StrCat(port).c_str(), &hints, &found) != 0) found = nullptr;
  return {found, &freeaddrinfo};
}

void SetOption(int fd, int level, int option, int value) {
  setsockopt(fd, level, option, &value, sizeof(value));
}

}  // namespace

void Descriptor::Reset(int fd) {
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
}

void Descriptor::Hangup() {
  if (fd_ >= 0) shutdown(fd_, SHUT_RDWR);
  Reset(-1);
}

std::string SocketAddress::ToWord() const {
  return absl::StrCat(host_id, "|", unix_name, "|", tcp_host, "|", tcp_port);
}

absl::StatusOr<SocketAddress> SocketAddress::FromWord(const std::string& word) {
  const std::vector<std::string> parts = absl::StrSplit(word, '|');
  SocketAddress address;
  if (parts.size() != 4 || !absl::SimpleAtoi(parts[3], &address.tcp_port) || parts[1].empty() ||
      parts[1].size() > 100) {
    return absl::InvalidArgumentError(absl::StrCat("'", word, "' is no address of a data port"));
  }
  address.host_id = parts[0];
  address.unix_name = parts[1];
  address.tcp_host = parts[2];
  return address;
}

std::string HostId() {
  struct stat network = {};
  stat("/proc/self/ns/net", &network);
  const std::string boot = ReadFile("/proc/sys/kernel/random/boot_id").value_or("");
  return ToHex(HashBytes(absl::StrCat(boot, " ", network.st_ino)));
}

absl::StatusOr<Descriptor> ListenOnUnix(const std::string& name) {
  Descriptor listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  socklen_t size = 0;
  const sockaddr_un address = UnixAddress(name, &size);
  if (!listener.is_open() ||
      bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      listen(listener.get(), kBacklog) != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on the Unix socket ", name, ": ", std::strerror(errno)));
  }
  return listener;
}

absl::StatusOr<Descriptor> ListenOnTcp(const std::string& host, SocketAddress* address) {
  const auto found = Resolve(host, 0, AI_PASSIVE);
  if (found == nullptr) {
    return absl::UnavailableError(absl::StrCat("'", host, "' is no address; see --data-host"));
  }
  Descriptor listener(socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_storage bound = {};
  socklen_t size = sizeof(bound);
  if (!listener.is_open() || bind(listener.get(), found->ai_addr, found->ai_addrlen) != 0 ||
      listen(listener.get(), kBacklog) != 0 ||
      getsockname(listener.get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", host, ": ", std::strerror(errno), "; see --data-host"));
  }
  char numeric[NI_MAXHOST] = "";
  char port[NI_MAXSERV] = "";
  getnameinfo(reinterpret_cast<sockaddr*>(&bound), size, numeric, sizeof(numeric), port,
              sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
  address->tcp_host = numeric;
  if (!absl::SimpleAtoi(port, &address->tcp_port)) return absl::InternalError("no port");
  return listener;
}

Descriptor BeginToConnect(const SocketAddress& address) {
  if (address.host_id == HostId()) {
    Descriptor connection(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    socklen_t size = 0;
    const sockaddr_un target = UnixAddress(address.unix_name, &size);
    const bool ok =
        connect(connection.get(), reinterpret_cast<const sockaddr*>(&target), size) == 0;
    return ok ? std::move(connection) : Descriptor();
  }
  const auto found = Resolve(address.tcp_host, address.tcp_port, AI_NUMERICHOST);
  if (found == nullptr) return Descriptor();
  Descriptor connection(socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const bool ok =
      connect(connection.get(), found->ai_addr, found->ai_addrlen) == 0 || errno == EINPROGRESS;
  return ok ? std::move(connection) : Descriptor();
}

void TuneConnection(int fd, int64_t timeout_ms) {
  int domain = 0;
  socklen_t size = sizeof(domain);
  getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size);
  const int buffer = domain == AF_UNIX ? kUnixBufferBytes : kTcpBufferBytes;
  SetOption(fd, SOL_SOCKET, SO_SNDBUF, buffer);
  SetOption(fd, SOL_SOCKET, SO_RCVBUF, buffer);
  if (domain == AF_UNIX) return;
  SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  SetOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, 1);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, 1);
  SetOption(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(timeout_ms));
}

}  // namespace liquid
