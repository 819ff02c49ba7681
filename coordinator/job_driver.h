// Runs a JobMachine in the world: feeds it events and time, writes its entries to the ledger, hands
// its orders to the gangs' streams, its status to watchers. Knows nothing of gRPC.
#ifndef LIQUID_COORDINATOR_JOB_DRIVER_H_
#define LIQUID_COORDINATOR_JOB_DRIVER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "coordinator/job_machine.h"
#include "coordinator/ledger.h"
#include "coordinator/metrics_log.h"

namespace liquid {

// A gang's stream. The driver calls these while it holds its lock: they must return at once and may
// not call back.
class GangPeer {
 public:
  virtual ~GangPeer() = default;
  virtual void Send(SharedOrder order) = 0;
  virtual void Close(const absl::Status& status) = 0;  // after what was sent; the last call
};

// Somebody who wants to see every change of the status. As GangPeer: returns at once.
class Watcher {
 public:
  virtual ~Watcher() = default;
  virtual void Show(const JobStatus& status, bool is_last) = 0;
};

// Any thread may call anything.
class JobDriver {
 public:
  // Opens the ledger of `job.output()`, and writes job.yaml beside it. InvalidArgument, naming the
  // fields, if the ledger is another job's; FailedPrecondition if another coordinator holds it.
  // A pause recorded in the ledger ends here unless `keep_pause`. `clock` must outlive the driver.
  static absl::StatusOr<std::unique_ptr<JobDriver>> Open(const Job& job, const Clock& clock,
                                                         bool keep_pause);
  ~JobDriver();

  const Job& job() const { return job_; }
  const std::string& job_digest() const { return job_digest_; }
  void SetAddress(const std::string& address);  // what status() tells people

  // A gang asks in over `peer`, which must live until Disconnect returns. As JobMachine::OnJoin.
  // If the gang has another peer still, that one is closed, and not heard any more.
  absl::StatusOr<int64_t> Join(const liquid::Join& join, GangPeer* peer);
  void OnMessage(int64_t gang, const GangPeer* peer, const GangMessage& message);
  void Disconnect(int64_t gang, const GangPeer* peer);

  absl::StatusOr<std::string> Act(Verb verb, const std::string& who);
  absl::StatusOr<std::string> Drain(int64_t gang, const std::string& who);
  JobStatus GetStatus();
  // Shows the present status at once, then every change until Unwatch returns or the job ends. A
  // status lists all gangs: with many of them, several changes may be shown as one.
  void Watch(Watcher* watcher);
  void Unwatch(Watcher* watcher);

  bool HasEnded();
  // Blocks until the job has ended, or Stop was called; returns its state then.
  JobState WaitUntilEnded();
  // Why the job failed; OK if it did not.
  absl::Status Failure();
  // Closes all streams with Unavailable, and the ledger; no event has an effect any more.
  void Stop();

 private:
  JobDriver(const Job& job, const Clock& clock);
  absl::Status OpenLedger(bool keep_pause);
  absl::Status CheckSameJob(const JobOpened& opened) const;
  void TickUntilStopped();

  void Execute(Actions actions) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool AppendToLedger(const Actions& actions) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Break(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CloseGang(int64_t gang, const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsPeerOf(int64_t gang, const GangPeer* peer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ShowChange() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  JobStatus StatusNow() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasEndedNow() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Job job_;
  const std::string job_digest_;
  const Clock& clock_;

  Mutex mutex_;
  CondVar changed_;  // ended, stopped or broken
  std::unique_ptr<JobMachine> machine_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Ledger> ledger_ ABSL_GUARDED_BY(mutex_);
  MetricsLog metrics_ ABSL_GUARDED_BY(mutex_);
  std::map<int64_t, GangPeer*> peers_ ABSL_GUARDED_BY(mutex_);
  std::set<Watcher*> watchers_ ABSL_GUARDED_BY(mutex_);
  int64_t shown_version_ ABSL_GUARDED_BY(mutex_) = -1;  // JobMachine::version()
  absl::Time shown_at_ ABSL_GUARDED_BY(mutex_);
  bool end_was_shown_ ABSL_GUARDED_BY(mutex_) = false;
  std::string address_ ABSL_GUARDED_BY(mutex_);
  absl::Status broken_ ABSL_GUARDED_BY(mutex_);  // the ledger cannot be written
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  bool is_stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread ticker_;
};

}  // namespace liquid

#endif  // LIQUID_COORDINATOR_JOB_DRIVER_H_
