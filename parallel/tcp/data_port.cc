#include "parallel/tcp/data_port.h"

#include <unistd.h>

#include <cstdint>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "base/host_address.h"
#include "base/random.h"
#include "base/status.h"

namespace liquid {

absl::StatusOr<std::unique_ptr<DataPort>> DataPort::Open(const std::string& host) {
  if (IsAnyAddress(host)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "data host ", host, ": name the one address at which other gangs reach this machine"));
  }
  auto port = absl::WrapUnique(new DataPort());
  DataAddress address;
  LIQUID_ASSIGN_OR_RETURN(port->tcp_, ListenTcp(host, &address.tcp_host, &address.tcp_port));
  address.unix_name = absl::StrCat("liquid-", getpid(), "-", absl::Hex(RandomBits()));
  LIQUID_ASSIGN_OR_RETURN(port->unix_, ListenUnix(address.unix_name));
  address.host_id = HostId();
  port->address_ = address.ToString();
  return port;
}

}  // namespace liquid
