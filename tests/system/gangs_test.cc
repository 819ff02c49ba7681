// Liquid epochs, seen from outside: gangs pour in and go, die, lag and lie, the coordinator is
// killed; the bits are those of one gang that nobody disturbed, and the ledger proves it.
#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "tests/system/gang_processes.h"

namespace liquid::testing {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(60);

class GangsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    job_.directory = directory_.path();
    WriteTinyJob(job_);
  }

  std::string Run() const { return directory_ / "run"; }

  // On one rank, undisturbed.
  std::string Reference(const std::vector<std::string>& more = {}) {
    std::vector<std::string> command = {"liquid", "train", directory_ / "job.yaml", "--set",
                                        absl::StrCat("output=", directory_ / "reference")};
    command.insert(command.end(), more.begin(), more.end());
    const Finished run = RunToEnd(command);
    EXPECT_EQ(run.exit_code, 0) << run.output;
    return FingerprintOfJob(directory_ / "reference");
  }

  std::unique_ptr<Process> StartCoordinator(const std::vector<std::string>& more = {},
                                            const std::string& listen = "127.0.0.1:0") {
    auto coordinator = testing::StartCoordinator(directory_ / "job.yaml", listen, more, &address_);
    EXPECT_NE(coordinator, nullptr);
    return coordinator;
  }

  std::unique_ptr<Process> StartGang(int ranks, int slot_ms = 10,
                                     const std::vector<std::string>& more = {}) {
    return testing::StartGang(address_, ranks, slot_ms / 1000.0, more);
  }

  static bool IsWorking(Process& gang) { return gang.WaitForOutput("go on from step", kPatience); }

  // A connection that says `garbage_bytes` of nonsense, and no more.
  static int Poke(int port, size_t garbage_bytes) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in target = {};
    target.sin_family = AF_INET;
    target.sin_port = htons(static_cast<uint16_t>(port));
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&target), sizeof(target)), 0);
    const std::string garbage(garbage_bytes, 'x');
    if (!garbage.empty()) send(fd, garbage.data(), garbage.size(), MSG_NOSIGNAL);
    return fd;
  }

  void ExpectTheSameBits(const std::string& reference) {
    EXPECT_EQ(FingerprintOfJob(Run()), reference);
    const Finished audit = RunToEnd({"liquid", "audit", Run()});
    EXPECT_EQ(audit.exit_code, 0) << audit.output;
  }
  void ExpectNothingWasGivenUp() {
    EXPECT_THAT(RunToEnd({"liquid", "audit", Run()}).output, HasSubstr("; 0 were given up"));
  }

  TemporaryDirectory directory_;
  TinyJob job_;
  std::string address_;
};

TEST_F(GangsTest, ThreeGangsThatJoinInTheMiddleGiveTheBitsOfOne) {
  const std::string reference = Reference();
  for (const int ranks : {1, 2}) {
    std::filesystem::remove_all(Run());
    auto coordinator = StartCoordinator();
    auto a = StartGang(ranks, 120 * ranks);
    ASSERT_TRUE(a->WaitForOutput("step 1/", kPatience)) << a->output();
    auto b = StartGang(ranks, 90 * ranks);
    ASSERT_TRUE(IsWorking(*b)) << b->output();
    auto c = StartGang(ranks, 200 * ranks);
    ASSERT_TRUE(IsWorking(*c)) << c->output();
    EXPECT_THAT(b->output(), HasSubstr("received the state"));
    for (Process* gang : {a.get(), b.get(), c.get()}) {
      const Finished end = gang->Wait(kPatience);
      EXPECT_EQ(end.exit_code, 0) << end.output;
    }
    EXPECT_EQ(coordinator->Wait(kPatience).exit_code, 0);
    ExpectTheSameBits(reference);
    ExpectNothingWasGivenUp();
  }
}

// What is sent are the master weights; with the rounded ones the next updates would differ.
TEST_F(GangsTest, ABf16GangThatJoinsReceivesTheMasterWeights) {
  const std::vector<std::string> bf16 = {"--set", "training.precision=bf16"};
  const std::string reference = Reference(bf16);
  auto coordinator = StartCoordinator(bf16);
  auto a = StartGang(2, 100);
  ASSERT_TRUE(a->WaitForOutput("step 3/", kPatience)) << a->output();
  auto b = StartGang(2, 100);
  ASSERT_TRUE(IsWorking(*b)) << b->output();
  EXPECT_THAT(b->output(), HasSubstr("received the state"));
  a->Signal(SIGKILL);  // the rest is from what b has received
  const Finished end = b->Wait(kPatience);
  EXPECT_EQ(end.exit_code, 0) << end.output;
  EXPECT_EQ(coordinator->Wait(kPatience).exit_code, 0);
  ExpectTheSameBits(reference);
}

