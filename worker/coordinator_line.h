// One connection to a coordinator, from its dialling to its end.
#ifndef LIQUID_WORKER_COORDINATOR_LINE_H_
#define LIQUID_WORKER_COORDINATOR_LINE_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "parallel/tcp/sentinel.h"
#include "proto/coordinator.grpc.pb.h"

namespace liquid {

// The address of this machine that it would reach HOST:PORT from; "127.0.0.1" if none can be told.
std::string AddressTowards(const std::string& address);

// One thread may read while others write.
class CoordinatorLine {
 public:
  // Unavailable if nobody answers at HOST:PORT in time. `sentinel` may be null, and outlives this.
  static absl::StatusOr<std::shared_ptr<CoordinatorLine>> Dial(const std::string& address,
                                                               const std::string& token,
                                                               Sentinel* sentinel,
                                                               absl::Duration timeout);
  ~CoordinatorLine();
  CoordinatorLine(const CoordinatorLine&) = delete;
  CoordinatorLine& operator=(const CoordinatorLine&) = delete;

  absl::StatusOr<OpenJobReply> OpenJob(absl::Duration timeout);

  // Once. The welcome, or why there is none; DeadlineExceeded after `timeout`.
  absl::StatusOr<Welcome> Join(const liquid::Join& join, absl::Duration timeout);

  // After Join, by one thread. False at the stream's end; then Finish says why.
  bool Read(Order* order);
  absl::Status Finish();

  void Write(const GangMessage& message);  // if the stream is broken, nothing
  void EndWriting();
  void Cancel();  // ends Read

 private:
  CoordinatorLine(int fd, std::string address, std::string token, Sentinel* sentinel);
  void Prepare(grpc::ClientContext* context) const;

  const int fd_;  // gRPC's
  const std::string address_;
  const std::string token_;
  Sentinel* const sentinel_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<Gang::Stub> stub_;
  grpc::ClientContext context_;
  Mutex write_mutex_;  // one writer at a time
  bool is_ended_ ABSL_GUARDED_BY(write_mutex_) = false;
  std::unique_ptr<grpc::ClientReaderWriter<GangMessage, Order>> stream_;
};

}  // namespace liquid

#endif  // LIQUID_WORKER_COORDINATOR_LINE_H_
