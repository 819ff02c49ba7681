#include "worker/checkpoint_save.h"

#include <thread>

#include "checkpoint/catalog.h"
#include "checkpoint/verify.h"
#include "gmock/gmock.h"
#include "parallel/thread/thread_communicator.h"
#include "tests/testing/status_matchers.h"
#include "tests/worker/saving_rank.h"

namespace liquid {
namespace {

using ::liquid::testing::ContentsOf;
using ::liquid::testing::IsOk;
using ::liquid::testing::kShardBytes;
using ::liquid::testing::SampleOfStep;
using ::liquid::testing::Save;
using ::liquid::testing::SaveOptions;
using ::liquid::testing::SavingRank;
using ::liquid::testing::StatusIs;
using ::liquid::testing::TemporaryDirectory;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

void OnRanks(int size, const std::function<void(Communicator&)>& program) {
  auto world = CreateThreadWorld(size, absl::Seconds(60));
  std::vector<std::jthread> ranks;
  for (auto& communicator : world) {
    ranks.emplace_back([&program, &communicator] { program(*communicator); });
  }
}

TEST(CheckpointSaveTest, WritesTheStateOfTheMomentItBegan) {
  const TemporaryDirectory root;
  SaveOptions options;
  options.max_shard_bytes = kShardBytes;
  const auto reference = Save(root.path() + "/reference", 3, SampleOfStep(3), options);
  ASSERT_THAT(reference, IsOk());
  for (const int size : {1, 3}) {
    const std::string path = absl::StrCat(root.path(), "/", size);
    OnRanks(size, [&](Communicator& world) {
      SavingRank rank(world, SampleOfStep(3));
      const auto save = rank.Begin(path, 3);
      for (auto& [name, bytes] : rank.sample().bytes) bytes.assign(bytes.size(), '!');  // a step
      rank.GoOn(*save, /*may_publish=*/true);
      EXPECT_THAT(save->result(), IsOk());
    });
    EXPECT_TRUE(ContentsOf(path + "/step-00000003") == ContentsOf(reference->path));
  }
}

TEST(CheckpointSaveTest, IsPublishedOnlyWhenItMay) {
  const TemporaryDirectory root;
  OnRanks(2, [&](Communicator& world) {
    SavingRank rank(world, SampleOfStep(1));
    const auto save = rank.Begin(root.path(), 1);
    rank.GoOn(*save, /*may_publish=*/false);
    EXPECT_TRUE(save->is_written());
    EXPECT_THAT(ListCheckpoints(root.path())->complete, IsEmpty());
    EXPECT_THAT(AgreeOn(world, absl::OkStatus()), IsOk());
    rank.GoOn(*save, /*may_publish=*/true);
    EXPECT_THAT(save->result(), IsOk());
  });
  EXPECT_EQ(FindLatestCheckpoint(root.path())->step, 1);
}

TEST(CheckpointSaveTest, BrokenOffItLeavesNothing) {
  const TemporaryDirectory root;
  ASSERT_THAT(Save(root.path(), 1, SampleOfStep(1)), IsOk());
  OnRanks(2, [&](Communicator& world) {
    SavingRank rank(world, SampleOfStep(2));
    const auto save = rank.Begin(root.path(), 2);
    rank.GoOn(*save, /*may_publish=*/false);
  });
  EXPECT_THAT(*ListDirectory(root.path()), ElementsAre("latest", "step-00000001"));
}

TEST(CheckpointSaveTest, ARankThatCannotTakePartFailsItOnAll) {
  const TemporaryDirectory root;
  ASSERT_THAT(Save(root.path(), 1, SampleOfStep(1)), IsOk());
  OnRanks(3, [&](Communicator& world) {
    SavingRank rank(world, SampleOfStep(2));
    const auto save = rank.Begin(
        root.path(), 2,
        world.rank() == 2 ? absl::ResourceExhaustedError("no memory") : absl::OkStatus());
    rank.GoOn(*save, /*may_publish=*/true);
    EXPECT_THAT(save->result(),
                StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("rank 2: no memory")));
  });
  EXPECT_THAT(*ListDirectory(root.path()), ElementsAre("latest", "step-00000001"));
}

TEST(CheckpointSaveTest, TwoGangsMayWriteAtOnceAlsoTheSameStep) {
  const TemporaryDirectory root;
  auto first_world = CreateThreadWorld(1, absl::Seconds(60));
  auto second_world = CreateThreadWorld(1, absl::Seconds(60));
  SavingRank first(*first_world[0], SampleOfStep(1));
  SavingRank second(*second_world[0], SampleOfStep(2), "v");
  const auto slow = first.Begin(root.path(), 1);
  first.GoOn(*slow, /*may_publish=*/false);
  const auto quick = second.Begin(root.path(), 2);  // takes .step-00000001.w.tmp for no leftover
  second.GoOn(*quick, /*may_publish=*/true);
  EXPECT_THAT(quick->result(), IsOk());
  // The same step, while the first one is still at it; then the first one's takes its place.
  const auto again = second.Begin(root.path(), 1);
  second.GoOn(*again, /*may_publish=*/true);
  EXPECT_THAT(again->result(), IsOk());
  first.GoOn(*slow, /*may_publish=*/true);
  EXPECT_THAT(slow->result(), IsOk());
  EXPECT_EQ(FindLatestCheckpoint(root.path())->step, 2);
  EXPECT_EQ(*ReadSymlink(root.path() + "/latest"), "step-00000002");  // only forward
  EXPECT_THAT(VerifyDirectory(root.path() + "/step-00000001", 1)->problems, IsEmpty());
}

}  // namespace
}  // namespace liquid
