// A coordinator on loopback, and a gang that follows a script.
#include "coordinator/server.h"

#include <grpcpp/grpcpp.h>
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_split.h"
#include "base/exit_code.h"
#include "base/file.h"
#include "coordinator/audit.h"
#include "coordinator/ledger.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "proto/coordinator.grpc.pb.h"
#include "tests/coordinator/gang_script.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::CheckpointMessage;
using ::liquid::testing::EvalMessage;
using ::liquid::testing::IsOk;
using ::liquid::testing::JoinAt;
using ::liquid::testing::LeaveMessage;
using ::liquid::testing::ReadyMessage;
using ::liquid::testing::ScriptedJob;
using ::liquid::testing::StatusIs;
using ::liquid::testing::StepMessage;
using ::testing::AllOf;
using ::testing::HasSubstr;

// The client's end of a gang's stream.
class GangClient {
 public:
  GangClient(const std::string& address, const Join& join)
      : stub_(Gang::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()))),
        stream_(stub_->Connect(&context_)),
        step_(join.applied_step()) {
    context_.set_wait_for_ready(true);
    GangMessage message;
    *message.mutable_join() = join;
    stream_->Write(message);
  }

  void Send(const GangMessage& message) { stream_->Write(message); }
  // The next order but for `committed`, `regroup` (which is answered) and `world`; an empty one at
  // the stream's end.
  Order Next() {
    Order order;
    while (stream_->Read(&order)) {
      if (order.has_regroup()) Send(ReadyMessage(order.regroup().generation(), step_, true));
      if (order.has_plan()) step_ = order.plan().step();
      if (!order.has_committed() && !order.has_regroup() && !order.has_world()) return order;
    }
    return Order();
  }
  Plan NextPlan() {
    const Order order = Next();
    EXPECT_TRUE(order.has_plan()) << order.ShortDebugString();
    return order.plan();
  }
  // How the coordinator ended the stream. What it said before is dropped.
  grpc::Status Finish() {
    while (Next().order_case() != Order::ORDER_NOT_SET) {
    }
    return stream_->Finish();
  }
  void Break() { context_.TryCancel(); }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<Gang::Stub> stub_;
  std::unique_ptr<grpc::ClientReaderWriter<GangMessage, Order>> stream_;
  int64_t step_;  // of the state it has, or will have when what it was told is done
};

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() {
    output_ = (std::filesystem::temp_directory_path() /
               absl::StrCat("liquid_server_test_", getpid(), "_",
                            ::testing::UnitTest::GetInstance()->current_test_info()->name()))
                  .string();
    std::filesystem::remove_all(output_);
    job_ = ScriptedJob(output_, {"coordinator.heartbeat_timeout_seconds=2"});
  }
  ~ServerTest() override { std::filesystem::remove_all(output_); }

  void Start() {
    auto server = CoordinatorServer::Start(job_, {});
    ASSERT_THAT(server, IsOk());
    server_ = *std::move(server);
    people_ = Coordinator::NewStub(
        grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials()));
  }

  std::unique_ptr<GangClient> Connect(int64_t step) {
    return std::make_unique<GangClient>(server_->address(), JoinAt(job_, step));
  }

  JobStatus Status() {
    grpc::ClientContext context;
    JobStatus status;
    EXPECT_TRUE(people_->GetStatus(&context, {}, &status).ok());
    return status;
  }

  template <typename Request, typename Method>
  grpc::Status Ask(Method method, std::string* message) {
    grpc::ClientContext context;
    Request request;
    request.set_who("ann");
    ActionReply reply;
    const grpc::Status status = ((*people_).*method)(&context, request, &reply);
    *message = status.ok() ? reply.message() : status.error_message();
    return status;
  }

  std::vector<std::string> MetricLines() {
    std::vector<std::string> events;
    const std::string text = ReadFile(output_ + "/metrics.jsonl").value();
    for (const auto& line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
      const auto json = nlohmann::json::parse(std::string(line));
      events.push_back(
          absl::StrCat(json["event"].get<std::string>(), " ", json["step"].get<int64_t>()));
    }
    return events;
  }

  std::string output_;
  Job job_;
  std::unique_ptr<CoordinatorServer> server_;
  std::unique_ptr<Coordinator::Stub> people_;
};

