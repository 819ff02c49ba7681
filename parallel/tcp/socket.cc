#include "parallel/tcp/socket.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/host_address.h"
#include "base/status.h"

namespace liquid {
namespace {

constexpr int kBacklog = 512;
// As measured for streams of 100 MB; the kernel may grant less.
constexpr int kTcpBufferBytes = 4 << 20;
constexpr int kUnixBufferBytes = 1 << 20;

absl::Status Errno(const absl::string_view what) {
  const int error = errno;
  return absl::UnavailableError(absl::StrCat(what, ": ", std::strerror(error)));
}

void SetOption(int fd, int level, int option, int value) {
  setsockopt(fd, level, option, &value, sizeof(value));
}

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

absl::StatusOr<AddressList> Resolve(const std::string& host, const std::string& port, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) {
    return absl::UnavailableError(absl::StrCat("address ", host, ": ", gai_strerror(error)));
  }
  return AddressList(found, &freeaddrinfo);
}

socklen_t FillUnixAddress(const std::string& name, sockaddr_un* address) {
  address->sun_family = AF_UNIX;  // sun_path[0] == 0: the abstract namespace
  const size_t length = std::min(name.size(), sizeof(address->sun_path) - 1);
  std::memcpy(address->sun_path + 1, name.data(), length);
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length);
}

std::string NumericName(const sockaddr* address, socklen_t size, std::string* port) {
  char host[NI_MAXHOST] = "";
  char service[NI_MAXSERV] = "";
  if (getnameinfo(address, size, host, sizeof(host), service, sizeof(service),
                  NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "?";
  }
  *port = service;
  return host;
}

}  // namespace

Socket::~Socket() {
  if (fd_ < 0) return;
  shutdown(fd_, SHUT_RDWR);
  close(fd_);
}

std::string DataAddress::ToString() const {
  const bool is_v6 = tcp_host.find(':') != std::string::npos;
  return absl::StrCat(is_v6 ? "[" : "", tcp_host, is_v6 ? "]" : "", ":", tcp_port, ",", unix_name,
                      ",", host_id);
}

absl::StatusOr<DataAddress> DataAddress::Parse(const std::string& text) {
  const std::vector<std::string> words = absl::StrSplit(text, ',');
  const size_t colon = words[0].rfind(':');
  if (words.size() != 3 || colon == std::string::npos || HostOf(words[0]).empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text, "' is no data address: HOST:PORT,UNIX_NAME,HOST_ID"));
  }
  return DataAddress{HostOf(words[0]), words[0].substr(colon + 1), words[1], words[2]};
}

std::string HostId() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string boot;
  struct stat space {};
  if (!(file >> boot) || stat("/proc/self/ns/net", &space) != 0) return "";
  return absl::StrCat(boot, "-", space.st_ino);
}

