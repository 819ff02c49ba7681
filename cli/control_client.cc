#include "cli/control_client.h"

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/file.h"
#include "base/status.h"
#include "nlohmann/json.hpp"
#include "proto/access_token_client.h"
#include "proto/coordinator.grpc.pb.h"

namespace liquid {
namespace {

std::string WhoAsks() {
  char host[256] = "?";
  static_cast<void>(gethostname(host, sizeof(host) - 1));
  return absl::StrCat("uid ", getuid(), " on ", host);
}

// gRPC's codes are absl's, number for number.
absl::Status FromGrpc(const grpc::Status& status, const std::string& address) {
  if (status.ok()) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  if (code == absl::StatusCode::kUnavailable || code == absl::StatusCode::kDeadlineExceeded) {
    return absl::UnavailableError(
        absl::StrCat("no coordinator answers at ", address, ": ", status.error_message()));
  }
  return absl::Status(code, status.error_message());
}

}  // namespace

struct ControlClient::Connection {
  ControlOptions options;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<Coordinator::Stub> stub;

  template <typename Request, typename Reply>
  grpc::Status Call(grpc::Status (Coordinator::Stub::*method)(grpc::ClientContext*, const Request&,
                                                              Reply*),
                    const Request& request, Reply* reply) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + options.timeout));
    AddAccessToken(options.token, context);
    return (stub.get()->*method)(&context, request, reply);
  }

  template <typename Request>
  grpc::Status Act(grpc::Status (Coordinator::Stub::*method)(grpc::ClientContext*, const Request&,
                                                             ActionReply*),
                   ActionReply* reply) {
    Request request;
    request.set_who(WhoAsks());
    return Call(method, request, reply);
  }
};

absl::StatusOr<CoordinatorPlace> ReadCoordinatorPlace(const std::string& output) {
  const std::string path = JoinPath(output, "coordinator.json");
  LIQUID_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("address") || !json["address"].is_string()) {
    return absl::DataLossError(absl::StrCat(path, ": it names no address"));
  }
  CoordinatorPlace place;
  place.address = json["address"].get<std::string>();
  if (json.contains("pid") && json["pid"].is_number_integer()) {
    place.pid = json["pid"].get<int64_t>();
  }
  return place;
}

ControlClient::ControlClient(const std::string& address, const ControlOptions& options)
    : address_(address), connection_(std::make_unique<Connection>()) {
  connection_->options = options;
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // a coordinator is a neighbour
  connection_->channel =
      grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  connection_->stub = Coordinator::NewStub(connection_->channel);
}

ControlClient::~ControlClient() = default;

absl::StatusOr<JobStatus> ControlClient::GetStatus() {
  JobStatus status;
  LIQUID_RETURN_IF_ERROR(FromGrpc(
      connection_->Call(&Coordinator::Stub::GetStatus, GetStatusRequest(), &status), address_));
  return status;
}

absl::StatusOr<std::string> ControlClient::Do(ControlAction action) {
  ActionReply reply;
  grpc::Status status;
  switch (action) {
    case ControlAction::kPause:
      status = connection_->Act(&Coordinator::Stub::Pause, &reply);
      break;
    case ControlAction::kResume:
      status = connection_->Act(&Coordinator::Stub::Resume, &reply);
      break;
    case ControlAction::kCheckpoint:
      status = connection_->Act(&Coordinator::Stub::CheckpointNow, &reply);
      break;
    case ControlAction::kStop:
      status = connection_->Act(&Coordinator::Stub::Stop, &reply);
      break;
  }
  LIQUID_RETURN_IF_ERROR(FromGrpc(status, address_));
  return reply.message();
}

absl::StatusOr<std::string> ControlClient::Drain(int64_t gang) {
  DrainRequest request;
  request.set_who(WhoAsks());
  request.set_gang(gang);
  ActionReply reply;
  LIQUID_RETURN_IF_ERROR(
      FromGrpc(connection_->Call(&Coordinator::Stub::Drain, request, &reply), address_));
  return reply.message();
}

absl::Status ControlClient::Watch(const std::function<bool(const JobStatus&)>& on_status) {
  grpc::ClientContext context;
  AddAccessToken(connection_->options.token, context);
  const auto stream = connection_->stub->Watch(&context, WatchRequest());
  JobStatus status;
  while (stream->Read(&status)) {
    if (!on_status(status)) {
      context.TryCancel();
      static_cast<void>(stream->Finish());
      return absl::OkStatus();
    }
  }
  return FromGrpc(stream->Finish(), address_);
}

}  // namespace liquid
