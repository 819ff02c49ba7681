// Payloads that are read in the sender's memory: what a mesh says about them, and what it believes.
#include "parallel/tcp/mesh.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <numeric>

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
using ::testing::HasSubstr;

constexpr int64_t kCount = 131072;  // 1 MiB of int64
constexpr auto kNumBytes = kCount * static_cast<int64_t>(sizeof(int64_t));

// Gang 0 is a group; gang 1 is this test, which says what it likes on their Unix socket. Both are
// one process, so that each can read the other's memory.
class MeshTest : public ::testing::Test {
 protected:
  MeshTest() : processes_(/*num_gangs=*/2, /*gang_size=*/1), group_(processes_.Group(0, 0)) {
    std::jthread forming(
        [this] { EXPECT_THAT(group_->Form(absl::Now() + absl::Seconds(20)), IsOk()); });
    const TcpGroup::Options options = processes_.OptionsOf(1, 0);
    Hello hello;
    SetJob(options.job, &hello);
    hello.generation = options.generation;
    hello.token = options.token;
    hello.from_gang = 1;
    line_ = Dial(DataAddress::Parse(processes_.port(0, 0).address()).value()).value();
    Say(&hello, sizeof(hello));
    char welcome = 0;
    Hear(&welcome, 1);
    EXPECT_EQ(welcome, kWelcome);
    Say(&kConfirm, 1);
    offer_ = HearFrame();
    EXPECT_EQ(offer_.kind, FrameKind::kOffer);
    std::iota(values_.begin(), values_.end(), 1);
  }

  void Say(const void* data, size_t size) {
    EXPECT_EQ(send(line_.fd(), data, size, MSG_NOSIGNAL), static_cast<ssize_t>(size));
  }
  void SayFrame(FrameKind kind, uint64_t call, uint64_t offset, uint64_t length,
                const void* address) {
    FrameHeader header;
    header.kind = kind;
    header.call = call;
    header.offset = offset;
    header.length = length;
    header.address = reinterpret_cast<uint64_t>(address);
    Say(&header, sizeof(header));
  }
  void SayAddress(const void* address) {
    SayFrame(FrameKind::kSent, /*call=*/1, /*offset=*/0, kNumBytes, address);
  }
  void SayOffer() { SayFrame(FrameKind::kOffer, 0, number_, 0, &number_); }

  void Hear(void* data, size_t size) {
    auto* to = static_cast<char*>(data);
    const absl::Time deadline = absl::Now() + absl::Seconds(10);
    for (size_t done = 0; done < size && absl::Now() < deadline;) {
      const ssize_t count = recv(line_.fd(), to + done, size - done, MSG_DONTWAIT);
      if (count == 0) break;
      if (count > 0) done += static_cast<size_t>(count);
      if (count < 0) absl::SleepFor(absl::Microseconds(100));
    }
  }
  FrameHeader HearFrame() {
    FrameHeader header;
    Hear(&header, sizeof(header));
    return header;
  }

  absl::Status Received() {
    group_->Receive(values_.data(), kNumBytes, 1);
    return group_->Wait(absl::InfiniteFuture());
  }
  absl::Status Sent() {
    group_->Send(values_.data(), kNumBytes, 1);
    return group_->Wait(absl::InfiniteFuture());
  }

  TcpProcesses processes_;
  std::unique_ptr<TcpGroup> group_;
  Socket line_;
  FrameHeader offer_;
  const uint64_t number_ = 0x5a17;
  std::vector<int64_t> values_ = std::vector<int64_t>(kCount);
};

TEST_F(MeshTest, ALargePayloadStaysWhereItIsUntilItsReaderHasWord) {
  SayFrame(FrameKind::kReadable, 0, 0, 0, nullptr);
  SayFrame(FrameKind::kPosted, 0, 0, 0, nullptr);
  ASSERT_TRUE(group_->NextPosted(absl::Seconds(10), -1).value().has_value());
  std::atomic<bool> has_returned = false;
  std::jthread sender([&] {
    EXPECT_THAT(Sent(), IsOk());
    has_returned = true;
  });
  const FrameHeader header = HearFrame();
  EXPECT_EQ(header.kind, FrameKind::kSent);
  EXPECT_EQ(header.address, reinterpret_cast<uint64_t>(values_.data()));
  EXPECT_EQ(header.length, static_cast<uint64_t>(kNumBytes));
  absl::SleepFor(absl::Milliseconds(20));
  EXPECT_FALSE(has_returned);
  SayFrame(FrameKind::kHasRead, /*call=*/1, /*offset=*/1, 0, nullptr);
  sender.join();
}

TEST_F(MeshTest, WithoutAReaderAPayloadTravels) {
  std::jthread sender([this] { EXPECT_THAT(Sent(), IsOk()); });
  EXPECT_EQ(HearFrame().address, 0);
  std::vector<int64_t> heard(kCount);
  Hear(heard.data(), kNumBytes);
  sender.join();
  EXPECT_EQ(heard, values_);
}

