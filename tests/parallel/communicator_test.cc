#include "parallel/communicator.h"

#include <thread>

#include "gmock/gmock.h"
#include "parallel/thread/thread_communicator.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::testing::_;
using ::testing::ElementsAre;

TEST(ThreadCommunicatorTest, SumsOverRanksAgainAndAgain) {
  auto world = CreateThreadWorld(/*size=*/4, absl::Seconds(30));
  std::vector<std::jthread> ranks;
  ranks.reserve(world.size());
  for (auto& comm : world) {
    ranks.emplace_back([&comm] {
      for (int step = 0; step < 100; ++step) {
        auto value = static_cast<float>(comm->rank() + step);
        comm->AllReduceSum({&value, {1}});
        EXPECT_EQ(value, 6 + 4 * step);
        int64_t count[2] = {comm->rank(), int64_t{1} << 60};
        comm->AllReduceSum(TensorView(count, DType::kI64, {2}));
        EXPECT_THAT(count, ElementsAre(6, int64_t{1} << 62));
      }
      EXPECT_THAT(comm->Wait(absl::InfiniteFuture()), IsOk());
    });
  }
}

TEST(ThreadCommunicatorTest, BroadcastsTensorsAndMessages) {
  auto world = CreateThreadWorld(/*size=*/3, absl::Seconds(30));
  std::vector<std::jthread> ranks;
  for (auto& comm : world) {
    ranks.emplace_back([&comm] {
      float value[2] = {1.5f * static_cast<float>(comm->rank()), 2};
      comm->Broadcast({value, {2}}, /*root=*/2);
      EXPECT_THAT(value, ElementsAre(3, 2));
      EXPECT_EQ(*comm->BroadcastMessage(comm->rank() == 1 ? "one" : "", 1), "one");
      EXPECT_THAT(*comm->AllGatherMessages(std::string(static_cast<size_t>(comm->rank()), 'x')),
                  ElementsAre("", "x", "xx"));
    });
  }
}

TEST(ThreadCommunicatorTest, ADeadPeerFailsTheStepAndDoesNotHangIt) {
  auto world = CreateThreadWorld(/*size=*/2, absl::Seconds(30));
  std::jthread alive([&comm = world[0]] {
    float value = 1;
    comm->AllReduceSum({&value, {1}});  // rank 1 never comes
    comm->AllReduceSum({&value, {1}});  // returns at once
    EXPECT_THAT(comm->Wait(absl::InfiniteFuture()), StatusIs(absl::StatusCode::kUnavailable, _));
  });
  world[1]->Abort(absl::UnavailableError("rank 1 died"));
}

TEST(ThreadCommunicatorTest, ASilentPeerIsADeadlineExceeded) {
  auto world = CreateThreadWorld(/*size=*/2, absl::Milliseconds(20));
  float value = 1;
  world[0]->AllReduceSum({&value, {1}});
  EXPECT_THAT(world[0]->Wait(absl::InfiniteFuture()),
              StatusIs(absl::StatusCode::kDeadlineExceeded, _));
}

}  // namespace
}  // namespace liquid
