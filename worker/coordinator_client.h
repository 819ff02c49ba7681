// A gang's line to its coordinator: used by the gang's leader (rank 0) only.
#ifndef LIQUID_WORKER_COORDINATOR_CLIENT_H_
#define LIQUID_WORKER_COORDINATOR_CLIENT_H_

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "proto/coordinator.grpc.pb.h"

namespace liquid {

// Reports are sent without waiting for an answer; orders arrive in the background, so that in a
// healthy job the next plan is here before it is needed. Thread-safe.
class CoordinatorClient {
 public:
  // Connects to HOST:PORT. Unavailable if nobody answers there within `timeout`.
  static absl::StatusOr<std::unique_ptr<CoordinatorClient>> Connect(const std::string& address,
                                                                    absl::Duration timeout);
  ~CoordinatorClient();

  absl::StatusOr<OpenJobReply> OpenJob();

  // Enters the job. FailedPrecondition, with both values, if the coordinator refuses.
  absl::StatusOr<Welcome> Join(const liquid::Join& join, absl::Duration heartbeat_interval);

  // Waits until the ledger has step `step`: only then may its checkpoint be published. Unavailable
  // if the coordinator is gone before it said so.
  absl::Status WaitCommitted(int64_t step);

  // The next order but for `committed`, if one comes within `timeout`. Unavailable once the
  // coordinator is gone and all its orders have been taken. REQUIRES: joined.
  absl::StatusOr<std::optional<Order>> NextOrder(absl::Duration timeout);

  void Send(const GangMessage& message);

  // Says goodbye and waits until the coordinator has heard it (it closes the stream), or 5 s.
  void Leave(const liquid::Leave& leave);

 private:
  explicit CoordinatorClient(std::shared_ptr<grpc::Channel> channel);
  void ReadOrders();
  absl::Status WhyClosed() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SendHeartbeats(absl::Duration interval);

  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<Gang::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<GangMessage, Order>> stream_;

  Mutex write_mutex_;  // one writer at a time on stream_
  Mutex mutex_;
  CondVar changed_;
  std::deque<Order> orders_ ABSL_GUARDED_BY(mutex_);
  int64_t committed_step_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;  // no more orders will come
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status why_closed_ ABSL_GUARDED_BY(mutex_);
  std::thread reader_;
  std::thread heartbeats_;
};

}  // namespace liquid

#endif  // LIQUID_WORKER_COORDINATOR_CLIENT_H_