// Two gangs of one and of two replicas; sums of gradients whole and sharded.
TEST_F(GangsTest, GangsOfTensorParallelReplicasGiveTheBitsOfTheirDegree) {
  const std::string degree = "model.tensor_parallel=2";
  const std::string reference = Reference({"-n", "2", "--set", degree});
  for (const char* shard : {"optimizer", "gradients"}) {
    for (const int ranks : {2, 4}) {
      SCOPED_TRACE(absl::StrCat(ranks, " ranks, shard ", shard));
      std::filesystem::remove_all(Run());
      auto coordinator =
          StartCoordinator({"--set", degree, "--set", absl::StrCat("training.shard=", shard)});
      auto a = StartGang(ranks, 50);
      ASSERT_TRUE(a->WaitForOutput("step 1/", kPatience)) << a->output();
      auto b = StartGang(ranks, 30);
      for (Process* gang : {a.get(), b.get()}) {
        const Finished end = gang->Wait(kPatience);
        EXPECT_EQ(end.exit_code, 0) << end.output;
      }
      EXPECT_EQ(coordinator->Wait(kPatience).exit_code, 0);
      EXPECT_THAT(b->output(), HasSubstr("received the state"));
      ExpectTheSameBits(reference);
      ExpectNothingWasGivenUp();
    }
  }
}

TEST_F(GangsTest, SurvivorsOfAKilledGangCommitTheSameStepAndLoseNothing) {
  const std::string reference = Reference();
  auto coordinator = StartCoordinator();
  auto a = StartGang(1, 150);
  auto b = StartGang(1, 150);
  auto c = StartGang(1, 150);
  ASSERT_TRUE(a->WaitForOutput("gangs 1 2 3 go on", kPatience)) << a->output();
  kill(Descendants(b->pid()).at(0), SIGKILL);
  ASSERT_TRUE(coordinator->WaitForOutput("left", kPatience)) << coordinator->output();
  EXPECT_EQ(a->Wait(kPatience).exit_code, 0);
  EXPECT_EQ(c->Wait(kPatience).exit_code, 0);
  EXPECT_EQ(coordinator->Wait(kPatience).exit_code, 0);
  ExpectTheSameBits(reference);
  ExpectNothingWasGivenUp();
}

TEST_F(GangsTest, TheCoordinatorMayBeKilledAndComeBack) {
  const std::string reference = Reference();
  auto coordinator = StartCoordinator();
  auto a = StartGang(1, 150);
  auto b = StartGang(1, 150);
  ASSERT_TRUE(IsWorking(*b)) << b->output();
  for (int i = 0; i < 2; ++i) {
    coordinator->Signal(SIGKILL);
    coordinator->Wait();
    absl::SleepFor(absl::Milliseconds(300));
    coordinator = StartCoordinator({}, address_);
    EXPECT_TRUE(coordinator->WaitForOutput("generation", kPatience)) << coordinator->output();
  }
  EXPECT_EQ(a->Wait(kPatience).exit_code, 0) << a->output();
  EXPECT_EQ(b->Wait(kPatience).exit_code, 0) << b->output();
  ExpectTheSameBits(reference);
  ExpectNothingWasGivenUp();
}

TEST_F(GangsTest, AGangThatIsAskedToGoLeavesTheJobToTheOthers) {
  job_.epochs = 20;
  WriteTinyJob(job_);
  const std::string reference = Reference();
  auto coordinator = StartCoordinator();
  auto a = StartGang(2, 300);
  ASSERT_TRUE(a->WaitForOutput("step 1/", kPatience)) << a->output();
  auto b = StartGang(2, 300);
  ASSERT_TRUE(IsWorking(*b)) << b->output();
  kill(Descendants(a->pid()).at(1), SIGTERM);  // any one rank is enough
  EXPECT_EQ(a->Wait(kPatience).exit_code, 75) << a->output();
  auto c = StartGang(2, 300, {"--deadline", "6"});
  ASSERT_TRUE(IsWorking(*c)) << c->output();
  EXPECT_EQ(c->Wait(kPatience).exit_code, 75) << c->output();
  auto d = StartGang(2, 300);
  ASSERT_TRUE(IsWorking(*d)) << d->output();
  const Finished drain = RunToEnd({"liquid", "drain", "2", Run()});
  EXPECT_EQ(drain.exit_code, 0) << drain.output;
  EXPECT_EQ(b->Wait(kPatience).exit_code, 0) << b->output();
  EXPECT_EQ(d->Wait(kPatience).exit_code, 0) << d->output();
  ExpectTheSameBits(reference);
  ExpectNothingWasGivenUp();
}

