#include "parallel/communicator.h"

#include <thread>

#include "gmock/gmock.h"
#include "parallel/gang_mesh.h"
#include "parallel/thread/thread_communicator.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::testing::_;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

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

TEST(ThreadCommunicatorTest, PartsAreGatheredAndSummedInTheOrderOfRanks) {
  auto world = CreateThreadWorld(/*size=*/3, absl::Seconds(30));
  std::vector<std::jthread> ranks;
  for (auto& comm : world) {
    ranks.emplace_back([&comm] {
      const int rank = comm->rank();
      float mine[2] = {static_cast<float>(rank), 10};
      float all[6] = {};
      comm->AllGatherParts({all, {6}}, {mine, {2}});
      EXPECT_THAT(all, ElementsAre(0, 10, 1, 10, 2, 10));
      // (1e8 + 1) - 1e8 is 0 in float; in any other order it is 1.
      const float contributions[3] = {1e8f, 1, -1e8f};
      float in[3] = {contributions[rank], contributions[rank], 2};
      float out = -1;
      comm->ReduceScatterPartsSum({&out, {1}}, {in, {3}});
      EXPECT_EQ(out, rank < 2 ? 0.0f : 6.0f);
      float sum[2] = {contributions[rank], 1};
      comm->ReduceSum({sum, {2}}, /*root=*/1);
      EXPECT_THAT(sum, ElementsAre(rank == 1 ? 0 : contributions[rank], rank == 1 ? 3 : 1));
    });
  }
}

TEST(ThreadCommunicatorTest, SplitsIntoGroupsByColor) {
  auto world = CreateThreadWorld(/*size=*/5, absl::Seconds(30));
  std::vector<std::jthread> ranks;
  for (auto& comm : world) {
    ranks.emplace_back([&comm] {
      const auto odd_or_even = comm->Split(comm->rank() % 2);
      EXPECT_EQ(odd_or_even->rank(), comm->rank() / 2);
      EXPECT_EQ(odd_or_even->size(), comm->rank() % 2 == 0 ? 3 : 2);
      int64_t sum = comm->rank();
      odd_or_even->AllReduceSum(TensorView(&sum, DType::kI64, {1}));
      EXPECT_EQ(sum, comm->rank() % 2 == 0 ? 6 : 4);
    });
  }
}

TEST(GangMeshTest, ReplicasAreNeighboursAndHoldersFollowEachOther) {
  auto world = CreateThreadWorld(/*size=*/8, absl::Seconds(30));
  std::vector<std::jthread> ranks;
  for (auto& comm : world) {
    ranks.emplace_back([&comm] {
      const auto mesh = GangMesh::Create(*comm, 4);
      ASSERT_THAT(mesh, IsOk());
      EXPECT_EQ(mesh->tensor_rank(), comm->rank() % 4);
      EXPECT_EQ(mesh->replica(), comm->rank() / 4);
      EXPECT_EQ(mesh->num_replicas(), 2);
      EXPECT_EQ(mesh->holders(1), nullptr);
      int64_t lowest = comm->rank();
      mesh->holders(2)->Broadcast(TensorView(&lowest, DType::kI64, {1}), 0);
      EXPECT_EQ(lowest, comm->rank() / 2 * 2);
      EXPECT_EQ(mesh->holders(4)->size(), 4);
    });
  }
}

TEST(GangMeshTest, AGangThatIsNoMultipleIsRefusedWithBothNumbers) {
  auto world = CreateThreadWorld(/*size=*/1, absl::Seconds(30));
  EXPECT_THAT(GangMesh::Create(*world[0], 2).status(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("model.tensor_parallel is 2, but the gang has 1 ranks")));
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
