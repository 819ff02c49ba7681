#include "worker/coordinator_client.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/exit_code.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status.h"
#include "nlohmann/json.hpp"

namespace liquid {
namespace {

constexpr absl::Duration kAnswerTimeout = absl::Seconds(30);  // of a coordinator that is connected
constexpr absl::Duration kGoodbyeTimeout = absl::Seconds(5);
constexpr absl::Duration kMaxRedialPause = absl::Seconds(2);

// Is it no use to dial again after this?
bool IsFinal(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:  // it missed our heartbeats
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kInternal:  // how gRPC calls many a broken connection
    case absl::StatusCode::kUnknown:
      return false;
    default:
      return true;
  }
}

// Where OUTPUT/coordinator.json says that the coordinator is now; empty if it does not.
std::string AnnouncedAddress(const std::string& output) {
  const auto text = ReadFile(JoinPath(output, "coordinator.json"));
  if (!text.ok()) return "";
  const auto json = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("address") || !json["address"].is_string()) return "";
  return json["address"].get<std::string>();
}

}  // namespace

absl::StatusOr<std::unique_ptr<CoordinatorClient>> CoordinatorClient::Connect(Options options) {
  std::unique_ptr<CoordinatorClient> client(new CoordinatorClient(std::move(options)));
  MutexLock lock(client->mutex_);
  LIQUID_ASSIGN_OR_RETURN(
      client->line_,
      CoordinatorLine::Dial(client->options_.address, client->options_.token,
                            client->options_.sentinel, client->options_.connect_timeout));
  return client;
}

CoordinatorClient::CoordinatorClient(Options options)
    : options_(std::move(options)), wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  LIQUID_CHECK(wake_fd_ >= 0, "no eventfd");
}

CoordinatorClient::~CoordinatorClient() {
  Close(absl::CancelledError("the gang ends"));
  if (reader_.joinable()) reader_.join();
  if (writer_.joinable()) writer_.join();
  close(wake_fd_);
}

absl::StatusOr<OpenJobReply> CoordinatorClient::OpenJob() {
  std::shared_ptr<CoordinatorLine> line;
  {
    MutexLock lock(mutex_);
    line = line_;
  }
  return line->OpenJob(kAnswerTimeout);
}

absl::StatusOr<Welcome> CoordinatorClient::Join(const liquid::Join& join,
                                                absl::Duration heartbeat_timeout,
                                                const std::string& output) {
  heartbeat_timeout_ = heartbeat_timeout;
  output_ = output;
  std::shared_ptr<CoordinatorLine> line;
  {
    MutexLock lock(mutex_);
    line = line_;
    join_ = join;
  }
  LIQUID_ASSIGN_OR_RETURN(const Welcome welcome, line->Join(join, kAnswerTimeout));
  {
    MutexLock lock(mutex_);
    // At the next dial: the same gang, which says in `ready` what state it has by then.
    join_.set_gang(welcome.gang());
    join_.set_applied_step(-1);
    join_.clear_fingerprint();
    join_.clear_checkpoint();
    join_.clear_manifest_digest();
  }
  reader_ = std::thread([this] { ReadUntilClosed(); });
  writer_ = std::thread([this] { WriteUntilClosed(); });
  return welcome;
}

int64_t CoordinatorClient::gang() {
  MutexLock lock(mutex_);
  return join_.gang();
}

void CoordinatorClient::SetInterrupt(std::function<void(int64_t)> interrupt) {
  MutexLock lock(mutex_);
  interrupt_ = std::move(interrupt);
}

// --- The reader's thread.

void CoordinatorClient::ReadUntilClosed() {
  while (true) {
    std::shared_ptr<CoordinatorLine> line;
    {
      MutexLock lock(mutex_);
      if (is_closed_) return;
      line = line_;
    }
    Order order;
    while (line->Read(&order)) Take(std::move(order));
    const absl::Status why = line->Finish();
    {
      MutexLock lock(mutex_);
      if (is_closed_) return;
      if (is_leaving_ || why.ok() || IsFinal(why)) {
        is_closed_ = true;
        why_closed_ = why;
        UpdateWake();
        return;
      }
    }
    LogWarning("the line to the coordinator broke (", why.message(), "); dialling again");
    if (const absl::Status status = Redial(); !status.ok()) return Close(status);
  }
}

void CoordinatorClient::Take(Order order) {
  MutexLock lock(mutex_);
  if (order.has_committed()) {
    committed_step_ = std::max(committed_step_, order.committed().step());
    changed_.SignalAll();
    return;
  }
  if (order.has_world()) committed_step_ = order.world().step();
  if (order.has_regroup()) {
    // That this gang lives, whatever its ranks are busy with.
    outgoing_.emplace_back().mutable_heartbeat();
    if (order.regroup().after_step() < 0) {
      must_regroup_ = true;
      if (interrupt_ != nullptr) interrupt_(order.regroup().generation());
    }
  }
  orders_.push_back(std::move(order));
  UpdateWake();
}

absl::Status CoordinatorClient::Redial() {
  const absl::Time deadline = absl::Now() + kRedialTimeouts * heartbeat_timeout_;
  absl::Duration pause = absl::Milliseconds(20);
  absl::Status last;
  while (absl::Now() < deadline) {
    {
      MutexLock lock(mutex_);
      if (is_closed_ || is_leaving_) return absl::CancelledError("the gang leaves");
      changed_.WaitFor(mutex_, pause);
    }
    pause = std::min(pause * 2, kMaxRedialPause);
    std::vector<std::string> addresses = {options_.address};
    const std::string announced = AnnouncedAddress(output_);
    if (!announced.empty() && announced != options_.address) {
      addresses.insert(addresses.begin(), announced);
    }
    for (const std::string& address : addresses) {
      last = DialAndJoin(address);
      if (last.ok()) {
        LogInfo("the coordinator at ", address, " has this gang again");
        return last;
      }
      if (IsFinal(last)) return last;
    }
  }
  return WithExitCode(
      Annotate(last, absl::StrCat("the coordinator was lost, and did not come back "
                                  "within ",
                                  absl::FormatDuration(kRedialTimeouts * heartbeat_timeout_))),
      ExitCode::kPeerLost);
}

