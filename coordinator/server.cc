#include "coordinator/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/status.h"
#include "coordinator/job_driver.h"
#include "coordinator/ledger_lock.h"
#include "coordinator/service.h"
#include "nlohmann/json.hpp"

namespace liquid {
namespace {

constexpr absl::Duration kShutdownGrace = absl::Seconds(2);

// The HOST of HOST:PORT, without brackets.
std::string HostOf(const std::string& listen) {
  std::string host = listen.substr(0, listen.rfind(':'));
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  return host;
}

absl::Status CheckLoopback(const std::string& listen) {
  const std::string host = HostOf(listen);
  if (host == "localhost" || host == "::1" || host.starts_with("127.")) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("refused to listen on ", listen,
                   ": without TLS and tokens (not supported yet) only loopback is safe; set "
                   "coordinator.listen to 127.0.0.1:PORT"));
}

class GrpcServer final : public CoordinatorServer {
 public:
  explicit GrpcServer(std::unique_ptr<JobDriver> driver)
      : driver_(std::move(driver)), coordinator_service_(*driver_), gang_service_(*driver_) {}

  ~GrpcServer() override { Shutdown(); }

  absl::Status Listen(const std::string& listen) {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // a port taken is an error
    builder.AddListeningPort(listen, grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&coordinator_service_);
    builder.RegisterService(&gang_service_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port == 0) {
      return absl::UnavailableError(
          absl::StrCat("cannot listen on ", listen, ": taken, or not an address of this host"));
    }
    address_ = absl::StrCat(listen.substr(0, listen.rfind(':')), ":", port);
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
    char host[256] = "";
    if (gethostname(host, sizeof(host) - 1) != 0) host[0] = '\0';
    const nlohmann::ordered_json json = {{"address", address_}, {"pid", getpid()}, {"host", host}};
    return WriteFileAtomically(
        CoordinatorFilePath(driver_->job().output()),
        json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  }

  const std::unique_ptr<JobDriver> driver_;
  CoordinatorService coordinator_service_;
  GangService gang_service_;
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
  LIQUID_RETURN_IF_ERROR(CheckLoopback(listen));
  LIQUID_ASSIGN_OR_RETURN(std::unique_ptr<JobDriver> driver,
                          JobDriver::Open(job, clock, options.keep_pause));
  auto server = std::make_unique<GrpcServer>(std::move(driver));
  LIQUID_RETURN_IF_ERROR(server->Listen(listen));
  return server;
}

}  // namespace liquid
