// kill -9 of a process that saves beside training: whenever it hits, the newest complete checkpoint
// is one that was saved whole.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <random>

#include "checkpoint/catalog.h"
#include "checkpoint/verify.h"
#include "gmock/gmock.h"
#include "parallel/thread/thread_communicator.h"
#include "tests/testing/status_matchers.h"
#include "tests/worker/saving_rank.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::kShardBytes;
using ::liquid::testing::SampleOfStep;
using ::liquid::testing::Save;
using ::liquid::testing::SaveOptions;
using ::liquid::testing::SavingRank;
using ::liquid::testing::TemporaryDirectory;
using ::testing::IsEmpty;

// A process that saves step after step, beside "training" that changes the state.
pid_t ForkTrainer(const std::string& root, int64_t first_step) {
  const pid_t child = fork();
  if (child != 0) return child;
  auto world = CreateThreadWorld(1, absl::Seconds(60));
  for (int64_t step = first_step;; ++step) {
    SavingRank rank(*world[0], SampleOfStep(step));
    const auto save = rank.Begin(root, step);
    for (auto& [name, bytes] : rank.sample().bytes) bytes.assign(bytes.size(), '!');
    rank.GoOn(*save, /*may_publish=*/true);
    if (!save->result().ok()) _exit(1);
  }
}

TEST(CheckpointKillTest, AtRandomMomentsLeavesTheLastGoodOne) {
  const TemporaryDirectory root;
  SaveOptions options;
  options.max_shard_bytes = kShardBytes;
  ASSERT_THAT(Save(root.path(), 1, SampleOfStep(1), options), IsOk());
  std::mt19937 random(9);
  int64_t step = 1;
  int num_interrupted = 0;
  for (int round = 0; round < 100; ++round) {
    const pid_t child = ForkTrainer(root.path(), step + 1);
    ASSERT_GT(child, 0);
    usleep(static_cast<useconds_t>(random() % 30'000));
    kill(child, SIGKILL);
    int how = 0;
    ASSERT_EQ(waitpid(child, &how, 0), child);
    ASSERT_TRUE(WIFSIGNALED(how)) << "the trainer failed by itself";
    num_interrupted += ListCheckpoints(root.path())->skipped.empty() ? 0 : 1;
    const auto newest = FindLatestCheckpoint(root.path());
    ASSERT_THAT(newest, IsOk());
    ASSERT_GE(newest->step, step);
    step = newest->step;
    EXPECT_THAT(VerifyDirectory(newest->path, 1)->problems, IsEmpty());
    ASSERT_EQ(*FingerprintDirectory(newest->path, 1), SampleOfStep(step).Fingerprint());
  }
  EXPECT_GT(num_interrupted, 10);  // else the kills came at the wrong moments
}

}  // namespace
}  // namespace liquid
