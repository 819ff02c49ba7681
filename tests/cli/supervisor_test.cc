// The supervisor with programs that are shell scripts: a coordinator that says where it is and runs
// until a file `done` tells it the job's end, and a mpirun that does what the test says.
#include "cli/supervisor.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/file.h"
#include "cli/child_process.h"
#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class SupervisorTest : public ::testing::Test {
 protected:
  SupervisorTest() {
    directory_ =
        (std::filesystem::temp_directory_path() / absl::StrCat("liquid_supervisor_test_", getpid()))
            .string();
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
    setenv("PATH", absl::StrCat(directory_, ":", path_before_).c_str(), 1);
    WriteScript("coordinator",
                "echo \"$@\" >> starts\n"
                "echo \"{\\\"address\\\": \\\"127.0.0.1:9\\\", \\\"pid\\\": $$}\" > "
                "coordinator.json\n"
                "while [ ! -e done ]; do sleep 0.02; done\n"
                "exit $(cat done)\n");
    supervision_.output = directory_;
    supervision_.coordinator.program = JoinPath(directory_, "coordinator");
    supervision_.coordinator.file = "job.yaml";
    supervision_.coordinator.listen = "127.0.0.1:0";
    supervision_.gang.worker = "worker";
    supervision_.restarts.delay = absl::Milliseconds(10);
  }
  ~SupervisorTest() override {
    setenv("PATH", path_before_.c_str(), 1);
    std::filesystem::remove_all(directory_);
  }

  // It runs in the test's directory.
  void WriteScript(const std::string& name, const std::string& body) {
    const std::string path = JoinPath(directory_, name);
    ASSERT_THAT(WriteFileAtomically(path, absl::StrCat("#!/bin/sh\ncd ", directory_, "\n", body)),
                IsOk());
    chmod(path.c_str(), 0755);
  }
  // What each gang does; `$run` counts the starts of all gangs, from 1.
  void WriteGang(const std::string& body) {
    WriteScript("mpirun", absl::StrCat("echo run >> runs\nrun=$(wc -l < runs)\n", body, "\n"));
  }
  std::string Content(const std::string& name) {
    return ReadFile(JoinPath(directory_, name)).value_or("");
  }
  int NumLines(const std::string& name) {
    const std::string text = Content(name);
    return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
  }

  const std::string path_before_ = std::getenv("PATH");
  std::string directory_;
  Supervision supervision_;
};

TEST_F(SupervisorTest, StartsADeadGangAgainAndEndsAsTheJobDoes) {
  WriteGang("echo \"$@\"; if [ $run -lt 3 ]; then kill -9 $$; fi; echo 0 > done");
  const auto end = Supervise(supervision_);
  ASSERT_THAT(end, IsOk());
  EXPECT_EQ(*end, ExitCode::kOk);
  EXPECT_EQ(NumLines("runs"), 3);
  EXPECT_EQ(NumLines("starts"), 1);
  EXPECT_THAT(Content("logs/gang-1.log"), HasSubstr("worker --coordinator 127.0.0.1:9"));
}

TEST_F(SupervisorTest, AnUnusualEndOfTheJobIsItsOwnEnd) {
  WriteGang("echo 00:00:00 coordinator E step 7 differs >> logs/coordinator.log; echo 5 > done");
  const auto end = Supervise(supervision_);
  EXPECT_EQ(ExitCodeOf(end.status()), ExitCode::kDivergence);
  EXPECT_EQ(end.status().message(), "step 7 differs");
}

TEST_F(SupervisorTest, TheCoordinatorComesBackAtTheSameAddress) {
  WriteGang(
      "kill -9 $(grep -o '[0-9]*}' coordinator.json | tr -d '}'); "
      "while [ $(wc -l < starts) -lt 2 ]; do sleep 0.02; done; echo 0 > done");
  ASSERT_THAT(Supervise(supervision_), IsOk());
  EXPECT_EQ(Content("starts"), "job.yaml --listen 127.0.0.1:0\njob.yaml --listen 127.0.0.1:9\n");
  EXPECT_EQ(NumLines("runs"), 1) << "a gang goes on while the coordinator is away";
}

TEST_F(SupervisorTest, ABadJobIsNotTriedAgain) {
  WriteGang("echo no such file; exit 2");
  supervision_.num_gangs = 2;
  const auto end = Supervise(supervision_);
  EXPECT_EQ(ExitCodeOf(end.status()), ExitCode::kBadConfig);
  EXPECT_THAT(end.status().message(), AllOf(HasSubstr("gang 1"), HasSubstr("no such file")));
  EXPECT_EQ(NumLines("runs"), 2);
}

TEST_F(SupervisorTest, GivesUpAfterTooManyRestarts) {
  WriteGang("exit 7");
  supervision_.restarts.max_restarts = 2;
  EXPECT_EQ(ExitCodeOf(Supervise(supervision_).status()), ExitCode::kPeerLost);
  EXPECT_EQ(NumLines("runs"), 3);
}

TEST_F(SupervisorTest, ASignalReachesAllGangsAndNothingIsStartedAfterIt) {
  WriteGang("trap 'exit 75' USR1; touch ready.$$; while :; do sleep 0.02; done");
  supervision_.num_gangs = 2;
  const auto sender =
      StartChild({"sh", "-c",
                  absl::StrCat("cd ", directory_,
                               "; while [ $(ls | grep -c ready) -lt 2 ]; do sleep 0.02; done; "
                               "kill -TERM ",
                               getpid())},
                 "");
  ASSERT_THAT(sender, IsOk());
  const auto end = Supervise(supervision_);
  ASSERT_THAT(end, IsOk());
  EXPECT_EQ(*end, ExitCode::kPreempted);
  EXPECT_EQ(NumLines("runs"), 2);
  while (!ReapChild(*sender).has_value()) usleep(1000);
}

TEST_F(SupervisorTest, AGangThatDoesNotEndIsEnded) {
  supervision_.num_gangs = 1;
  WriteGang(
      "trap 'echo asked >> asked' USR1; trap 'exit 1' TERM; touch ready1; "
      "while :; do sleep 0.02; done");
  const auto sender = StartChild(
      {"sh", "-c",
       absl::StrCat("cd ", directory_, "; while [ ! -e ready1 ]; do sleep 0.02; done; kill -INT ",
                    getpid(), "; while [ ! -e asked ]; do sleep 0.02; done; kill -INT ", getpid())},
      "");
  ASSERT_THAT(sender, IsOk());
  const auto end = Supervise(supervision_);
  ASSERT_THAT(end, IsOk());
  EXPECT_EQ(*end, ExitCode::kPreempted);
  while (!ReapChild(*sender).has_value()) usleep(1000);
}

}  // namespace
}  // namespace liquid
