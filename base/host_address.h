// By which name or address others reach this machine.
#ifndef LIQUID_BASE_HOST_ADDRESS_H_
#define LIQUID_BASE_HOST_ADDRESS_H_

#include <string>

namespace liquid {

// As the kernel knows it; "?" if it does not.
std::string HostName();

// The address that packets to other machines carry: of the interface that the default route takes,
// in digits ("10.0.3.7"). Without such a route, HostName(). Sends nothing.
std::string OutgoingAddress();

// HOST of "HOST:PORT", without the brackets of "[::1]:80". Empty if there is no colon.
std::string HostOf(const std::string& address);

// Whether `host` means this machine alone: localhost, 127.x.x.x or ::1.
bool IsLoopback(const std::string& host);
// Whether listening there is listening on all interfaces: 0.0.0.0, :: or *.
bool IsAnyAddress(const std::string& host);

}  // namespace liquid

#endif  // LIQUID_BASE_HOST_ADDRESS_H_