// Trains from the first plan at hand to the end of the job, as a gang does.
void TrainToTheEnd(const Job& job, GangClient* gang) {
  for (;;) {
    const Plan plan = gang->NextPlan();
    if (plan.step() == 0) return;
    gang->Send(StepMessage(job, plan));
    if (plan.evaluate_after()) gang->Send(EvalMessage(plan.generation(), plan.step()));
    if (plan.checkpoint_after()) gang->Send(CheckpointMessage(plan.generation(), plan.step()));
    if (plan.last()) break;
  }
  EXPECT_EQ(gang->Next().stop().reason(), "the job is done");
  gang->Send(LeaveMessage(Leave::JOB_DONE, "", 7));
}

TEST_F(ServerTest, AJobRunsFromJoinToDone) {
  Start();
  EXPECT_EQ(Status().state(), PENDING);
  const auto json = nlohmann::json::parse(ReadFile(output_ + "/coordinator.json").value());
  EXPECT_EQ(json["address"], server_->address());
  EXPECT_EQ(json["pid"], getpid());

  auto gang = Connect(0);
  const Order welcome = gang->Next();
  ASSERT_TRUE(welcome.has_welcome());
  EXPECT_EQ(welcome.welcome().num_steps(), 7);
  EXPECT_EQ(welcome.welcome().ledger_head().size(), 64u);
  TrainToTheEnd(job_, gang.get());
  EXPECT_TRUE(gang->Finish().ok());

  EXPECT_EQ(server_->WaitUntilEnded(), DONE);
  EXPECT_THAT(server_->Failure(), IsOk());
  const JobStatus status = Status();
  EXPECT_EQ(status.step(), 7);
  EXPECT_EQ(status.epoch(), 2.5);
  EXPECT_EQ(status.last_checkpoint(), "step-00000007");
  EXPECT_EQ(status.coordinator(), server_->address());
  server_->Shutdown();
  EXPECT_FALSE(FileExists(output_ + "/coordinator.json"));
  EXPECT_THAT(LoadJob(output_ + "/job.yaml", {}), IsOk());
  const auto report = Audit(LedgerPath(output_));
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->committed_steps, 7);
  EXPECT_EQ(report->epochs.size(), 3u);
}