absl::StatusOr<Socket> ListenTcp(const std::string& host, std::string* bound_host,
                                 std::string* bound_port) {
  LIQUID_ASSIGN_OR_RETURN(const AddressList found, Resolve(host, "0", AI_PASSIVE));
  Socket socket(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_storage bound{};
  socklen_t size = sizeof(bound);
  if (socket.fd() < 0 || bind(socket.fd(), found->ai_addr, found->ai_addrlen) != 0 ||
      listen(socket.fd(), kBacklog) != 0 ||
      getsockname(socket.fd(), reinterpret_cast<sockaddr*>(&bound), &size) != 0) {
    return Errno(absl::StrCat("listening at ", host, " for other gangs' data"));
  }
  *bound_host = NumericName(reinterpret_cast<sockaddr*>(&bound), size, bound_port);
  return socket;
}

absl::StatusOr<Socket> ListenUnix(const std::string& name) {
  Socket socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  const socklen_t size = FillUnixAddress(name, &address);
  if (socket.fd() < 0 || bind(socket.fd(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(socket.fd(), kBacklog) != 0) {
    return Errno(absl::StrCat("listening at the Unix socket @", name));
  }
  return socket;
}

absl::StatusOr<Socket> Dial(const DataAddress& address) {
  static const std::string* const own_host = new std::string(HostId());
  if (!own_host->empty() && address.host_id == *own_host) {
    Socket socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un to{};
    const socklen_t size = FillUnixAddress(address.unix_name, &to);
    if (socket.fd() < 0 || connect(socket.fd(), reinterpret_cast<sockaddr*>(&to), size) != 0) {
      return Errno(absl::StrCat("@", address.unix_name));
    }
    return socket;
  }
  LIQUID_ASSIGN_OR_RETURN(const AddressList found, Resolve(address.tcp_host, address.tcp_port,
                                                           AI_NUMERICHOST | AI_NUMERICSERV));
  Socket socket(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (socket.fd() >= 0) {
    // Before connecting, since the window's scale is agreed on then.
    SetOption(socket.fd(), SOL_SOCKET, SO_RCVBUF, kTcpBufferBytes);
  }
  if (socket.fd() < 0 ||
      (connect(socket.fd(), found->ai_addr, found->ai_addrlen) != 0 && errno != EINPROGRESS)) {
    return Errno(absl::StrCat(address.tcp_host, ":", address.tcp_port));
  }
  return socket;
}

absl::Status ConnectError(const Socket& socket) {
  int error = 0;
  socklen_t size = sizeof(error);
  if (getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error == 0) return absl::OkStatus();
  return absl::UnavailableError(std::strerror(error));
}

Socket Accept(int listener, std::string* who) {
  sockaddr_storage from{};
  socklen_t size = sizeof(from);
  Socket socket(
      accept4(listener, reinterpret_cast<sockaddr*>(&from), &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (socket.fd() < 0) return socket;
  if (from.ss_family == AF_UNIX) {
    *who = absl::StrCat("process ", PeerProcess(socket), " of this machine");
  } else {
    std::string port;
    *who = NumericName(reinterpret_cast<sockaddr*>(&from), size, &port);
    absl::StrAppend(who, ":", port);
  }
  return socket;
}

bool IsUnix(const Socket& socket) {
  sockaddr_storage own{};
  socklen_t size = sizeof(own);
  return getsockname(socket.fd(), reinterpret_cast<sockaddr*>(&own), &size) == 0 &&
         own.ss_family == AF_UNIX;
}

pid_t PeerProcess(const Socket& socket) {
  ucred process{};
  socklen_t size = sizeof(process);
  const int error = getsockopt(socket.fd(), SOL_SOCKET, SO_PEERCRED, &process, &size);
  return error == 0 ? process.pid : 0;
}

void Tune(const Socket& socket, absl::Duration silence) {
  if (IsUnix(socket)) {
    SetOption(socket.fd(), SOL_SOCKET, SO_SNDBUF, kUnixBufferBytes);
    return;
  }
  SetOption(socket.fd(), SOL_SOCKET, SO_SNDBUF, kTcpBufferBytes);
  SetOption(socket.fd(), SOL_SOCKET, SO_RCVBUF, kTcpBufferBytes);
  SetOption(socket.fd(), IPPROTO_TCP, TCP_NODELAY, 1);
  SetOption(socket.fd(), SOL_SOCKET, SO_KEEPALIVE, 1);
  const int64_t milliseconds = absl::ToInt64Milliseconds(silence);
  const int seconds = static_cast<int>(std::max<int64_t>(1, milliseconds / 4000));
  SetOption(socket.fd(), IPPROTO_TCP, TCP_KEEPIDLE, seconds);
  SetOption(socket.fd(), IPPROTO_TCP, TCP_KEEPINTVL, seconds);
  SetOption(socket.fd(), IPPROTO_TCP, TCP_KEEPCNT, 3);
  SetOption(socket.fd(), IPPROTO_TCP, TCP_USER_TIMEOUT,
            static_cast<int>(std::min<int64_t>(milliseconds, INT32_MAX)));
}

}  // namespace liquid
