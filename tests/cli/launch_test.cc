#include "cli/launch.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<RunResult> RunShell(const std::string& script) {
  return RunForwardingSignals({"sh", "-c", script});
}

TEST(MpirunCommand, CopesWithRootAndTooFewCores) {
  Launch launch;
  launch.num_ranks = 3;
  launch.worker = "/opt/liquid-worker";
  launch.worker_arguments = {"--config", "a job.yaml"};
  const std::vector<std::string> command = MpirunCommand(launch);
  EXPECT_EQ(command[0], "mpirun");
  EXPECT_THAT(command, Contains("--allow-run-as-root"));
  EXPECT_THAT(command, Contains("--oversubscribe"));
  const std::vector<std::string> tail(command.end() - 5, command.end());
  EXPECT_THAT(tail, ElementsAre("-n", "3", "/opt/liquid-worker", "--config", "a job.yaml"));
}

TEST(RunForwardingSignals, GivesTheExitCode) {
  const auto result = RunShell("exit 42");
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->code, 42);
  EXPECT_EQ(result->num_signals, 0);
}

TEST(RunForwardingSignals, NamesTheSignalThatKilledIt) {
  const auto result = RunShell("kill -9 $$");
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->code, 128 + SIGKILL);
}

TEST(RunForwardingSignals, SaysThatTheProgramIsMissing) {
  EXPECT_THAT(RunForwardingSignals({"/nowhere/program"}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/nowhere/program")));
}

// The script creates `ready` once it can be signalled; then this process gets `signals`, from a
// process of its own: a thread would be hit by them instead.
RunResult RunAndSignal(const std::string& script, const std::string& ready,
                       const std::vector<int>& signals) {
  unlink(ready.c_str());
  const pid_t runner = getpid();
  const pid_t sender = fork();
  if (sender == 0) {
    while (access(ready.c_str(), F_OK) != 0) usleep(5000);
    for (const int signal : signals) {
      kill(runner, signal);
      usleep(200000);
    }
    _exit(0);
  }
  const auto result = RunShell(script);
  waitpid(sender, nullptr, 0);
  unlink(ready.c_str());
  EXPECT_THAT(result, IsOk());
  return result.value_or(RunResult());
}

TEST(RunForwardingSignals, AsksFirstAndInsistsThen) {
  const std::string ready = ::testing::TempDir() + "/liquid_launch_" + std::to_string(getpid());
  const std::string polite =
      "trap 'exit 7' USR1; trap 'exit 8' TERM; touch " + ready + "; while :; do sleep 0.02; done";
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) {
    const RunResult result = RunAndSignal(polite, ready, {signal});
    EXPECT_EQ(result.code, 7) << signal;
    EXPECT_EQ(result.num_signals, 1) << signal;
  }
  const std::string stubborn =
      "trap '' USR1; trap 'exit 8' TERM; touch " + ready + "; while :; do sleep 0.02; done";
  EXPECT_EQ(RunAndSignal(stubborn, ready, {SIGINT, SIGINT}).code, 8);
}

TEST(RunForwardingSignals, TheCommandCanBeSignalled) {
  const auto result = RunShell("kill -TERM $$; exit 1");  // would go on if SIGTERM were blocked
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->code, 128 + SIGTERM);
}

TEST(CheckOnPath, FindsProgramsAndNamesTheMissing) {
  EXPECT_THAT(CheckOnPath("sh"), IsOk());
  EXPECT_THAT(CheckOnPath("no-such-program"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("tools/bootstrap")));
}

}  // namespace
}  // namespace liquid
