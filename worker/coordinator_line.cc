#include "worker/coordinator_line.h"

#include <fcntl.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/host_address.h"
#include "base/status.h"
#include "proto/access_token_client.h"

namespace liquid {
namespace {

constexpr int kUnacknowledgedMs = 20000;

// gRPC's codes are absl's, number for number.
absl::Status FromGrpc(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

absl::Status SplitAddress(const std::string& address, std::string* host, std::string* port) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon + 1 == address.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", address, "' is no address of a coordinator: HOST:PORT"));
  }
  *host = HostOf(address);
  *port = address.substr(colon + 1);
  return absl::OkStatus();
}

// A connected socket to one of the host's addresses, or -1.
int ConnectTo(const addrinfo& target, absl::Time deadline) {
  const int fd = socket(target.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  const bool refused = connect(fd, target.ai_addr, target.ai_addrlen) != 0 && errno != EINPROGRESS;
  pollfd waiting = {.fd = fd, .events = POLLOUT, .revents = 0};
  const auto left = std::max<int64_t>(0, absl::ToInt64Milliseconds(deadline - absl::Now()));
  int error = 0;
  socklen_t size = sizeof(error);
  if (refused || poll(&waiting, 1, static_cast<int>(left)) != 1 ||
      getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) {
    close(fd);
    return -1;
  }
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  // A host that has vanished does not acknowledge heartbeats.
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &kUnacknowledgedMs, sizeof(kUnacknowledgedMs));
  return fd;
}

// Tries until `deadline`: a coordinator may be a moment later than its gangs.
absl::StatusOr<int> Connect(const std::string& address, absl::Time deadline) {
  std::string host;
  std::string port;
  LIQUID_RETURN_IF_ERROR(SplitAddress(address, &host, &port));
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int code = getaddrinfo(host.c_str(), port.c_str(), &hints, &found); code != 0) {
    return absl::UnavailableError(absl::StrCat("coordinator ", address, ": ", gai_strerror(code)));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> targets(found, &freeaddrinfo);
  const absl::Time start = absl::Now();
  while (true) {
    for (const addrinfo* target = targets.get(); target != nullptr; target = target->ai_next) {
      if (const int fd = ConnectTo(*target, deadline); fd >= 0) return fd;
    }
    if (absl::Now() >= deadline) break;
    absl::SleepFor(absl::Milliseconds(50));
  }
  return absl::UnavailableError(
      absl::StrCat("no coordinator answers at ", address, " within ",
                   absl::FormatDuration(absl::Ceil(deadline - start, absl::Milliseconds(1))),
                   "; is it running there?"));
}

std::string LocalAddress(int fd) {
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  char host[NI_MAXHOST] = "127.0.0.1";
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0) {
    getnameinfo(reinterpret_cast<sockaddr*>(&address), size, host, sizeof(host), nullptr, 0,
                NI_NUMERICHOST);
  }
  return host;
}

}  // namespace

std::string AddressTowards(const std::string& address) {
  std::string host;
  std::string port;
  addrinfo hints = {};
  hints.ai_socktype = SOCK_DGRAM;  // connecting one sends nothing
  addrinfo* found = nullptr;
  if (!SplitAddress(address, &host, &port).ok() ||
      getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) {
    return "127.0.0.1";
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> targets(found, &freeaddrinfo);
  const int fd = socket(targets->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return "127.0.0.1";
  const bool ok = connect(fd, targets->ai_addr, targets->ai_addrlen) == 0;
  const std::string local = ok ? LocalAddress(fd) : "127.0.0.1";
  close(fd);
  return local;
}

absl::StatusOr<std::shared_ptr<CoordinatorLine>> CoordinatorLine::Dial(const std::string& address,
                                                                       const std::string& token,
                                                                       Sentinel* sentinel,
                                                                       absl::Duration timeout) {
  LIQUID_ASSIGN_OR_RETURN(const int fd, Connect(address, absl::Now() + timeout));
  return std::shared_ptr<CoordinatorLine>(new CoordinatorLine(fd, address, token, sentinel));
}

CoordinatorLine::CoordinatorLine(int fd, std::string address, std::string token, Sentinel* sentinel)
    : fd_(fd), address_(std::move(address)), token_(std::move(token)), sentinel_(sentinel) {
  if (sentinel_ != nullptr) sentinel_->Lend(fd_);
  channel_ = grpc::CreateCustomInsecureChannelFromFd(address_, fd_, grpc::ChannelArguments());
  stub_ = Gang::NewStub(channel_);
}

CoordinatorLine::~CoordinatorLine() {
  context_.TryCancel();
  stream_.reset();
  if (sentinel_ != nullptr) sentinel_->Return(fd_);  // before the number is somebody else's
}

void CoordinatorLine::Prepare(grpc::ClientContext* context) const {
  AddAccessToken(token_, *context);
}

absl::StatusOr<OpenJobReply> CoordinatorLine::OpenJob(absl::Duration timeout) {
  grpc::ClientContext context;
  Prepare(&context);
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  OpenJobReply reply;
  const grpc::Status status = stub_->OpenJob(&context, OpenJobRequest(), &reply);
  if (!status.ok()) {
    return Annotate(FromGrpc(status),
                    absl::StrCat("asking the coordinator at ", address_, " for the job"));
  }
  return reply;
}

absl::StatusOr<Welcome> CoordinatorLine::Join(const liquid::Join& join, absl::Duration timeout) {
  LIQUID_CHECK(stream_ == nullptr, "a line joins once");
  Prepare(&context_);
  stream_ = stub_->Connect(&context_);
  GangMessage message;
  *message.mutable_join() = join;
  Write(message);
  // A stream has no deadline for its first word alone: somebody else must watch the clock.
  Mutex mutex;
  CondVar answered;
  bool is_answered = false;
  bool is_late = false;
  std::thread watch([&] {
    MutexLock lock(mutex);
    const absl::Time deadline = absl::Now() + timeout;
    while (!is_answered && absl::Now() < deadline) {
      answered.WaitFor(mutex, deadline - absl::Now());
    }
    is_late = !is_answered;
    if (is_late) context_.TryCancel();
  });
  Order order;
  const bool ok = stream_->Read(&order);
  {
    MutexLock lock(mutex);
    is_answered = true;
    answered.SignalAll();
  }
  watch.join();
  if (is_late) {
    return absl::DeadlineExceededError(absl::StrCat(
        "the coordinator at ", address_, " did not answer within ", absl::FormatDuration(timeout)));
  }
  if (!ok) return Annotate(FromGrpc(stream_->Finish()), "joining the job");
  if (!order.has_welcome()) {
    return absl::InternalError("the coordinator's first order is no welcome");
  }
  return order.welcome();
}

bool CoordinatorLine::Read(Order* order) { return stream_->Read(order); }

absl::Status CoordinatorLine::Finish() { return FromGrpc(stream_->Finish()); }

void CoordinatorLine::Write(const GangMessage& message) {
  MutexLock lock(write_mutex_);
  // A write that fails means that the stream is broken, which its reader sees.
  if (!is_ended_) static_cast<void>(stream_->Write(message));
}

void CoordinatorLine::EndWriting() {
  MutexLock lock(write_mutex_);
  if (!std::exchange(is_ended_, true)) stream_->WritesDone();
}

void CoordinatorLine::Cancel() { context_.TryCancel(); }

}  // namespace liquid
