#include "proto/access_token_client.h"

#include "proto/access_token.h"

namespace liquid {

void AddAccessToken(const std::string& token, grpc::ClientContext& context) {
  if (!token.empty()) context.AddMetadata(kAuthorizationKey, BearerOf(token));
}

}  // namespace liquid
