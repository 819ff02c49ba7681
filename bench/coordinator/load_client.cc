#include "bench/coordinator/load_client.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/hash.h"
#include "base/mutex.h"
#include "proto/coordinator.grpc.pb.h"

namespace liquid {
namespace {

std::string FingerprintOf(int64_t step) { return ToHex(HashBytes(absl::StrCat("step ", step))); }

// What is the same for all gangs.
struct LoadJob {
  Job job;
  std::string digest;
  JobStream stream;
  LoadLog* log;
};

class Leader final : public LoadGang, public grpc::ClientBidiReactor<GangMessage, Order> {
 public:
  Leader(const LoadJob& job, int index, std::shared_ptr<grpc::Channel> channel)
      : job_(job), index_(index), stub_(Gang::NewStub(std::move(channel))) {
    context_.set_wait_for_ready(true);  // many dial at once
    stub_->async()->Connect(&context_, this);
    AddHold();  // DoStep and SendHeartbeat write from outside of the reactions
    StartRead(&order_);
    StartCall();
    MutexLock lock(mutex_);
    GangMessage message;
    *message.mutable_join() = MakeJoin();
    Send(std::move(message));
  }

  ~Leader() override {
    context_.TryCancel();  // ends the reading, if nothing has
    MutexLock lock(mutex_);
    while (!is_done_) done_.Wait(mutex_);
  }

  void BecomeReady() override {
    MutexLock lock(mutex_);
    may_be_ready_ = true;
    AnswerRegroup();
  }

  bool HasWorld() const override {
    MutexLock lock(mutex_);
    return has_world_;
  }

  int64_t applied_step() const override {
    MutexLock lock(mutex_);
    return applied_step_;
  }

  void SendHeartbeat() override {
    MutexLock lock(mutex_);
    GangMessage message;
    message.mutable_heartbeat();
    Send(std::move(message));
  }

  void DoStep(int64_t step) override {
    MutexLock lock(mutex_);
    due_step_ = step;
    if (!plans_.contains(step)) ++num_late_plans_;
    ReportWhatIsDue();
  }

  std::vector<double> TakeLatencies() override {
    MutexLock lock(mutex_);
    return std::exchange(latencies_, {});
  }

  int64_t num_late_plans() const override {
    MutexLock lock(mutex_);
    return num_late_plans_;
  }

  std::string error() const override {
    MutexLock lock(mutex_);
    return error_;
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      {
        MutexLock lock(mutex_);
        is_closed_ = true;
      }
      RemoveHold();
      return;
    }
    const absl::Time now = absl::Now();
    job_.log->num_messages.fetch_add(1, std::memory_order_relaxed);
    {
      MutexLock lock(mutex_);
      Obey(order_, now);
    }
    StartRead(&order_);
  }

  void OnWriteDone(bool ok) override {
    MutexLock lock(mutex_);
    writing_.reset();
    if (ok && !is_closed_ && !waiting_.empty()) WriteNext();
  }

  void OnDone(const grpc::Status& status) override {
    job_.log->num_ended.fetch_add(1);
    MutexLock lock(mutex_);
    error_ = absl::StrCat(static_cast<int>(status.error_code()), " ", status.error_message());
    is_done_ = true;
    done_.SignalAll();
  }

 private:
  Join MakeJoin() const {
    Join join;
    join.set_name(absl::StrCat("node", index_, ":1"));
    join.set_host(absl::StrCat("node", index_));
    join.set_num_ranks(1);
    join.set_tensor_parallel(job_.job.model().tensor_parallel());
    join.set_job_digest(job_.digest);
    join.set_dataset_digest("of rows that nobody reads");
    join.set_num_rows(job_.stream.order().num_rows());
    join.set_code_version("load");
    join.set_recipe("load");
    join.set_applied_step(0);
    join.set_fingerprint(FingerprintOf(0));
    join.add_data_addresses(absl::StrCat("10.0.", index_ / 256, ".", index_ % 256, ":40000"));
    return join;
  }

  void Obey(const Order& order, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (order.has_welcome()) {
      job_.log->num_welcomed.fetch_add(1);
    } else if (order.has_regroup()) {
      regroup_ = order.regroup();
      has_world_ = false;
      AnswerRegroup();
    } else if (order.has_world()) {
      if (!regroup_.has_value() || order.world().generation() != regroup_->generation()) return;
      has_world_ = true;
      applied_step_ = order.world().step();
      plans_.clear();
    } else if (order.has_plan()) {
      TakePlan(order.plan(), now);
    } else if (order.has_release()) {
      GangMessage message;
      Released& released = *message.mutable_released();
      released.set_generation(order.release().generation());
      released.set_step(order.release().step());
      Send(std::move(message));
    }
  }

  void TakePlan(const Plan& plan, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const bool is_new = !plans_.contains(plan.step());
    plans_[plan.step()] = plan;
    const int64_t freed_by = plan.step() - job_.job.coordinator().lease_window();
    if (is_new && freed_by >= 1) {
      const absl::Time sent = job_.log->LastReport(freed_by);
      if (sent != absl::InfinitePast()) latencies_.push_back(absl::ToDoubleSeconds(now - sent));
    }
    ReportWhatIsDue();
  }

