// The two gRPC services of proto/coordinator.proto. They turn calls into events of a JobDriver and
// its orders into messages; nothing is decided here.
#ifndef LIQUID_COORDINATOR_SERVICE_H_
#define LIQUID_COORDINATOR_SERVICE_H_

#include "coordinator/job_driver.h"
#include "proto/coordinator.grpc.pb.h"

namespace liquid {

// `driver` must outlive the server that runs these.
class CoordinatorService final : public Coordinator::CallbackService {
 public:
  explicit CoordinatorService(JobDriver& driver) : driver_(driver) {}

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
  JobDriver& driver_;
};

class GangService final : public Gang::CallbackService {
 public:
  explicit GangService(JobDriver& driver) : driver_(driver) {}

  grpc::ServerUnaryReactor* OpenJob(grpc::CallbackServerContext* context,
                                    const OpenJobRequest* request, OpenJobReply* reply) override;
  grpc::ServerBidiReactor<GangMessage, Order>* Connect(
      grpc::CallbackServerContext* context) override;

 private:
  JobDriver& driver_;
};

}  // namespace liquid

#endif  // LIQUID_COORDINATOR_SERVICE_H_
