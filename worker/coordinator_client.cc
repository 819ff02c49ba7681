#include "worker/coordinator_client.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"

namespace liquid {
namespace {

// gRPC's codes are absl's, number for number.
absl::Status FromGrpc(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

constexpr absl::Duration kGoodbyeTimeout = absl::Seconds(5);

}  // namespace

absl::StatusOr<std::unique_ptr<CoordinatorClient>> CoordinatorClient::Connect(
    const std::string& address, absl::Duration timeout) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // a coordinator is a neighbour
  auto channel = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  if (!channel->WaitForConnected(absl::ToChronoTime(absl::Now() + timeout))) {
    return absl::UnavailableError(absl::StrCat("no coordinator answers at ", address, " within ",
                                               absl::FormatDuration(timeout),
                                               "; is it running there?"));
  }
  return std::unique_ptr<CoordinatorClient>(new CoordinatorClient(std::move(channel)));
}

CoordinatorClient::CoordinatorClient(std::shared_ptr<grpc::Channel> channel)
    : channel_(std::move(channel)), stub_(Gang::NewStub(channel_)) {}

CoordinatorClient::~CoordinatorClient() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.SignalAll();
  }
  context_.TryCancel();
  if (heartbeats_.joinable()) heartbeats_.join();
  if (reader_.joinable()) reader_.join();
}

absl::StatusOr<OpenJobReply> CoordinatorClient::OpenJob() {
  grpc::ClientContext context;
  OpenJobReply reply;
  const grpc::Status status = stub_->OpenJob(&context, OpenJobRequest(), &reply);
  if (!status.ok()) return Annotate(FromGrpc(status), "asking the coordinator for the job");
  return reply;
}

absl::StatusOr<Welcome> CoordinatorClient::Join(const liquid::Join& join,
                                                absl::Duration heartbeat_interval) {
  LIQUID_CHECK(stream_ == nullptr, "a client joins once");
  stream_ = stub_->Connect(&context_);
  GangMessage message;
  *message.mutable_join() = join;
  Send(message);
  Order order;
  if (!stream_->Read(&order)) return Annotate(FromGrpc(stream_->Finish()), "joining the job");
  if (!order.has_welcome())
    return absl::InternalError("the coordinator's first order is no welcome");
  reader_ = std::thread([this] { ReadOrders(); });
  heartbeats_ = std::thread([this, heartbeat_interval] { SendHeartbeats(heartbeat_interval); });
  return order.welcome();
}

void CoordinatorClient::ReadOrders() {
  Order order;
  while (stream_->Read(&order)) {
    MutexLock lock(mutex_);
    if (order.has_committed()) {
      committed_step_ = order.committed().step();
    } else {
      orders_.push_back(std::move(order));
    }
    changed_.SignalAll();
  }
  const absl::Status status = FromGrpc(stream_->Finish());
  MutexLock lock(mutex_);
  closed_ = true;
  why_closed_ = status;
  changed_.SignalAll();
}

void CoordinatorClient::SendHeartbeats(absl::Duration interval) {
  GangMessage message;
  message.mutable_heartbeat();
  while (true) {
    {
      MutexLock lock(mutex_);
      const absl::Time next = absl::Now() + interval;
      while (!stopping_ && !closed_ && absl::Now() < next) {
        changed_.WaitFor(mutex_, next - absl::Now());
      }
      if (stopping_ || closed_) return;
    }
    Send(message);
  }
}

absl::StatusOr<std::optional<Order>> CoordinatorClient::NextOrder(absl::Duration timeout) {
  MutexLock lock(mutex_);
  const absl::Time deadline = absl::Now() + timeout;
  while (orders_.empty() && !closed_ && absl::Now() < deadline) {
    changed_.WaitFor(mutex_, deadline - absl::Now());
  }
  if (!orders_.empty()) {
    std::optional<Order> order = std::move(orders_.front());
    orders_.pop_front();
    return order;
  }
  if (closed_) return WhyClosed();
  return std::optional<Order>();
}

absl::Status CoordinatorClient::WhyClosed() const {
  if (!why_closed_.ok()) return Annotate(why_closed_, "the coordinator ended the connection");
  return absl::UnavailableError("the coordinator ended the connection");
}

absl::Status CoordinatorClient::WaitCommitted(int64_t step) {
  MutexLock lock(mutex_);
  while (committed_step_ < step && !closed_) changed_.Wait(mutex_);
  return committed_step_ >= step ? absl::OkStatus() : WhyClosed();
}

void CoordinatorClient::Send(const GangMessage& message) {
  MutexLock lock(write_mutex_);
  // A write that fails means that the stream is broken; NextOrder tells.
  static_cast<void>(stream_->Write(message));
}

void CoordinatorClient::Leave(const liquid::Leave& leave) {
  GangMessage message;
  *message.mutable_leave() = leave;
  Send(message);
  {
    MutexLock lock(write_mutex_);
    stream_->WritesDone();
  }
  MutexLock lock(mutex_);
  const absl::Time deadline = absl::Now() + kGoodbyeTimeout;
  while (!closed_ && absl::Now() < deadline) changed_.WaitFor(mutex_, deadline - absl::Now());
}

}  // namespace liquid