TEST_F(ServerTest, ADoneJobSendsTheNextGangHome) {
  Start();
  auto gang = Connect(0);
  gang->Next();
  TrainToTheEnd(job_, gang.get());
  gang->Finish();
  server_->Shutdown();
  Start();
  auto stub =
      Gang::NewStub(grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  OpenJobReply reply;
  ASSERT_TRUE(stub->OpenJob(&context, {}, &reply).ok());
  EXPECT_EQ(reply.status().state(), DONE);
  EXPECT_EQ(reply.job_digest(), JobDigest(job_));
  gang = Connect(7);
  EXPECT_TRUE(gang->Next().has_welcome());
  EXPECT_EQ(gang->Next().stop().reason(), "the job is done");
  gang->Send(LeaveMessage(Leave::STOPPED));
  EXPECT_TRUE(gang->Finish().ok());
  EXPECT_EQ(Status().state(), DONE);
}

TEST_F(ServerTest, PeoplePauseResumeSaveAndStop) {
  Start();
  std::string message;
  EXPECT_EQ(Ask<PauseRequest>(&Coordinator::Stub::Pause, &message).error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(message, "cannot pause: the job is pending");
  auto gang = Connect(0);
  gang->Next();
  const Plan first = gang->NextPlan();
  const Plan second = gang->NextPlan();
  EXPECT_TRUE(Ask<PauseRequest>(&Coordinator::Stub::Pause, &message).ok());
  EXPECT_EQ(message, "pausing after step 2");
  gang->Send(StepMessage(job_, first));
  gang->Send(StepMessage(job_, second));
  while (Status().step() < 2) std::this_thread::yield();
  EXPECT_EQ(Status().state(), PAUSED);
  EXPECT_TRUE(Ask<CheckpointNowRequest>(&Coordinator::Stub::CheckpointNow, &message).ok());
  EXPECT_TRUE(gang->Next().has_save_checkpoint());  // no plan before it: the job is paused
  gang->Send(CheckpointMessage(second.generation(), 2));
  while (Status().last_checkpoint_step() < 2) std::this_thread::yield();
  EXPECT_TRUE(Ask<ResumeRequest>(&Coordinator::Stub::Resume, &message).ok());
  EXPECT_EQ(gang->NextPlan().step(), 3);
  EXPECT_EQ(gang->NextPlan().step(), 4);
  EXPECT_TRUE(Ask<StopRequest>(&Coordinator::Stub::Stop, &message).ok());
  EXPECT_EQ(message, "stopping after step 4");
  EXPECT_EQ(gang->Next().stop().reason(), "stopped by ann");
  gang->Send(LeaveMessage(Leave::STOPPED, "", 4));
  EXPECT_TRUE(gang->Finish().ok());
  EXPECT_EQ(server_->WaitUntilEnded(), WAITING);
}

TEST_F(ServerTest, RefusedGangsLearnBothValues) {
  Start();
  Join join = JoinAt(job_, 0);
  join.set_job_digest("other");
  const grpc::Status digest = GangClient(server_->address(), join).Finish();
  EXPECT_EQ(digest.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(digest.error_message(),
            "the job digest differs: the job has " + JobDigest(job_) + ", the gang has other");
  auto first = Connect(0);
  first->Next();
  join = JoinAt(job_, 0);
  join.set_num_ranks(3);
  const grpc::Status shape = GangClient(server_->address(), join).Finish();
  EXPECT_EQ(shape.error_message(),
            "the number of ranks differs: gang 1 (host:1, 2 ranks) has 2, the gang has 3");
}

TEST_F(ServerTest, AGangWithoutHeartbeatIsGone) {
  Start();
  auto gang = Connect(0);
  gang->Next();
  while (Status().state() != WAITING) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(gang->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST_F(ServerTest, ABrokenGangGoesOnFromItsCheckpointWithoutDoubleMetrics) {
  Start();
  auto gang = Connect(0);
  gang->Next();
  for (int step = 1; step <= 6; ++step) {
    const Plan plan = gang->NextPlan();
    gang->Send(StepMessage(job_, plan));
    if (step == 4) gang->Send(CheckpointMessage(plan.generation(), 4));
  }
  while (Status().step() < 6) std::this_thread::yield();
  gang->Break();
  while (Status().state() != WAITING) std::this_thread::yield();
  EXPECT_EQ(MetricLines().size(), 7u);

  gang = Connect(4);
  const Order welcome = gang->Next();
  EXPECT_EQ(welcome.welcome().gang(), 2);
  const Plan fifth = gang->NextPlan();
  EXPECT_EQ(fifth.step(), 5);
  EXPECT_EQ(Status().step(), 4);
  EXPECT_THAT(MetricLines(),
              ::testing::ElementsAre("step 1", "step 2", "step 3", "step 4", "checkpoint 4"));
  gang->Send(StepMessage(job_, fifth));
  TrainToTheEnd(job_, gang.get());
  EXPECT_EQ(server_->WaitUntilEnded(), DONE);
  EXPECT_THAT(MetricLines(),
              ::testing::ElementsAre("step 1", "step 2", "step 3", "step 4", "checkpoint 4",
                                     "step 5", "step 6", "step 7", "checkpoint 7"));
}

TEST_F(ServerTest, AStepThatComesOutDifferentFailsTheJob) {
  Start();
  auto gang = Connect(0);
  gang->Next();
  gang->Send(StepMessage(job_, gang->NextPlan()));
  while (Status().step() < 1) std::this_thread::yield();
  gang->Break();
  while (Status().state() != WAITING) std::this_thread::yield();
  gang = Connect(0);
  gang->Next();
  GangMessage message = StepMessage(job_, gang->NextPlan());
  message.mutable_step()->set_fingerprint("bad");
  gang->Send(message);
  EXPECT_EQ(server_->WaitUntilEnded(), FAILED);
  EXPECT_THAT(Status().error(), HasSubstr("step 1 was done again and came out different"));
  EXPECT_EQ(ExitCodeOf(server_->Failure()), ExitCode::kDivergence);
  EXPECT_EQ(gang->Finish().error_code(), grpc::StatusCode::DATA_LOSS);
}

TEST_F(ServerTest, WatchersSeeEveryStepAndTheEnd) {
  Start();
  grpc::ClientContext context;
  const auto reader = people_->Watch(&context, {});
  JobStatus status;
  ASSERT_TRUE(reader->Read(&status));
  EXPECT_EQ(status.state(), PENDING);
  auto gang = Connect(0);
  gang->Next();
  TrainToTheEnd(job_, gang.get());
  std::vector<int64_t> steps;
  while (reader->Read(&status)) {
    if (steps.empty() || steps.back() != status.step()) steps.push_back(status.step());
  }
  EXPECT_THAT(steps, ::testing::ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_EQ(status.state(), DONE);
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(ServerTest, AFullDiskEndsTheJobAndTheNextStartGoesOn) {
  Start();
  auto gang = Connect(0);
  gang->Next();
  gang->Send(StepMessage(job_, gang->NextPlan()));
  while (Status().step() < 1) std::this_thread::yield();
  signal(SIGXFSZ, SIG_IGN);
  rlimit unlimited;
  getrlimit(RLIMIT_FSIZE, &unlimited);
  const rlimit full = {.rlim_cur = 1, .rlim_max = unlimited.rlim_max};
  setrlimit(RLIMIT_FSIZE, &full);
  gang->Send(StepMessage(job_, gang->NextPlan()));
  EXPECT_EQ(server_->WaitUntilEnded(), FAILED);
  setrlimit(RLIMIT_FSIZE, &unlimited);
  EXPECT_EQ(gang->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ExitCodeOf(server_->Failure()), ExitCode::kDiskFull);
  EXPECT_THAT(Status().error(), HasSubstr("free some space"));
  server_->Shutdown();
  Start();
  EXPECT_EQ(Status().state(), WAITING);
  EXPECT_EQ(Status().step(), 1);
}

TEST_F(ServerTest, RefusesWhatItCannotServe) {
  EXPECT_THAT(CoordinatorServer::Start(job_, {.listen = "0.0.0.0:0", .token_file = ""}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("--token-file"), HasSubstr("TLS"))));
  Start();
  EXPECT_THAT(CoordinatorServer::Start(job_, {}),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr(absl::StrCat("another coordinator serves this job: pid ", getpid(),
                                              " on host "))));
  const Job other = ScriptedJob(output_ + "_2", {});
  EXPECT_THAT(CoordinatorServer::Start(other, {.listen = server_->address(), .token_file = ""}),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("cannot listen on")));
  std::filesystem::remove_all(output_ + "_2");
  auto gang = Connect(0);
  gang->Next();
  server_->Shutdown();
  EXPECT_THAT(CoordinatorServer::Start(ScriptedJob(output_, {"training.seed=43"}), {}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("holds another job: training.seed was 42, is 43"),
                             HasSubstr(JobDigest(job_)))));
}

}  // namespace
}  // namespace liquid
