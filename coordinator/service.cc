#include "coordinator/service.h"

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/mutex.h"

namespace liquid {
namespace {

// A watcher that reads slower than steps come gets the newest status instead of all of them.
constexpr size_t kMaxUnreadStatuses = 64;

grpc::Status ToGrpc(const absl::Status& status) {
  // The codes agree, number for number.
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

// The messages that wait for their turn on a stream: gRPC takes one at a time, and the end of the
// stream only after the last. One thread at a time: its owner locks.
template <typename Message, typename Reactor>
class Outbox {
 public:
  explicit Outbox(Reactor* reactor) : reactor_(reactor) {}

  void Add(std::shared_ptr<const Message> message) {
    if (end_.has_value()) return;
    waiting_.push_back(std::move(message));
    if (writing_ == nullptr) WriteNext();
  }
  // As Add, but drops the oldest waiting message beyond `limit`.
  void AddBounded(std::shared_ptr<const Message> message, size_t limit) {
    if (waiting_.size() >= limit) waiting_.pop_front();
    Add(std::move(message));
  }
  // Ends the stream once everything is written. Only the first call counts.
  void End(const grpc::Status& status) {
    if (end_.has_value()) return;
    end_ = status;
    if (writing_ == nullptr) reactor_->Finish(*end_);
  }
  // To be called when the reactor is told that a write is done.
  void Written(bool ok) {
    writing_.reset();
    if (!ok) waiting_.clear();
    if (!waiting_.empty()) {
      WriteNext();
    } else if (end_.has_value()) {
      reactor_->Finish(*end_);
    }
  }
  bool has_ended() const { return end_.has_value(); }

 private:
  void WriteNext() {
    writing_ = std::move(waiting_.front());
    waiting_.pop_front();
    reactor_->StartWrite(writing_.get());
  }

  Reactor* const reactor_;
  std::deque<std::shared_ptr<const Message>> waiting_;
  std::shared_ptr<const Message> writing_;  // gRPC reads it until it says Written
  std::optional<grpc::Status> end_;
};

// One call of Gang.Connect. Deletes itself when gRPC is done with it.
class GangStream final : public grpc::ServerBidiReactor<GangMessage, Order>, public GangPeer {
 public:
  explicit GangStream(JobDriver& driver) : driver_(driver), outbox_(this) { StartRead(&message_); }

  void Send(SharedOrder order) override {
    MutexLock lock(mutex_);
    outbox_.Add(std::move(order));
  }

  void Close(const absl::Status& status) override {
    MutexLock lock(mutex_);
    outbox_.End(ToGrpc(status));
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      LeaveDriver();
      Close(absl::OkStatus());
      return;
    }
    if (gang_ != 0) {
      driver_.OnMessage(gang_, this, message_);
    } else if (const absl::Status status = Join(); !status.ok()) {
      Close(status);
    }
    MutexLock lock(mutex_);
    if (!outbox_.has_ended()) StartRead(&message_);
  }

  void OnWriteDone(bool ok) override {
    MutexLock lock(mutex_);
    outbox_.Written(ok);
  }

  void OnDone() override {
    LeaveDriver();
    delete this;
  }

 private:
  absl::Status Join() {
    if (!message_.has_join()) {
      return absl::FailedPreconditionError("the first message must be `join`");
    }
    const auto gang = driver_.Join(message_.join(), this);
    if (gang.ok()) gang_ = *gang;
    return gang.status();
  }

  void LeaveDriver() {
    if (gang_ != 0) driver_.Disconnect(std::exchange(gang_, 0), this);
  }

  JobDriver& driver_;
  GangMessage message_;
  int64_t gang_ = 0;  // 0: not joined. Touched by gRPC's reactions only, which come one by one
  Mutex mutex_;
  Outbox<Order, GangStream> outbox_ ABSL_GUARDED_BY(mutex_);
};

// One call of Coordinator.Watch. Deletes itself when gRPC is done with it.
class WatchStream final : public grpc::ServerWriteReactor<JobStatus>, public Watcher {
 public:
  explicit WatchStream(JobDriver& driver) : driver_(driver), outbox_(this) { driver_.Watch(this); }

