// What fails when, and whom it reaches: aborts, deaths, strangers at the door.
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>

#include "gmock/gmock.h"
#include "parallel/tcp/hello.h"
#include "parallel/tcp/tcp_group.h"
#include "tests/parallel/tcp_processes.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::liquid::testing::TcpProcesses;
using ::testing::_;
using ::testing::HasSubstr;

constexpr absl::Duration kAtOnce = absl::Milliseconds(500);  // on a machine that is busy as well

absl::Time Soon() { return absl::Now() + absl::Seconds(20); }

// Calls of gang 0 that wait for ever, since gang 1 makes none.
const std::map<std::string, std::function<void(TcpGroup&)>> kBlockingCalls = {
    {"AllReduceSum",
     [](TcpGroup& group) {
       std::vector<int64_t> values(1'000'000);
       group.AllReduceSum(TensorView(values.data(), DType::kI64, {1'000'000}));
     }},
    {"ReduceScatterSum",
     [](TcpGroup& group) {
       std::vector<float> values(1000);
       std::vector<float> sums(1000);
       group.ReduceScatterSum(ConstTensorView(values.data(), {1000}),
                              TensorView(sums.data(), {1000}));
     }},
    {"AllGather",
     [](TcpGroup& group) {
       std::vector<float> values(1000);
       group.AllGather(TensorView(values.data(), {1000}));
     }},
    {"Broadcast",
     [](TcpGroup& group) {
       float value = 0;
       group.Broadcast(TensorView(&value, {1}), 1);
     }},
    {"BroadcastMessage", [](TcpGroup& group) { EXPECT_FALSE(group.BroadcastMessage("", 1).ok()); }},
    {"AllGatherMessages",
     [](TcpGroup& group) { EXPECT_FALSE(group.AllGatherMessages("word").ok()); }},
    {"Send",
     [](TcpGroup& group) {
       const std::vector<char> much(8'000'000);
       group.Send(much.data(), static_cast<int64_t>(much.size()), 1);
     }},
    {"Receive",
     [](TcpGroup& group) {
       char letter = 0;
       group.Receive(&letter, 1, 1);
     }},
    {"NextPosted",
     [](TcpGroup& group) { EXPECT_FALSE(group.NextPosted(absl::InfiniteDuration(), -1).ok()); }},
};

class TcpBlockingCall : public ::testing::TestWithParam<std::string> {};

TEST_P(TcpBlockingCall, EndsAtOnceWhenAborted) {
  TcpProcesses processes(/*num_gangs=*/2, /*gang_size=*/1);
  std::atomic<bool> is_over = false;
  std::jthread peer([&] {
    const auto group = processes.Group(1, 0);
    ASSERT_THAT(group->Form(Soon()), IsOk());
    while (!is_over) absl::SleepFor(absl::Milliseconds(1));
  });
  const auto group = processes.Group(0, 0);
  ASSERT_THAT(group->Form(Soon()), IsOk());
  absl::Time aborted_at;
  std::jthread other([&] {
    absl::SleepFor(absl::Milliseconds(30));
    aborted_at = absl::Now();
    group->Abort(absl::AbortedError("generation 2 begins"));
  });
  kBlockingCalls.at(GetParam())(*group);
  const absl::Time returned_at = absl::Now();
  EXPECT_THAT(group->Wait(absl::InfiniteFuture()),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("generation 2 begins")));
  other.join();
  EXPECT_LT(returned_at - aborted_at, kAtOnce);
  is_over = true;
}

TEST_P(TcpBlockingCall, EndsAtOnceWhenThePeerLeaves) {
  TcpProcesses processes(/*num_gangs=*/2, /*gang_size=*/1);
  auto peer = processes.Group(1, 0);
  absl::Time left_at;
  std::jthread other([&] {
    ASSERT_THAT(peer->Form(Soon()), IsOk());
    absl::SleepFor(absl::Milliseconds(20));
    left_at = absl::Now();
    peer = nullptr;
  });
  const auto group = processes.Group(0, 0);
  ASSERT_THAT(group->Form(Soon()), IsOk());
  kBlockingCalls.at(GetParam())(*group);
  const absl::Time returned_at = absl::Now();
  EXPECT_THAT(group->Wait(absl::InfiniteFuture()),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("gang 1 rank 0")));
  other.join();
  EXPECT_LT(returned_at - left_at, kAtOnce);
}

