#include "parallel/tcp/sentinel.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <functional>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;

// Long enough for a machine that does much else at the same time: it only bounds a failure.
constexpr absl::Duration kPatience = absl::Seconds(20);

// A worker: a process that has a sentinel and one connection, whose other end is here. The test's
// own process must have one thread, so that a fork of it may start others.
class Worker {
 public:
  explicit Worker(const std::function<void(Sentinel& sentinel, int fd)>& life) {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    process_ = fork();
    if (process_ == 0) {
      setpgid(0, 0);
      close(ends[0]);
      auto sentinel = Sentinel::Start();
      if (!sentinel.ok()) _exit(9);
      const pid_t watcher = (*sentinel)->process();
      if (write(ends[1], &watcher, sizeof(watcher)) != sizeof(watcher)) _exit(9);
      life(**sentinel, ends[1]);
      _exit(0);
    }
    close(ends[1]);
    fd_ = ends[0];
    EXPECT_EQ(recv(fd_, &sentinel_, sizeof(sentinel_), MSG_WAITALL), sizeof(sentinel_));
  }
  ~Worker() {
    kill(process_, SIGKILL);
    if (!is_reaped_) waitpid(process_, nullptr, 0);
    close(fd_);
  }

  void AwaitReady() const {
    char letter = 0;
    EXPECT_EQ(recv(fd_, &letter, 1, 0), 1);
  }
  void Kill(int signal, bool whole_group = false) const {
    kill(whole_group ? -process_ : process_, signal);
  }
  bool HangsUpWithin(absl::Duration timeout) const {
    pollfd waiting{fd_, POLLRDHUP, 0};
    return poll(&waiting, 1, static_cast<int>(absl::ToInt64Milliseconds(timeout))) == 1;
  }
  bool SentinelEndsWithin(absl::Duration timeout) const {
    const absl::Time deadline = absl::Now() + timeout;
    while (absl::Now() < deadline) {
      if (!IsAlive(sentinel_)) return true;
      absl::SleepFor(absl::Milliseconds(2));
    }
    return false;
  }
  bool SentinelIsAlive() const { return IsAlive(sentinel_); }
  void Reap() {
    waitpid(process_, nullptr, 0);
    is_reaped_ = true;
  }

 private:
  // A process that has ended and was not waited for (its parent is gone) counts as dead.
  static bool IsAlive(pid_t process) {
    const std::string path = "/proc/" + std::to_string(process) + "/stat";
    FILE* const file = fopen(path.c_str(), "r");
    if (file == nullptr) return false;
    char text[256] = "";
    const size_t size = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    const char* const name_end = std::strrchr(text, ')');
    return size > 0 && name_end != nullptr && name_end[2] != 'Z';
  }

  pid_t process_ = -1;
  pid_t sentinel_ = -1;
  int fd_ = -1;
  bool is_reaped_ = false;
};

void SayReady(int fd) {
  if (write(fd, "r", 1) != 1) _exit(9);
}

TEST(SentinelTest, TellsOfADeathAtOnce) {
  Worker worker([](Sentinel& sentinel, int fd) {
    constexpr size_t kBytes = size_t{200} << 20;
    void* memory =
        mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) _exit(9);
    madvise(memory, kBytes, MADV_HUGEPAGE);
    std::memset(memory, 1, kBytes);
    sentinel.Lend(fd);
    SayReady(fd);
    pause();
  });
  worker.AwaitReady();
  worker.Kill(SIGKILL);
  EXPECT_TRUE(worker.HangsUpWithin(kPatience));
  EXPECT_TRUE(worker.SentinelEndsWithin(kPatience));
}

// The worker's own end is kept open by a second process, so that only the sentinel can end it.
TEST(SentinelTest, EndsTheConnectionsThatItWasLentAndNoOthers) {
  for (const bool is_returned : {false, true}) {
    int keeper[2];
    ASSERT_EQ(pipe(keeper), 0);
    Worker worker([&](Sentinel& sentinel, int fd) {
      if (fork() == 0) {  // holds `fd` until the test closes the pipe
        close(keeper[1]);
        char letter = 0;
        _exit(static_cast<int>(read(keeper[0], &letter, 1)));
      }
      sentinel.Lend(fd);
      if (is_returned) sentinel.Return(fd);
      SayReady(fd);
      pause();
    });
    worker.AwaitReady();
    worker.Kill(SIGKILL);
    EXPECT_EQ(worker.HangsUpWithin(is_returned ? absl::Milliseconds(200) : kPatience),
              !is_returned);
    close(keeper[0]);
    close(keeper[1]);
  }
}

TEST(SentinelTest, EndsWithAWorkerThatJustExits) {
  Worker worker([](Sentinel&, int fd) {
    SayReady(fd);
    char letter = 0;
    static_cast<void>(!read(fd, &letter, 1));  // until the test lets it go
  });
  worker.AwaitReady();
  EXPECT_TRUE(worker.SentinelIsAlive());
  worker.Kill(SIGTERM);
  EXPECT_TRUE(worker.SentinelEndsWithin(kPatience));
}

TEST(SentinelTest, StaysWhenItsWorkersGroupGetsASignal) {
  Worker worker([](Sentinel&, int fd) {
    std::signal(SIGTERM, SIG_IGN);
    std::signal(SIGINT, SIG_IGN);
    SayReady(fd);
    pause();
  });
  worker.AwaitReady();
  worker.Kill(SIGTERM, /*whole_group=*/true);
  worker.Kill(SIGINT, /*whole_group=*/true);
  EXPECT_FALSE(worker.SentinelEndsWithin(absl::Milliseconds(100)));
}

TEST(SentinelTest, KeepsNoFileOfItsWorkerOpen) {
  int output[2];
  ASSERT_EQ(pipe(output), 0);
  {
    const auto sentinel = Sentinel::Start();
    ASSERT_THAT(sentinel, IsOk());
    close(output[1]);
    pollfd waiting{output[0], POLLIN, 0};
    EXPECT_EQ(poll(&waiting, 1, static_cast<int>(absl::ToInt64Milliseconds(kPatience))),
              1);  // its end: nobody else can write
    EXPECT_NE(waiting.revents & POLLHUP, 0);
  }
  close(output[0]);
}

TEST(SentinelTest, LeavesConnectionsAsTheyAreWhenItIsDestroyed) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  {
    const auto sentinel = Sentinel::Start();
    ASSERT_THAT(sentinel, IsOk());
    (*sentinel)->Lend(ends[0]);
  }
  EXPECT_EQ(write(ends[0], "!", 1), 1);
  char letter = 0;
  EXPECT_EQ(read(ends[1], &letter, 1), 1);
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace liquid