TEST_F(GangsTest, AFrozenGangIsMissedAndComesBackThawed) {
  job_.epochs = 12;  // the others go round it at once, and shall not be done before it is missed
  WriteTinyJob(job_);
  const std::string reference = Reference();
  auto coordinator = StartCoordinator();
  auto a = StartGang(1, 60);
  ASSERT_TRUE(a->WaitForOutput("step 1/", kPatience)) << a->output();
  auto b = StartGang(1, 60);
  ASSERT_TRUE(IsWorking(*b)) << b->output();
  const std::vector<pid_t> ranks = Descendants(b->pid());
  for (const pid_t pid : ranks) kill(pid, SIGSTOP);
  ASSERT_TRUE(coordinator->WaitForOutput("no heartbeat", kPatience)) << coordinator->output();
  for (const pid_t pid : ranks) kill(pid, SIGCONT);
  EXPECT_EQ(a->Wait(kPatience).exit_code, 0) << a->output();
  EXPECT_EQ(b->Wait(kPatience).exit_code, 0) << b->output();
  ExpectTheSameBits(reference);
  ExpectNothingWasGivenUp();
}

// MPI alone would let the others wait for it for ever. The leader tells the coordinator; when it is
// the leader, its silence does.
TEST_F(GangsTest, ARankThatFreezesEndsItsGangByNameAndTheOthersGoOn) {
  job_.heartbeat_timeout_seconds = 1;  // so a rank is missed after 4 s
  job_.epochs = 14;                    // the others shall not be done before
  WriteTinyJob(job_);
  const std::pair<int, int> cases[] = {{1, 1}, {2, 0}};
  for (const auto& [degree, frozen] : cases) {
    SCOPED_TRACE(absl::StrCat("degree ", degree, ", rank ", frozen));
    const std::string tensor_parallel = absl::StrCat("model.tensor_parallel=", degree);
    std::filesystem::remove_all(Run());
    std::filesystem::remove_all(directory_ / "reference");
    const std::string reference = Reference({"-n", "2", "--set", tensor_parallel});
    auto coordinator = StartCoordinator({"--set", tensor_parallel});
    auto a = StartGang(2, 100);
    ASSERT_TRUE(a->WaitForOutput("step 1/", kPatience)) << a->output();
    auto b = StartGang(2, 100);
    ASSERT_TRUE(IsWorking(*b)) << b->output();
    const absl::Time frozen_at = absl::Now();
    kill(Descendants(b->pid()).at(static_cast<size_t>(frozen)), SIGSTOP);  // ranks come first
    const Finished end = b->Wait(kPatience);
    EXPECT_EQ(end.exit_code, 7) << end.output;
    EXPECT_LT(absl::Now() - frozen_at, absl::Seconds(30));  // on a busy machine
    EXPECT_THAT(end.output, HasSubstr(absl::StrCat("rank ", frozen, " has been silent for")));
    EXPECT_TRUE(coordinator->WaitForOutput("gang 2 ", kPatience)) << coordinator->output();
    EXPECT_EQ(a->Wait(kPatience).exit_code, 0) << a->output();
    EXPECT_EQ(coordinator->Wait(kPatience).exit_code, 0);
    EXPECT_THAT(coordinator->output(),
                HasSubstr(frozen == 0 ? "no heartbeat" : "rank 1 has been silent"));
    ExpectTheSameBits(reference);
    ExpectNothingWasGivenUp();
  }
}