  void Show(const JobStatus& status, bool is_last) override {
    MutexLock lock(mutex_);
    outbox_.AddBounded(std::make_shared<const JobStatus>(status), kMaxUnreadStatuses);
    if (is_last) outbox_.End(grpc::Status::OK);
  }

  void OnWriteDone(bool ok) override {
    if (!ok) driver_.Unwatch(this);
    MutexLock lock(mutex_);
    outbox_.Written(ok);
    if (!ok) outbox_.End(grpc::Status::CANCELLED);
  }

  void OnCancel() override {
    driver_.Unwatch(this);
    MutexLock lock(mutex_);
    outbox_.End(grpc::Status::CANCELLED);
  }

  void OnDone() override {
    driver_.Unwatch(this);
    delete this;
  }

 private:
  JobDriver& driver_;
  Mutex mutex_;
  Outbox<JobStatus, WatchStream> outbox_ ABSL_GUARDED_BY(mutex_);
};

grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context, JobDriver& driver, Verb verb,
                                 const std::string& who, ActionReply* reply) {
  const auto answer = driver.Act(verb, who);
  if (answer.ok()) reply->set_message(*answer);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(answer.status()));
  return reactor;
}

}  // namespace

grpc::ServerUnaryReactor* CoordinatorService::GetStatus(grpc::CallbackServerContext* context,
                                                        const GetStatusRequest* /*request*/,
                                                        JobStatus* reply) {
  *reply = driver_.GetStatus();
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerWriteReactor<JobStatus>* CoordinatorService::Watch(
    grpc::CallbackServerContext* /*context*/, const WatchRequest* /*request*/) {
  return new WatchStream(driver_);
}

grpc::ServerUnaryReactor* CoordinatorService::Pause(grpc::CallbackServerContext* context,
                                                    const PauseRequest* request,
                                                    ActionReply* reply) {
  return Answer(context, driver_, Verb::kPause, request->who(), reply);
}

grpc::ServerUnaryReactor* CoordinatorService::Resume(grpc::CallbackServerContext* context,
                                                     const ResumeRequest* request,
                                                     ActionReply* reply) {
  return Answer(context, driver_, Verb::kResume, request->who(), reply);
}

grpc::ServerUnaryReactor* CoordinatorService::CheckpointNow(grpc::CallbackServerContext* context,
                                                            const CheckpointNowRequest* request,
                                                            ActionReply* reply) {
  return Answer(context, driver_, Verb::kCheckpointNow, request->who(), reply);
}

grpc::ServerUnaryReactor* CoordinatorService::Stop(grpc::CallbackServerContext* context,
                                                   const StopRequest* request, ActionReply* reply) {
  return Answer(context, driver_, Verb::kStop, request->who(), reply);
}

grpc::ServerUnaryReactor* CoordinatorService::Drain(grpc::CallbackServerContext* context,
                                                    const DrainRequest* request,
                                                    ActionReply* reply) {
  const auto answer = driver_.Drain(request->gang(), request->who());
  if (answer.ok()) reply->set_message(*answer);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(answer.status()));
  return reactor;
}

grpc::ServerUnaryReactor* GangService::OpenJob(grpc::CallbackServerContext* context,
                                               const OpenJobRequest* /*request*/,
                                               OpenJobReply* reply) {
  *reply->mutable_job() = driver_.job();
  reply->set_job_digest(driver_.job_digest());
  *reply->mutable_status() = driver_.GetStatus();
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerBidiReactor<GangMessage, Order>* GangService::Connect(
    grpc::CallbackServerContext* /*context*/) {
  return new GangStream(driver_);
}

}  // namespace liquid
