#include "cli/child_process.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "cli/signal_inbox.h"
#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;

std::string TemporaryPath(const std::string& name) {
  return absl::StrCat(::testing::TempDir(), "/liquid_child_", getpid(), "_", name);
}

int WaitFor(pid_t pid) {
  for (;;) {
    if (const auto code = ReapChild(pid)) return *code;
    usleep(1000);
  }
}

TEST(StartChild, AppendsToItsLog) {
  const std::string log = TemporaryPath("log");
  for (const char* text : {"one", "two"}) {
    const auto pid = StartChild({"sh", "-c", absl::StrCat("echo ", text, "; echo err >&2")}, log);
    ASSERT_THAT(pid, IsOk());
    EXPECT_EQ(WaitFor(*pid), 0);
  }
  EXPECT_EQ(ReadFile(log).value(), "one\nerr\ntwo\nerr\n");
  unlink(log.c_str());
}

TEST(StartChild, TellsHowItEnded) {
  EXPECT_EQ(WaitFor(StartChild({"sh", "-c", "exit 9"}, "").value()), 9);
  EXPECT_EQ(WaitFor(StartChild({"sh", "-c", "kill -9 $$"}, "").value()), 128 + SIGKILL);
  EXPECT_EQ(WaitFor(StartChild({"/nowhere/program"}, "").value()), kCannotExec);
  EXPECT_THAT(StartChild({"true"}, "/nowhere/log"), ::testing::Not(IsOk()));
}

TEST(StartChild, RunningIsNotEnded) {
  const pid_t pid = StartChild({"sleep", "100"}, "").value();
  EXPECT_EQ(ReapChild(pid), std::nullopt);
  EXPECT_EQ(getpgid(pid), pid);
  kill(pid, SIGKILL);
  EXPECT_EQ(WaitFor(pid), 128 + SIGKILL);
}

TEST(StartChild, EndsWithTheProcessThatStartedIt) {
  const std::string path = TemporaryPath("pid");
  const pid_t starter = fork();
  if (starter == 0) {
    static_cast<void>(StartChild(
        {"sh", "-c",
         "trap 'rm " + path + "; exit' TERM; touch " + path + "; while :; do sleep 0.02; done"},
        ""));
    while (access(path.c_str(), F_OK) != 0) usleep(1000);
    _exit(0);
  }
  waitpid(starter, nullptr, 0);
  for (int i = 0; i < 2000 && FileExists(path); ++i) usleep(1000);
  EXPECT_FALSE(FileExists(path)) << "nobody told the child that its parent is gone";
}

TEST(SignalInbox, HandsSignalsOutOneByOne) {
  SignalInbox inbox;
  EXPECT_EQ(inbox.Next(absl::ZeroDuration()), 0);
  kill(getpid(), SIGTERM);
  EXPECT_EQ(inbox.Next(absl::Seconds(5)), SIGTERM);
  EXPECT_EQ(inbox.Next(absl::Milliseconds(1)), 0);
  const pid_t pid = StartChild({"true"}, "").value();
  EXPECT_EQ(inbox.Next(absl::Seconds(5)), SIGCHLD);
  WaitFor(pid);
}

// A run that is over has ended the way it did, whatever comes before its process is gone.
TEST(SignalInbox, SignalsStayHarmlessWhenItIsGone) {
  { SignalInbox inbox; }
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) kill(getpid(), signal);
  SignalInbox next;
  while (next.Next(absl::ZeroDuration()) > 0) {
  }
}

}  // namespace
}  // namespace liquid