TEST_F(MeshTest, AnAcceptedOfferIsReadAndAnswered) {
  std::vector<int64_t> theirs(kCount, 7);
  SayOffer();
  SayAddress(theirs.data());
  EXPECT_THAT(Received(), IsOk());
  EXPECT_EQ(values_, theirs);
  EXPECT_EQ(HearFrame().kind, FrameKind::kReadable);
  const FrameHeader word = HearFrame();
  EXPECT_EQ(word.kind, FrameKind::kHasRead);
  EXPECT_EQ(word.call, 1);
  EXPECT_EQ(word.offset, 1);
}

TEST_F(MeshTest, AnAddressWithoutAnOfferIsRefused) {
  SayAddress(values_.data());
  EXPECT_THAT(Received(), StatusIs(absl::StatusCode::kInvalidArgument,
                                   HasSubstr("sent an address that it was not asked for")));
}

TEST_F(MeshTest, AnOfferOfAnotherNumberIsNotAccepted) {
  SayFrame(FrameKind::kOffer, 0, number_ + 1, 0, &number_);
  SayAddress(values_.data());
  EXPECT_THAT(Received(), StatusIs(absl::StatusCode::kInvalidArgument,
                                   HasSubstr("sent an address that it was not asked for")));
}

TEST_F(MeshTest, AnAddressWhereNothingIsIsAnError) {
  SayOffer();
  SayAddress(reinterpret_cast<const void*>(16));
  EXPECT_THAT(Received(), StatusIs(absl::StatusCode::kUnavailable,
                                   HasSubstr("gang 1 rank 0 is gone: its memory cannot be read")));
}

TEST_F(MeshTest, AnAddressOfOneWhoHasShutTheConnectionIsNotBelieved) {
  SayOffer();
  SayFrame(FrameKind::kPosted, 0, 0, 0, nullptr);
  ASSERT_TRUE(group_->NextPosted(absl::Seconds(10), -1).value().has_value());
  ASSERT_EQ(HearFrame().kind, FrameKind::kReadable);
  SayAddress(values_.data());
  shutdown(line_.fd(), SHUT_RDWR);
  EXPECT_THAT(Received(), StatusIs(absl::StatusCode::kUnavailable,
                                   HasSubstr("gang 1 rank 0 is gone: its memory cannot be read")));
}

TEST_F(MeshTest, AnAddressWithAWrongLengthIsNeverRead) {
  SayOffer();
  SayFrame(FrameKind::kSent, 1, 0, 2 * kNumBytes, values_.data());
  EXPECT_THAT(Received(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("instead of")));
}

TEST_F(MeshTest, WordOfMoreThanWasOfferedIsRefused) {
  SayFrame(FrameKind::kReadable, 0, 0, 0, nullptr);
  SayFrame(FrameKind::kHasRead, /*call=*/1, /*offset=*/2, 0, nullptr);
  EXPECT_THAT(Sent(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("has read 2 frames")));
}

// For this thread alone, as a container's rules may do.
void ForbidReadingMemory() {
  sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{static_cast<unsigned short>(std::size(rules)), rules};
  ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

TEST(MeshFallbackTest, WhoMayNotReadMemoryGetsPayloadsAsBefore) {
  TcpProcesses processes(/*num_gangs=*/3, /*gang_size=*/1);
  processes.RunAll([](TcpGroup& group, int gang, int) {
    if (gang == 1) ForbidReadingMemory();
    std::vector<int64_t> values(kCount);
    for (int round = 0; round < 3; ++round) {
      std::iota(values.begin(), values.end(), gang);
      group.AllReduceSum(TensorView(values.data(), DType::kI64, {kCount}));
      ASSERT_THAT(group.Wait(absl::InfiniteFuture()), IsOk());
      for (int64_t i = 0; i < kCount; ++i) ASSERT_EQ(values[i], 3 * i + 3);
    }
  });
}

TEST(MeshFallbackTest, WhoIsAheadWaitsForRoom) {
  constexpr int64_t kMany = 6 * kCount;  // two rings of pieces for each of three ranks
  TcpProcesses processes(/*num_gangs=*/3, /*gang_size=*/1);
  processes.RunAll([](TcpGroup& group, int gang, int) {
    std::vector<int64_t> values(kMany);
    std::iota(values.begin(), values.end(), gang);
    if (gang == 2) absl::SleepFor(absl::Milliseconds(50));
    group.AllReduceSum(TensorView(values.data(), DType::kI64, {kMany}));
    ASSERT_THAT(group.Wait(absl::InfiniteFuture()), IsOk());
    for (int64_t i = 0; i < kMany; ++i) ASSERT_EQ(values[i], 3 * i + 3);
  });
}

}  // namespace
}  // namespace liquid