// Long before it is missed: its last slots are done by the others too, and whoever is first wins.
TEST_F(GangsTest, NobodyWaitsForAGangThatIsStuckInASlot) {
  job_.heartbeat_timeout_seconds = 8;  // a hedge after 1.6 s
  job_.epochs = 12;
  WriteTinyJob(job_);
  const std::string reference = Reference();
  auto coordinator = StartCoordinator();
  auto a = StartGang(1, 80);
  ASSERT_TRUE(a->WaitForOutput("step 1/", kPatience)) << a->output();
  auto b = StartGang(1, 80);
  ASSERT_TRUE(IsWorking(*b)) << b->output();
  absl::SleepFor(absl::Milliseconds(600));  // it has reported a step, and is in the next
  const std::vector<pid_t> ranks = Descendants(b->pid());
  const absl::Time stuck_at = absl::Now();
  for (const pid_t pid : ranks) kill(pid, SIGSTOP);
  EXPECT_TRUE(coordinator->WaitForOutput("is stuck in a slot", kPatience)) << coordinator->output();
  EXPECT_LT(absl::Now() - stuck_at, absl::Seconds(5));
  EXPECT_TRUE(a->WaitForOutput("checkpoint step-00000010", kPatience)) << a->output();
  EXPECT_LT(absl::Now() - stuck_at, absl::Seconds(8));
  const Finished gangs = RunToEnd({"liquid", "gangs", Run()});
  EXPECT_THAT(gangs.output, HasSubstr("stuck"));
  for (const pid_t pid : ranks) kill(pid, SIGCONT);
  EXPECT_TRUE(coordinator->WaitForOutput("is no longer stuck", kPatience)) << coordinator->output();
  EXPECT_EQ(a->Wait(kPatience).exit_code, 0) << a->output();
  EXPECT_EQ(b->Wait(kPatience).exit_code, 0) << b->output();
  ExpectTheSameBits(reference);
  ExpectNothingWasGivenUp();
}

// With every slot audited no wrong gradient gets into a sum: the liar is found out before.
TEST_F(GangsTest, AGangThatComputesWrongIsNamedDrainedAndDoesNoHarm) {
  const std::string reference = Reference();
  job_.audit_every = 1;
  WriteTinyJob(job_);
  auto coordinator = StartCoordinator();
  auto a = StartGang(1, 120);
  ASSERT_TRUE(a->WaitForOutput("step 1/", kPatience)) << a->output();
  auto b = StartGang(1, 120);
  ASSERT_TRUE(IsWorking(*b)) << b->output();
  auto liar = StartGang(1, 120, {"--test-flip-every", "2"});
  ASSERT_TRUE(coordinator->WaitForOutput("wrong", kPatience)) << coordinator->output();
  const Finished end = liar->Wait(kPatience);
  EXPECT_EQ(end.exit_code, 9) << end.output;
  EXPECT_THAT(end.output, HasSubstr("wrong"));
  EXPECT_EQ(a->Wait(kPatience).exit_code, 0) << a->output();
  EXPECT_EQ(b->Wait(kPatience).exit_code, 0) << b->output();
  EXPECT_THAT(coordinator->output(), HasSubstr("gang 3"));
  ExpectTheSameBits(reference);
}

TEST_F(GangsTest, WhoDoesNotBelongIsRefusedWithBothValues) {
  const std::string reference = Reference();
  auto coordinator = StartCoordinator();
  auto a = StartGang(2, 200);
  ASSERT_TRUE(a->WaitForOutput("step 1/", kPatience)) << a->output();

  auto other_shape = StartGang(1, 1);
  const Finished shape = other_shape->Wait(kPatience);
  EXPECT_NE(shape.exit_code, 0);
  EXPECT_THAT(shape.output, HasSubstr("has 2, the gang has 1")) << shape.output;

  // Garbage and silence on the data ports.
  std::vector<int> silent;
  for (const pid_t pid : Descendants(a->pid())) {
    for (const int port : ListeningPorts(pid)) {
      for (const size_t garbage_bytes : {0, 5, 5000}) silent.push_back(Poke(port, garbage_bytes));
    }
  }
  EXPECT_GE(silent.size(), 6u) << "two ranks have a data port each";
  auto b = StartGang(2, 10);
  EXPECT_TRUE(IsWorking(*b)) << b->output();
  EXPECT_EQ(b->Wait(kPatience).exit_code, 0) << b->output();
  EXPECT_EQ(a->Wait(kPatience).exit_code, 0) << a->output();
  for (const int fd : silent) close(fd);
  ExpectTheSameBits(reference);

  address_ = "127.0.0.1:9";
  const Finished nobody = StartGang(1)->Wait(kPatience);
  EXPECT_NE(nobody.exit_code, 0);
  EXPECT_THAT(nobody.output, HasSubstr("no coordinator answers at 127.0.0.1:9"));
}

