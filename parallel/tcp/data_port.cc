#include "parallel/tcp/data_port.h"

#include <unistd.h>

#include <random>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace liquid {

absl::StatusOr<std::unique_ptr<DataPort>> DataPort::Open(const std::string& host) {
  std::unique_ptr<DataPort> port(new DataPort);
  SocketAddress address;
  address.host_id = HostId();
  std::random_device random;
  address.unix_name = absl::StrCat("liquid-", getpid(), "-", random(), random());
  LIQUID_ASSIGN_OR_RETURN(port->unix_, ListenOnUnix(address.unix_name));
  LIQUID_ASSIGN_OR_RETURN(port->tcp_, ListenOnTcp(host, &address));
  port->address_ = address.ToWord();
  return port;
}

}  // namespace liquid
