#include "base/host_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace liquid {
namespace {

// From the range that documentation may use (RFC 5737): routed by the default route, owned by
// nobody. Connecting a datagram socket chooses the route and sends nothing.
constexpr char kElsewhere[] = "192.0.2.1";
constexpr uint16_t kAnyPort = 9;

}  // namespace

std::string HostName() {
  char name[256] = "";
  if (gethostname(name, sizeof(name) - 1) != 0 || name[0] == '\0') return "?";
  return name;
}

std::string OutgoingAddress() {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return HostName();
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(kAnyPort);
  inet_pton(AF_INET, kElsewhere, &address.sin_addr);
  socklen_t size = sizeof(address);
  char text[INET_ADDRSTRLEN] = "";
  const bool found = connect(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
                     inet_ntop(AF_INET, &address.sin_addr, text, sizeof(text)) != nullptr;
  close(fd);
  return found ? text : HostName();
}

std::string HostOf(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return "";
  const std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    return host.substr(1, host.size() - 2);
  }
  return host;
}

bool IsLoopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

bool IsAnyAddress(const std::string& host) {
  return host == "0.0.0.0" || host == "::" || host == "*";
}

}  // namespace liquid