TEST_F(GangsTest, AnEmbeddedCoordinatorTakesInFurtherGangs) {
  const std::string reference = Reference();
  Process host({absl::StrCat(LIQUID_BIN_DIR, "/liquid-worker"), "--config", directory_ / "job.yaml",
                "--test-slot-seconds", "0.06"});
  ASSERT_TRUE(
      host.WaitForOutput("another gang joins with: mpirun -n 1 liquid-worker "
                         "--coordinator 127.0.0.1:",
                         kPatience))
      << host.output();
  ASSERT_TRUE(host.WaitForOutput("step 1/", kPatience)) << host.output();
  const std::string output = host.output();
  const size_t begin = output.find("--coordinator 127.0.0.1:") + 14;
  address_ = output.substr(begin, output.find('\n', begin) - begin);
  auto guest = StartGang(1, 60);
  ASSERT_TRUE(IsWorking(*guest)) << guest->output();
  EXPECT_EQ(host.Wait(kPatience).exit_code, 0) << host.output();
  EXPECT_EQ(guest->Wait(kPatience).exit_code, 0) << guest->output();
  ExpectTheSameBits(reference);
}

TEST_F(GangsTest, TheAccessTokenIsAskedFor) {
  std::ofstream(directory_ / "token") << "right\n";
  std::ofstream(directory_ / "wrong") << "wrong\n";
  chmod((directory_ / "token").c_str(), 0600);
  chmod((directory_ / "wrong").c_str(), 0600);
  auto coordinator = StartCoordinator({"--token-file", directory_ / "token"});
  const Finished without = StartGang(1)->Wait(kPatience);
  EXPECT_NE(without.exit_code, 0);
  EXPECT_THAT(without.output, HasSubstr("access token"));
  const Finished wrong = StartGang(1, 1, {"--token-file", directory_ / "wrong"})->Wait(kPatience);
  EXPECT_NE(wrong.exit_code, 0);
  EXPECT_THAT(wrong.output, HasSubstr("access token"));
  const Finished right = StartGang(1, 1, {"--token-file", directory_ / "token"})->Wait(kPatience);
  EXPECT_EQ(right.exit_code, 0) << right.output;
}

TEST_F(GangsTest, AnotherDatasetIsRefused) {
  auto coordinator = StartCoordinator();
  auto a = StartGang(1, 100);
  ASSERT_TRUE(a->WaitForOutput("step 1/", kPatience)) << a->output();
  // The coordinator's job names a file; on another machine it holds something else.
  WriteConversations(directory_ / "train.jsonl", 29);
  const Finished other = StartGang(1)->Wait(kPatience);
  EXPECT_NE(other.exit_code, 0);
  EXPECT_THAT(other.output,
              AnyOf(HasSubstr("dataset digest differs"), HasSubstr("the number of rows differs")));
  EXPECT_EQ(a->Wait(kPatience).exit_code, 0) << a->output();
}

TEST_F(GangsTest, AReplayComesToTheFingerprintsOfTheLedger) {
  auto coordinator = StartCoordinator();
  auto a = StartGang(1, 1);
  EXPECT_EQ(a->Wait(kPatience).exit_code, 0) << a->output();
  coordinator->Wait(kPatience);
  const Finished replay = RunToEnd({"liquid", "replay", Run(), "--from",
                                    Run() + "/checkpoints/step-00000005", "--to-step", "9"});
  EXPECT_EQ(replay.exit_code, 0) << replay.output;
  EXPECT_THAT(replay.output, HasSubstr("step 9: "));
  const Finished from_start =
      RunToEnd({"liquid", "replay", Run(), "--from", "start", "--to-step", "3", "-n", "2"});
  EXPECT_EQ(from_start.exit_code, 0) << from_start.output;
  EXPECT_THAT(from_start.output, HasSubstr("step 3: "));
  const Finished too_far =
      RunToEnd({"liquid", "replay", Run(), "--from", "start", "--to-step", "99"});
  EXPECT_NE(too_far.exit_code, 0);
  EXPECT_THAT(too_far.output, HasSubstr("99"));
}

}  // namespace
}  // namespace liquid::testing