absl::Status CoordinatorClient::DialAndJoin(const std::string& address) {
  LIQUID_ASSIGN_OR_RETURN(
      std::shared_ptr<CoordinatorLine> line,
      CoordinatorLine::Dial(address, options_.token, options_.sentinel, absl::Seconds(1)));
  liquid::Join join;
  {
    MutexLock lock(mutex_);
    join = join_;
  }
  LIQUID_ASSIGN_OR_RETURN(const Welcome welcome, line->Join(join, heartbeat_timeout_));
  MutexLock lock(mutex_);
  if (is_leaving_ || is_closed_) return absl::CancelledError("the gang leaves");
  join_.set_gang(welcome.gang());
  // What came, and was to go, over the old line is of no generation any more.
  orders_.clear();
  outgoing_.clear();
  must_regroup_ = false;
  line_ = std::move(line);
  UpdateWake();
  return absl::OkStatus();
}

// --- The writer's thread.

void CoordinatorClient::WriteUntilClosed() {
  const absl::Duration interval = heartbeat_timeout_ / kHeartbeatsPerTimeout;
  absl::Time next_heartbeat = absl::Now() + interval;
  while (true) {
    GangMessage message;
    std::shared_ptr<CoordinatorLine> line;
    {
      MutexLock lock(mutex_);
      while (!is_closed_ && outgoing_.empty() && absl::Now() < next_heartbeat) {
        changed_.WaitFor(mutex_, next_heartbeat - absl::Now());
      }
      if (is_closed_) return;
      line = line_;
      if (!outgoing_.empty()) {
        message = std::move(outgoing_.front());
        outgoing_.pop_front();
      } else {
        message.mutable_heartbeat();
      }
    }
    next_heartbeat = absl::Now() + interval;  // every message is one
    line->Write(message);
    if (message.has_leave()) line->EndWriting();
  }
}

// --- The gang's thread.

void CoordinatorClient::Close(const absl::Status& why) {
  std::shared_ptr<CoordinatorLine> line;
  {
    MutexLock lock(mutex_);
    if (!is_closed_) {
      is_closed_ = true;
      why_closed_ = why;
    }
    UpdateWake();
    line = line_;
  }
  if (line != nullptr) line->Cancel();
}

void CoordinatorClient::UpdateWake() {
  changed_.SignalAll();
  uint64_t count = 0;
  if (!orders_.empty() || is_closed_) {
    count = 1;
    static_cast<void>(!write(wake_fd_, &count, sizeof(count)));
  } else {
    static_cast<void>(!read(wake_fd_, &count, sizeof(count)));
  }
}

absl::StatusOr<std::optional<Order>> CoordinatorClient::NextOrder(absl::Duration timeout) {
  MutexLock lock(mutex_);
  const absl::Time deadline = absl::Now() + timeout;
  while (orders_.empty() && !is_closed_ && absl::Now() < deadline) {
    changed_.WaitFor(mutex_, deadline - absl::Now());
  }
  if (!orders_.empty()) {
    std::optional<Order> order = std::move(orders_.front());
    orders_.pop_front();
    UpdateWake();
    return order;
  }
  if (!is_closed_) return std::optional<Order>();
  const absl::Status why = Annotate(why_closed_, "the coordinator ended the connection");
  if (absl::IsDataLoss(why)) return WithExitCode(why, ExitCode::kWrongAnswer);
  if (!why.ok()) return why;
  return absl::UnavailableError("the coordinator ended the connection");
}

absl::Status CoordinatorClient::WaitCommitted(int64_t step, const std::function<bool()>& give_up) {
  MutexLock lock(mutex_);
  while (committed_step_ < step) {
    if (must_regroup_) return absl::AbortedError("gangs regroup first");
    if (is_closed_) {
      return why_closed_.ok() ? absl::UnavailableError("the coordinator ended the connection")
                              : why_closed_;
    }
    if (give_up()) return absl::CancelledError("asked to go before the step was in the ledger");
    changed_.WaitFor(mutex_, absl::Milliseconds(100));
  }
  return absl::OkStatus();
}

int64_t CoordinatorClient::committed_step() {
  MutexLock lock(mutex_);
  return committed_step_;
}

void CoordinatorClient::Send(const GangMessage& message) {
  MutexLock lock(mutex_);
  if (message.has_ready()) {
    must_regroup_ = std::any_of(orders_.begin(), orders_.end(), [](const Order& order) {
      return order.has_regroup() && order.regroup().after_step() < 0;
    });
  }
  outgoing_.push_back(message);
  changed_.SignalAll();
}

void CoordinatorClient::Leave(const liquid::Leave& leave) {
  GangMessage message;
  *message.mutable_leave() = leave;
  MutexLock lock(mutex_);
  is_leaving_ = true;
  outgoing_.push_back(std::move(message));
  changed_.SignalAll();
  const absl::Time deadline = absl::Now() + kGoodbyeTimeout;
  while (!is_closed_ && absl::Now() < deadline) changed_.WaitFor(mutex_, deadline - absl::Now());
}

}  // namespace liquid
