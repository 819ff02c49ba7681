// Real gRPC on loopback, and services behind the guard that count what reaches them.
#include "coordinator/guarded_service.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "proto/access_token_client.h"

namespace liquid {
namespace {

using ::testing::HasSubstr;

class CountingCoordinator final : public Coordinator::CallbackService {
 public:
  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* context, const GetStatusRequest*,
                                      JobStatus*) override {
    return Answer(context);
  }
  grpc::ServerWriteReactor<JobStatus>* Watch(grpc::CallbackServerContext*,
                                             const WatchRequest*) override {
    ++num_calls;
    class Ended : public grpc::ServerWriteReactor<JobStatus> {
     public:
      Ended() { Finish(grpc::Status::OK); }
      void OnDone() override { delete this; }
    };
    return new Ended;
  }
  grpc::ServerUnaryReactor* Pause(grpc::CallbackServerContext* context, const PauseRequest*,
                                  ActionReply*) override {
    return Answer(context);
  }
  grpc::ServerUnaryReactor* Resume(grpc::CallbackServerContext* context, const ResumeRequest*,
                                   ActionReply*) override {
    return Answer(context);
  }
  grpc::ServerUnaryReactor* CheckpointNow(grpc::CallbackServerContext* context,
                                          const CheckpointNowRequest*, ActionReply*) override {
    return Answer(context);
  }
  grpc::ServerUnaryReactor* Stop(grpc::CallbackServerContext* context, const StopRequest*,
                                 ActionReply*) override {
    return Answer(context);
  }
  grpc::ServerUnaryReactor* Drain(grpc::CallbackServerContext* context, const DrainRequest*,
                                  ActionReply*) override {
    return Answer(context);
  }

  std::atomic<int> num_calls = 0;

 private:
  grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context) {
    ++num_calls;
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

class CountingGang final : public Gang::CallbackService {
 public:
  grpc::ServerUnaryReactor* OpenJob(grpc::CallbackServerContext* context, const OpenJobRequest*,
                                    OpenJobReply*) override {
    ++num_calls;
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  grpc::ServerBidiReactor<GangMessage, Order>* Connect(grpc::CallbackServerContext*) override {
    ++num_calls;
    class Ended : public grpc::ServerBidiReactor<GangMessage, Order> {
     public:
      Ended() { Finish(grpc::Status::OK); }
      void OnDone() override { delete this; }
    };
    return new Ended;
  }

  std::atomic<int> num_calls = 0;
};

class GuardedServiceTest : public ::testing::Test {
 protected:
  GuardedServiceTest() {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&guarded_coordinator_);
    builder.RegisterService(&guarded_gang_);
    server_ = builder.BuildAndStart();
    const auto channel =
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials());
    people_ = Coordinator::NewStub(channel);
    gangs_ = Gang::NewStub(channel);
  }
  ~GuardedServiceTest() override { server_->Shutdown(); }

  template <typename Request, typename Reply, typename Stub>
  grpc::Status Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Reply*),
                    Stub& stub, const std::string& token) {
    grpc::ClientContext context;
    AddAccessToken(token, context);
    Reply reply;
    return (stub.*method)(&context, Request(), &reply);
  }

  // How every call of both services ends, in their order.
  std::vector<grpc::Status> CallAll(const std::string& token) {
    using People = Coordinator::Stub;
    std::vector<grpc::Status> ends = {
        Call(&People::GetStatus, *people_, token), Call(&People::Pause, *people_, token),
        Call(&People::Resume, *people_, token),    Call(&People::CheckpointNow, *people_, token),
        Call(&People::Stop, *people_, token),      Call(&People::Drain, *people_, token),
        Call(&Gang::Stub::OpenJob, *gangs_, token)};
    grpc::ClientContext watch;
    AddAccessToken(token, watch);
    ends.push_back(people_->Watch(&watch, WatchRequest())->Finish());
    grpc::ClientContext connect;
    AddAccessToken(token, connect);
    const auto stream = gangs_->Connect(&connect);
    GangMessage message;
    message.mutable_join();
    stream->Write(message);
    Order order;
    while (stream->Read(&order)) {
    }
    ends.push_back(stream->Finish());
    return ends;
  }

  CountingCoordinator coordinator_;
  CountingGang gang_;
  GuardedCoordinatorService guarded_coordinator_{"right", coordinator_};
  GuardedGangService guarded_gang_{"right", gang_};
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Coordinator::Stub> people_;
  std::unique_ptr<Gang::Stub> gangs_;
};

TEST_F(GuardedServiceTest, TheRightTokenReachesEveryCall) {
  for (const grpc::Status& end : CallAll("right")) EXPECT_TRUE(end.ok()) << end.error_message();
  EXPECT_EQ(coordinator_.num_calls, 7);
  EXPECT_EQ(gang_.num_calls, 2);
}

TEST_F(GuardedServiceTest, NoCallIsOpenToOthers) {
  for (const auto& [token, what] : {std::pair<std::string, std::string>{"", "is missing"},
                                    {"wrong", "differs"},
                                    {"righ", "differs"},
                                    {"right2", "differs"}}) {
    for (const grpc::Status& end : CallAll(token)) {
      EXPECT_EQ(end.error_code(), grpc::StatusCode::UNAUTHENTICATED);
      EXPECT_THAT(end.error_message(), HasSubstr(what));
      EXPECT_THAT(end.error_message(), HasSubstr("--token-file"));
    }
  }
  EXPECT_EQ(coordinator_.num_calls, 0);
  EXPECT_EQ(gang_.num_calls, 0);
}

TEST_F(GuardedServiceTest, EveryCallOfTheContractIsGuarded) {
  // One more call in the contract must be passed on too, and be counted above.
  EXPECT_EQ(Coordinator::service_full_name(), std::string("liquid.Coordinator"));
  const auto* file = JobStatus::descriptor()->file();
  EXPECT_EQ(file->FindServiceByName("Coordinator")->method_count(), 7);
  EXPECT_EQ(file->FindServiceByName("Gang")->method_count(), 2);
}

}  // namespace
}  // namespace liquid
