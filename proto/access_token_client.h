// How a client of the coordinator shows its access token.
#ifndef LIQUID_PROTO_ACCESS_TOKEN_CLIENT_H_
#define LIQUID_PROTO_ACCESS_TOKEN_CLIENT_H_

#include <string>

#include <grpcpp/client_context.h>

namespace liquid {

// For one call, before it begins. Nothing if `token` is empty.
void AddAccessToken(const std::string& token, grpc::ClientContext& context);

}  // namespace liquid

#endif  // LIQUID_PROTO_ACCESS_TOKEN_CLIENT_H_
