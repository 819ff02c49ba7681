// The two services of proto/coordinator.proto for those alone who show the job's access token.
//
// Each call is looked at before the service behind sees it. (A gRPC interceptor would see it too,
// but can only change how a call ends, not keep it from taking effect.) A call that is not passed
// on here answers UNIMPLEMENTED: none can be open by being forgotten.
#ifndef LIQUID_COORDINATOR_GUARDED_SERVICE_H_
#define LIQUID_COORDINATOR_GUARDED_SERVICE_H_

#include <string>

#include "proto/coordinator.grpc.pb.h"

namespace liquid {

// UNAUTHENTICATED unless the call's metadata has `authorization: Bearer TOKEN`.
grpc::Status CheckAccessToken(const grpc::CallbackServerContext& context, const std::string& token);

// `guarded` must outlive this.
class GuardedCoordinatorService final : public Coordinator::CallbackService {
 public:
  GuardedCoordinatorService(std::string token, Coordinator::CallbackService& guarded)
      : token_(std::move(token)), guarded_(guarded) {}

  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* context,
                                      const GetStatusRequest* request, JobStatus* reply) override;
  grpc::ServerWriteReactor<JobStatus>* Watch(grpc::CallbackServerContext* context,
                                             const WatchRequest* request) override;
  grpc::ServerUnaryReactor* Pause(grpc::CallbackServerContext* context, const PauseRequest* request,
                                  ActionReply* reply) override;
  grpc::ServerUnaryReactor* Resume(grpc::CallbackServerContext* context,
                                   const ResumeRequest* request, ActionReply* reply) override;
  grpc::ServerUnaryReactor* CheckpointNow(grpc::CallbackServerContext* context,
                                          const CheckpointNowRequest* request,
                                          ActionReply* reply) override;
  grpc::ServerUnaryReactor* Stop(grpc::CallbackServerContext* context, const StopRequest* request,
                                 ActionReply* reply) override;
  grpc::ServerUnaryReactor* Drain(grpc::CallbackServerContext* context, const DrainRequest* request,
                                  ActionReply* reply) override;

 private:
  const std::string token_;
  Coordinator::CallbackService& guarded_;
};

class GuardedGangService final : public Gang::CallbackService {
 public:
  GuardedGangService(std::string token, Gang::CallbackService& guarded)
      : token_(std::move(token)), guarded_(guarded) {}

  grpc::ServerUnaryReactor* OpenJob(grpc::CallbackServerContext* context,
                                    const OpenJobRequest* request, OpenJobReply* reply) override;
  grpc::ServerBidiReactor<GangMessage, Order>* Connect(
      grpc::CallbackServerContext* context) override;

 private:
  const std::string token_;
  Gang::CallbackService& guarded_;
};

}  // namespace liquid

#endif  // LIQUID_COORDINATOR_GUARDED_SERVICE_H_
