#include "coordinator/guarded_service.h"

#include <string_view>

#include "proto/access_token.h"

namespace liquid {
namespace {

// A stream that ends before anything is read from it or written to it.
class RefusedWatch final : public grpc::ServerWriteReactor<JobStatus> {
 public:
  explicit RefusedWatch(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

class RefusedGang final : public grpc::ServerBidiReactor<GangMessage, Order> {
 public:
  explicit RefusedGang(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

grpc::ServerUnaryReactor* Refuse(grpc::CallbackServerContext* context, const grpc::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(status);
  return reactor;
}

}  // namespace

grpc::Status CheckAccessToken(const grpc::CallbackServerContext& context,
                              const std::string& token) {
  const auto range = context.client_metadata().equal_range(kAuthorizationKey);
  if (range.first == range.second) {
    return grpc::Status(grpc::StatusCode::UNAUTHENTICATED,
                        "the access token is missing (give --token-file FILE)");
  }
  for (auto it = range.first; it != range.second; ++it) {
    if (IsBearerOf(std::string_view(it->second.data(), it->second.size()), token)) {
      return grpc::Status::OK;
    }
  }
  return grpc::Status(grpc::StatusCode::UNAUTHENTICATED,
                      "the access token differs from the coordinator's (look at --token-file)");
}

grpc::ServerUnaryReactor* GuardedCoordinatorService::GetStatus(grpc::CallbackServerContext* context,
                                                               const GetStatusRequest* request,
                                                               JobStatus* reply) {
  const grpc::Status status = CheckAccessToken(*context, token_);
  return status.ok() ? guarded_.GetStatus(context, request, reply) : Refuse(context, status);
}

grpc::ServerWriteReactor<JobStatus>* GuardedCoordinatorService::Watch(
    grpc::CallbackServerContext* context, const WatchRequest* request) {
  const grpc::Status status = CheckAccessToken(*context, token_);
  return status.ok() ? guarded_.Watch(context, request) : new RefusedWatch(status);
}

grpc::ServerUnaryReactor* GuardedCoordinatorService::Pause(grpc::CallbackServerContext* context,
                                                           const PauseRequest* request,
                                                           ActionReply* reply) {
  const grpc::Status status = CheckAccessToken(*context, token_);
  return status.ok() ? guarded_.Pause(context, request, reply) : Refuse(context, status);
}

grpc::ServerUnaryReactor* GuardedCoordinatorService::Resume(grpc::CallbackServerContext* context,
                                                            const ResumeRequest* request,
                                                            ActionReply* reply) {
  const grpc::Status status = CheckAccessToken(*context, token_);
  return status.ok() ? guarded_.Resume(context, request, reply) : Refuse(context, status);
}

grpc::ServerUnaryReactor* GuardedCoordinatorService::CheckpointNow(
    grpc::CallbackServerContext* context, const CheckpointNowRequest* request, ActionReply* reply) {
  const grpc::Status status = CheckAccessToken(*context, token_);
  return status.ok() ? guarded_.CheckpointNow(context, request, reply) : Refuse(context, status);
}

grpc::ServerUnaryReactor* GuardedCoordinatorService::Stop(grpc::CallbackServerContext* context,
                                                          const StopRequest* request,
                                                          ActionReply* reply) {
  const grpc::Status status = CheckAccessToken(*context, token_);
  return status.ok() ? guarded_.Stop(context, request, reply) : Refuse(context, status);
}

grpc::ServerUnaryReactor* GuardedCoordinatorService::Drain(grpc::CallbackServerContext* context,
                                                           const DrainRequest* request,
                                                           ActionReply* reply) {
  const grpc::Status status = CheckAccessToken(*context, token_);
  return status.ok() ? guarded_.Drain(context, request, reply) : Refuse(context, status);
}

grpc::ServerUnaryReactor* GuardedGangService::OpenJob(grpc::CallbackServerContext* context,
                                                      const OpenJobRequest* request,
                                                      OpenJobReply* reply) {
  const grpc::Status status = CheckAccessToken(*context, token_);
  return status.ok() ? guarded_.OpenJob(context, request, reply) : Refuse(context, status);
}

grpc::ServerBidiReactor<GangMessage, Order>* GuardedGangService::Connect(
    grpc::CallbackServerContext* context) {
  const grpc::Status status = CheckAccessToken(*context, token_);
  return status.ok() ? guarded_.Connect(context) : new RefusedGang(status);
}

}  // namespace liquid
