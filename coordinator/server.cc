#include "coordinator/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/host_address.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/status.h"
#include "coordinator/guarded_service.h"
#include "coordinator/job_driver.h"
#include "coordinator/ledger_lock.h"
#include "coordinator/service.h"
#include "nlohmann/json.hpp"
#include "proto/access_token.h"

namespace liquid {
namespace {

constexpr absl::Duration kShutdownGrace = absl::Seconds(2);

absl::Status CheckReach(const std::string& listen, bool has_token) {
  if (IsLoopback(HostOf(listen))) return absl::OkStatus();
  if (!has_token) {
    return absl::InvalidArgumentError(
        absl::StrCat("refused to listen on ", listen,
                     ": beyond this machine an access token is needed (--token-file FILE), and "
                     "since there is no TLS, a trusted network or a tunnel; or set "
                     "coordinator.listen to 127.0.0.1:PORT"));
  }
  LogWarning("listening on ", listen,
             ": there is no TLS, so whoever can read the network's traffic can read the token; use "
             "it on a trusted network or through a tunnel");
  return absl::OkStatus();
}

// What others dial if the server is bound to `listen`.
std::string AddressOf(const std::string& listen, int port) {
  const std::string host =
      IsAnyAddress(HostOf(listen)) ? OutgoingAddress() : listen.substr(0, listen.rfind(':'));
  return absl::StrCat(host, ":", port);
}

class GrpcServer final : public CoordinatorServer {
 public:
  // `token`: empty, or what every call must show.
  GrpcServer(std::unique_ptr<JobDriver> driver, const std::string& token)
      : driver_(std::move(driver)),
        coordinator_service_(*driver_),
        gang_service_(*driver_),
        is_guarded_(!token.empty()),
        guarded_coordinator_service_(token, coordinator_service_),
        guarded_gang_service_(token, gang_service_) {}

  ~GrpcServer() override { Shutdown(); }

  absl::Status Listen(const std::string& listen) {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // a port taken is an error
    builder.AddListeningPort(listen, grpc::InsecureServerCredentials(), &port);
    if (is_guarded_) {
      builder.RegisterService(&guarded_coordinator_service_);
      builder.RegisterService(&guarded_gang_service_);
    } else {
      builder.RegisterService(&coordinator_service_);
      builder.RegisterService(&gang_service_);
    }
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port == 0) {
      return absl::UnavailableError(
          absl::StrCat("cannot listen on ", listen, ": taken, or not an address of this host"));
    }
    address_ = AddressOf(listen, port);
    driver_->SetAddress(address_);
    return Announce();
  }

  std::string address() const override { return address_; }
  bool HasEnded() override { return driver_->HasEnded(); }
  JobState WaitUntilEnded() override { return driver_->WaitUntilEnded(); }
  absl::Status Failure() override { return driver_->Failure(); }

  void Shutdown() override {
    MutexLock lock(mutex_);
    if (server_ == nullptr) return;
    const absl::Status removed = RemoveRecursively(CoordinatorFilePath(driver_->job().output()));
    if (!removed.ok()) LogWarning(removed.message());
    driver_->Stop();
    server_->Shutdown(absl::ToChronoTime(absl::Now() + kShutdownGrace));
    server_->Wait();
    server_ = nullptr;
  }

 private:
  absl::Status Announce() {
    const nlohmann::ordered_json json = {
        {"address", address_}, {"pid", getpid()}, {"host", HostName()}};
    return WriteFileAtomically(
        CoordinatorFilePath(driver_->job().output()),
        json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  }

  const std::unique_ptr<JobDriver> driver_;
  CoordinatorService coordinator_service_;
  GangService gang_service_;
  const bool is_guarded_;
  GuardedCoordinatorService guarded_coordinator_service_;
  GuardedGangService guarded_gang_service_;
  std::string address_;
  Mutex mutex_;
  std::unique_ptr<grpc::Server> server_;  // set once before others see this; ended under mutex_
};

}  // namespace

std::string CoordinatorFilePath(const std::string& output) {
  return JoinPath(output, "coordinator.json");
}

absl::StatusOr<std::unique_ptr<CoordinatorServer>> CoordinatorServer::Start(
    const Job& job, const Options& options) {
  static const SystemClock& clock = *new SystemClock;
  const std::string& listen = options.listen.empty() ? job.coordinator().listen() : options.listen;
  LIQUID_ASSIGN_OR_RETURN(const std::string token, ReadAccessToken(options.token_file));
  LIQUID_RETURN_IF_ERROR(CheckReach(listen, !token.empty()));
  LIQUID_ASSIGN_OR_RETURN(std::unique_ptr<JobDriver> driver,
                          JobDriver::Open(job, clock, options.keep_pause));
  auto server = std::make_unique<GrpcServer>(std::move(driver), token);
  LIQUID_RETURN_IF_ERROR(server->Listen(listen));
  return server;
}

}  // namespace liquid
