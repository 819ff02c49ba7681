// A gang's line to its coordinator: used by the gang's leader (rank 0) only.
#ifndef LIQUID_WORKER_COORDINATOR_CLIENT_H_
#define LIQUID_WORKER_COORDINATOR_CLIENT_H_

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "proto/coordinator.pb.h"
#include "worker/coordinator_line.h"

namespace liquid {

// Reports are sent without waiting for an answer; orders arrive in the background, so that in a
// healthy job the next plan is here before it is needed. When the line breaks, the client dials
// again and takes up its membership, while the gang works on with the plans that it holds.
// Thread-safe.
class CoordinatorClient {
 public:
  static constexpr int kHeartbeatsPerTimeout = 4;
  static constexpr int kRedialTimeouts = 24;  // how long a lost coordinator is dialled

  struct Options {
    std::string address;           // HOST:PORT
    std::string token;             // access token; empty: none
    Sentinel* sentinel = nullptr;  // lent the connection, so that the coordinator learns of this
                                   // process's death at once
    absl::Duration connect_timeout = absl::Seconds(10);
  };
  // Connects. Unavailable if nobody answers in time.
  static absl::StatusOr<std::unique_ptr<CoordinatorClient>> Connect(Options options);
  ~CoordinatorClient();

  absl::StatusOr<OpenJobReply> OpenJob();

  // Enters the job. FailedPrecondition, with both values, if the coordinator refuses. Heartbeats
  // and redialling derive from `heartbeat_timeout`; OUTPUT/coordinator.json of `output` is looked
  // at for a coordinator that came back at another address.
  absl::StatusOr<Welcome> Join(const liquid::Join& join, absl::Duration heartbeat_timeout,
                               const std::string& output);
  // This gang's number; another one after a new coordinator gave one.
  int64_t gang();

  // Called by another thread, at once, when the coordinator orders to regroup without delay.
  void SetInterrupt(std::function<void(int64_t generation)> interrupt);

  // Waits until the ledger has step `step`: only then may its checkpoint be published. Aborted if
  // the gang is to regroup first; Unavailable if the coordinator is gone for good; Cancelled once
  // `give_up` is true.
  absl::Status WaitCommitted(int64_t step, const std::function<bool()>& give_up);
  int64_t committed_step();  // the highest that the coordinator told of

  // The next order but for `committed`, if one comes within `timeout`. An error once the line is
  // gone for good and all its orders have been taken. REQUIRES: joined.
  absl::StatusOr<std::optional<Order>> NextOrder(absl::Duration timeout);
  // An eventfd, readable while NextOrder would return at once.
  int wake_fd() const { return wake_fd_; }

  // Never waits. Lost if the line breaks meanwhile: what matters is said again in `ready`.
  void Send(const GangMessage& message);

  // Says goodbye and waits until the coordinator has heard it (it closes the stream), or 5 s.
  void Leave(const liquid::Leave& leave);

 private:
  explicit CoordinatorClient(Options options);
  void ReadUntilClosed();
  void Take(Order order);
  absl::Status Redial();
  absl::Status DialAndJoin(const std::string& address);
  void WriteUntilClosed();
  void Close(const absl::Status& why);
  void UpdateWake() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  std::string output_;
  absl::Duration heartbeat_timeout_;
  int wake_fd_ = -1;

  Mutex mutex_;
  CondVar changed_;
  std::shared_ptr<CoordinatorLine> line_ ABSL_GUARDED_BY(mutex_);  // the newest one
  liquid::Join join_ ABSL_GUARDED_BY(mutex_);                      // what to say at the next dial
  std::deque<Order> orders_ ABSL_GUARDED_BY(mutex_);
  std::deque<GangMessage> outgoing_ ABSL_GUARDED_BY(mutex_);
  int64_t committed_step_ ABSL_GUARDED_BY(mutex_) = 0;
  bool must_regroup_ ABSL_GUARDED_BY(mutex_) = false;  // at once: it is not answered yet
  bool is_closed_ ABSL_GUARDED_BY(mutex_) = false;     // no more orders will come
  bool is_leaving_ ABSL_GUARDED_BY(mutex_) = false;    // no more dialling
  absl::Status why_closed_ ABSL_GUARDED_BY(mutex_);
  std::function<void(int64_t)> interrupt_ ABSL_GUARDED_BY(mutex_);
  std::thread reader_;
  std::thread writer_;
};

}  // namespace liquid

#endif  // LIQUID_WORKER_COORDINATOR_CLIENT_H_