std::vector<std::string> NamesOfCalls() {
  std::vector<std::string> names;
  for (const auto& [name, call] : kBlockingCalls) names.push_back(name);
  return names;
}
INSTANTIATE_TEST_SUITE_P(Each, TcpBlockingCall, ::testing::ValuesIn(NamesOfCalls()),
                         [](const auto& instance) { return instance.param; });

TEST(TcpFailureTest, AnAbortBetweenCallsReachesThePeersAtOnce) {
  TcpProcesses processes(/*num_gangs=*/2, /*gang_size=*/1);
  auto aborted = processes.Group(1, 0);
  std::jthread other([&] { ASSERT_THAT(aborted->Form(Soon()), IsOk()); });
  const auto group = processes.Group(0, 0);
  ASSERT_THAT(group->Form(Soon()), IsOk());
  other.join();
  aborted->Abort(absl::AbortedError("enough"));  // it makes no call, and stays as it is
  int64_t one = 1;
  group->AllReduceSum(TensorView(&one, DType::kI64, {1}));
  EXPECT_THAT(group->Wait(absl::InfiniteFuture()), StatusIs(absl::StatusCode::kUnavailable, _));
}

TEST(TcpFailureTest, OneFailureReachesTheOtherRails) {
  TcpProcesses processes(/*num_gangs=*/2, /*gang_size=*/2);
  std::atomic<int> num_formed = 0;
  absl::Time failed_at;
  processes.RunAll([&](TcpGroup& group, int gang, int rank) {
    ++num_formed;
    if (gang == 1 && rank == 1) {
      while (num_formed < 4) absl::SleepFor(absl::Milliseconds(1));
      absl::SleepFor(absl::Milliseconds(20));
      failed_at = absl::Now();
      group.Abort(absl::InternalError("bad disk"));
      return;
    }
    // Rail 0 is whole, but nobody on it will hear of rail 1's end.
    if (rank == 0) {
      EXPECT_FALSE(group.NextPosted(absl::InfiniteDuration(), -1).ok());
    } else {
      int64_t one = 1;
      group.AllReduceSum(TensorView(&one, DType::kI64, {1}));
    }
    EXPECT_THAT(group.Wait(absl::InfiniteFuture()), StatusIs(absl::StatusCode::kUnavailable, _));
    EXPECT_LT(absl::Now() - failed_at, kAtOnce);
  });
}

TEST(TcpFailureTest, FormingCanBeAborted) {
  TcpProcesses processes(/*num_gangs=*/2, /*gang_size=*/1);
  const auto group = processes.Group(0, 0);  // nobody else comes
  std::jthread other([&] {
    absl::SleepFor(absl::Milliseconds(20));
    group->Abort(absl::AbortedError("generation 2 begins"));
  });
  const absl::Time start = absl::Now();
  EXPECT_THAT(group->Form(Soon()),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("generation 2 begins")));
  EXPECT_LT(absl::Now() - start, kAtOnce);
}

TEST(TcpFailureTest, FormingNamesWhoIsMissing) {
  TcpProcesses processes(/*num_gangs=*/3, /*gang_size=*/1);
  for (const int gang : {0, 1, 2}) {
    const auto group = processes.Group(gang, 0);
    EXPECT_THAT(group->Form(absl::Now() + absl::Milliseconds(20)),
                StatusIs(absl::StatusCode::kDeadlineExceeded,
                         HasSubstr(gang == 2 ? "gang 1 rank 0" : "gang 2 rank 0")));
    EXPECT_THAT(group->unreached(), ::testing::ElementsAre(gang == 0 ? 1 : 0, gang == 2 ? 1 : 2));
  }
}

