// The access token of a job: whoever shows it to the coordinator may train and steer. It is a line
// of text in a file that its owner alone can read.
#ifndef LIQUID_PROTO_ACCESS_TOKEN_H_
#define LIQUID_PROTO_ACCESS_TOKEN_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace liquid {

// The key of gRPC metadata that carries it, and what it is called in the environment.
inline constexpr char kAuthorizationKey[] = "authorization";
inline constexpr char kTokenFileVariable[] = "LIQUID_TOKEN_FILE";

// The content of the file, without white space around it. Errors name the file: NotFound;
// PermissionDenied if anybody but its owner may read or write it; InvalidArgument if it is empty,
// has more than 4,096 bytes, or bytes in it that are not printable ASCII (gRPC takes no others).
// An empty path gives an empty token: none is asked for.
absl::StatusOr<std::string> ReadAccessToken(const std::string& path);

// "Bearer TOKEN", the value of `authorization` (RFC 6750).
std::string BearerOf(std::string_view token);

// Whether `value` is BearerOf(token). The time it takes does not tell how far they agree.
bool IsBearerOf(std::string_view value, std::string_view token);

}  // namespace liquid

#endif  // LIQUID_PROTO_ACCESS_TOKEN_H_