  void AnswerRegroup() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!may_be_ready_ || !regroup_.has_value() || has_world_) return;
    if (applied_step_ < regroup_->after_step()) return;  // ReportWhatIsDue comes back here
    GangMessage message;
    Ready& ready = *message.mutable_ready();
    ready.set_generation(regroup_->generation());
    ready.set_applied_step(applied_step_);
    ready.set_fingerprint(FingerprintOf(applied_step_));
    Send(std::move(message));
  }

  void ReportWhatIsDue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const int64_t step = applied_step_ + 1;
    const auto plan = plans_.find(step);
    if (due_step_ != step || plan == plans_.end()) return;
    job_.log->NoteReport(step);
    GangMessage message;
    StepReport& report = *message.mutable_step();
    report.set_generation(plan->second.generation());
    report.set_step(step);
    report.set_loss(1.0 / static_cast<double>(step));
    report.set_target_tokens(1000);
    report.set_tokens(1024);
    report.set_gradient_norm(1);
    report.set_learning_rate(1e-3);
    report.set_fingerprint(FingerprintOf(step));
    *report.mutable_slots() = plan->second.slots();
    report.set_stream_begin(job_.stream.StreamBegin(step));
    report.set_stream_end(job_.stream.StreamEnd(step));
    report.set_step_seconds(1);
    report.set_compute_seconds(0.9);
    Send(std::move(message));
    plans_.erase(plans_.begin(), std::next(plan));
    applied_step_ = step;
    if (regroup_.has_value() && !has_world_) AnswerRegroup();
  }

  void Send(GangMessage message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (is_closed_) return;
    job_.log->num_messages.fetch_add(1, std::memory_order_relaxed);
    waiting_.push_back(std::move(message));
    if (!writing_.has_value()) WriteNext();
  }

  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    writing_ = std::move(waiting_.front());
    waiting_.pop_front();
    StartWrite(&*writing_);
  }

  const LoadJob& job_;
  const int index_;
  const std::unique_ptr<Gang::Stub> stub_;
  grpc::ClientContext context_;
  Order order_;  // being read

  mutable Mutex mutex_;
  CondVar done_;
  bool is_closed_ ABSL_GUARDED_BY(mutex_) = false;  // nothing more is written
  bool is_done_ ABSL_GUARDED_BY(mutex_) = false;
  std::string error_ ABSL_GUARDED_BY(mutex_);
  std::deque<GangMessage> waiting_ ABSL_GUARDED_BY(mutex_);
  std::optional<GangMessage> writing_ ABSL_GUARDED_BY(mutex_);
  bool may_be_ready_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<Regroup> regroup_ ABSL_GUARDED_BY(mutex_);  // the newest
  bool has_world_ ABSL_GUARDED_BY(mutex_) = false;          // of it
  int64_t applied_step_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t due_step_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<int64_t, Plan> plans_ ABSL_GUARDED_BY(mutex_);  // of steps that are not done
  std::vector<double> latencies_ ABSL_GUARDED_BY(mutex_);
  int64_t num_late_plans_ ABSL_GUARDED_BY(mutex_) = 0;
};

std::shared_ptr<grpc::Channel> Dial(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // else all share one connection
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

void LoadLog::NoteReport(int64_t step) {
  if (step < static_cast<int64_t>(sent_.size())) {
    sent_[static_cast<size_t>(step)] = absl::ToUnixNanos(absl::Now());
  }
}

absl::Time LoadLog::LastReport(int64_t step) const {
  if (step >= static_cast<int64_t>(sent_.size())) return absl::InfinitePast();
  const int64_t nanos = sent_[static_cast<size_t>(step)];
  return nanos == 0 ? absl::InfinitePast() : absl::FromUnixNanos(nanos);
}

absl::StatusOr<std::vector<std::unique_ptr<LoadGang>>> JoinGangs(const LoadOptions& options,
                                                                 LoadLog* log) {
  OpenJobReply reply;
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(10)));
  const grpc::Status status =
      Gang::NewStub(Dial(options.coordinator))->OpenJob(&context, OpenJobRequest(), &reply);
  if (!status.ok()) return absl::UnavailableError(status.error_message());
  const Training& training = reply.job().training();
  // Lives as long as the process: the gangs refer to it.
  static const LoadJob* const job = new LoadJob{
      reply.job(), reply.job_digest(),
      JobStream(EpochOrder(training.seed(), options.num_rows, reply.job().data().shuffle()),
                training.epochs(), training.slots_per_step(), training.rows_per_slot()),
      log};
  std::vector<std::unique_ptr<LoadGang>> gangs;
  std::shared_ptr<grpc::Channel> channel;
  for (int index = 0; index < options.num_gangs; ++index) {
    if (index % options.gangs_per_connection == 0) channel = Dial(options.coordinator);
    gangs.push_back(std::make_unique<Leader>(*job, index + 1, channel));
  }
  return gangs;
}

}  // namespace liquid