// A stream to the TCP side of gang 0's port, on which `bytes` were said.
int Intrude(const DataPort& port, const std::string& bytes) {
  const DataAddress address = *DataAddress::Parse(port.address());
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.tcp_port)));
  inet_pton(AF_INET, address.tcp_host.c_str(), &to.sin_addr);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
  if (!bytes.empty()) {
    EXPECT_EQ(send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  return fd;
}

std::string BytesOf(const Hello& hello) {
  return std::string(reinterpret_cast<const char*>(&hello), sizeof(hello));
}

// What gang 1 would say to gang 0.
Hello RightHello(const TcpGroup::Options& options) {
  Hello hello;
  SetJob(options.job, &hello);
  hello.generation = options.generation;
  hello.token = options.token;
  hello.from_gang = 1;
  return hello;
}

TEST(TcpFailureTest, StrangersAreClosedAndDisturbNobody) {
  TcpProcesses processes(/*num_gangs=*/2, /*gang_size=*/1);
  const Hello right = RightHello(processes.OptionsOf(0, 0));
  std::vector<std::string> words = {"GET / HTTP/1.1\r\n\r\n", "LIQ", std::string(500, '\xff')};
  Hello wrong = right;
  wrong.generation = 0;
  words.push_back(BytesOf(wrong));
  wrong = right;
  wrong.token ^= 1;
  words.push_back(BytesOf(wrong));
  wrong = right;
  SetJob("another job", &wrong);
  words.push_back(BytesOf(wrong));
  wrong = right;
  wrong.from_gang = 7;
  words.push_back(BytesOf(wrong));
  words.push_back(BytesOf(right).substr(0, 50));  // and no more
  std::vector<int> fds;
  for (const std::string& word : words) fds.push_back(Intrude(processes.port(0, 0), word));
  for (int i = 0; i < 200; ++i) fds.push_back(Intrude(processes.port(0, 0), ""));
  const absl::Time start = absl::Now();
  processes.RunAll([&](TcpGroup& group, int, int) {
    EXPECT_LT(absl::Now() - start, kAtOnce);
    int64_t one = 1;
    group.AllReduceSum(TensorView(&one, DType::kI64, {1}));
    EXPECT_EQ(one, 2);
    EXPECT_THAT(group.Wait(absl::InfiniteFuture()), IsOk());
  });
  for (const int fd : fds) close(fd);
}

// Whether the other end of `fd` closes within `timeout`.
bool IsClosedWithin(int fd, absl::Duration timeout) {
  const timeval patience = absl::ToTimeval(timeout);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  char letter = 0;
  const ssize_t count = recv(fd, &letter, 1, 0);
  return count == 0 || (count < 0 && errno == ECONNRESET);
}

TEST(TcpFailureTest, WhoSaysWrongOrTooLittleIsClosedSoon) {
  TcpProcesses processes(/*num_gangs=*/2, /*gang_size=*/1);
  const auto group = processes.Group(0, 0);
  std::jthread forming([&] { EXPECT_FALSE(group->Form(Soon()).ok()); });
  Hello wrong = RightHello(processes.OptionsOf(0, 0));
  wrong.token ^= 1;
  const int liar = Intrude(processes.port(0, 0), BytesOf(wrong));
  const int silent = Intrude(processes.port(0, 0), "LIQ");
  EXPECT_TRUE(IsClosedWithin(liar, absl::Milliseconds(500)));
  EXPECT_TRUE(IsClosedWithin(silent, absl::Milliseconds(2500)));
  group->Abort(absl::AbortedError("the test is over"));
  close(liar);
  close(silent);
}

TEST(TcpFailureTest, WhoIsAheadGetsInOnceTheOthersFollow) {
  TcpProcesses processes(/*num_gangs=*/2, /*gang_size=*/1);
  std::jthread ahead([&] {
    const auto group = processes.Group(1, 0, /*generation=*/8);
    EXPECT_THAT(group->Form(Soon()), IsOk());
  });
  {
    const auto old = processes.Group(0, 0, /*generation=*/7);
    EXPECT_FALSE(old->Form(absl::Now() + absl::Milliseconds(30)).ok());
  }
  const auto group = processes.Group(0, 0, /*generation=*/8);
  EXPECT_THAT(group->Form(Soon()), IsOk());
}

int NumOpenFiles() {
  int count = 0;
  DIR* const directory = opendir("/proc/self/fd");
  while (readdir(directory) != nullptr) ++count;
  closedir(directory);
  return count;
}

TEST(TcpFailureTest, AHundredGenerationsLeaveNoFileOpen) {
  TcpProcesses processes(/*num_gangs=*/3, /*gang_size=*/1);
  int before = 0;
  for (int64_t generation = 1; generation <= 101; ++generation) {
    processes.RunAll(
        [](TcpGroup& group, int gang, int) {
          int64_t one = 1;
          group.AllReduceSum(TensorView(&one, DType::kI64, {1}));
          if (gang == 0) group.Abort(absl::AbortedError("the next one, please"));
        },
        generation);
    if (generation == 1) before = NumOpenFiles();
  }
  EXPECT_EQ(NumOpenFiles(), before);
}

}  // namespace
}  // namespace liquid
