// kill -9 of a process that saves: whenever it hits, the newest complete checkpoint is one that was
// saved whole, nothing half-written counts, and the next writer cleans up and goes on.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <random>

#include "checkpoint/catalog.h"
#include "checkpoint/verify.h"
#include "gmock/gmock.h"
#include "tests/checkpoint/sample_checkpoint.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

namespace fs = std::filesystem;
using ::liquid::testing::IsOk;
using ::liquid::testing::SampleModel;
using ::liquid::testing::SampleState;
using ::liquid::testing::Save;
using ::liquid::testing::SaveOptions;
using ::liquid::testing::TemporaryDirectory;
using ::testing::IsEmpty;

SaveOptions Options() {
  SaveOptions options;
  options.max_shard_bytes = 40'000;
  options.retention = {2, 0};
  return options;
}

SampleModel SampleOfStep(int64_t step) { return SampleModel(static_cast<uint8_t>(step), 5000); }

// The newest complete checkpoint is sound, is what was saved for its step, and `latest` leads to a
// sound one, at most one step behind.
int64_t CheckRoot(const std::string& root) {
  const auto newest = FindLatestCheckpoint(root);
  EXPECT_THAT(newest, IsOk());
  if (!newest.ok()) return -1;
  const auto report = VerifyDirectory(newest->path, 1);
  EXPECT_THAT(report->problems, IsEmpty());
  EXPECT_EQ(*FingerprintDirectory(newest->path, 1), SampleOfStep(newest->step).Fingerprint());
  const auto latest = CheckpointStep(fs::read_symlink(root + "/latest").string());
  EXPECT_TRUE(latest.has_value() && newest->step - *latest <= 1 && *latest <= newest->step);
  EXPECT_THAT(CheckComplete(root + "/latest", latest.value_or(-1)), IsOk());
  return newest->step;
}

pid_t ForkWriter(const std::string& root, int64_t first_step, bool same_step) {
  const pid_t child = fork();
  if (child != 0) return child;
  for (int64_t step = first_step;; step += same_step ? 0 : 1) {
    if (!Save(root, step, SampleOfStep(step), Options()).ok()) _exit(1);
  }
}

void KillAtRandomMoments(bool same_step, unsigned seed) {
  const TemporaryDirectory root;
  ASSERT_THAT(Save(root.path(), 1, SampleOfStep(1), Options()), IsOk());
  std::mt19937 random(seed);
  std::uniform_int_distribution<useconds_t> delay(0, 30'000);
  int64_t step = 1;
  int num_interrupted = 0;
  for (int round = 0; round < 100; ++round) {
    const pid_t child = ForkWriter(root.path(), same_step ? step : step + 1, same_step);
    ASSERT_GT(child, 0);
    usleep(delay(random));
    kill(child, SIGKILL);
    int how = 0;
    ASSERT_EQ(waitpid(child, &how, 0), child);
    ASSERT_TRUE(WIFSIGNALED(how)) << "the writer failed by itself";
    const auto catalog = ListCheckpoints(root.path());
    num_interrupted += catalog->skipped.empty() ? 0 : 1;
    const int64_t newest = CheckRoot(root.path());
    ASSERT_GE(newest, step);
    step = newest;
    // As a worker does that goes on from it: two kills in a row may each come before `latest`
    // moves.
    ASSERT_THAT(PointLatestAt(root.path(), step), IsOk());
    ASSERT_FALSE(::testing::Test::HasFailure()) << "round " << round;
  }
  EXPECT_GT(num_interrupted, 10);  // else the kills came at the wrong moments
  ASSERT_THAT(Save(root.path(), step + 1, SampleOfStep(step + 1), Options()), IsOk());
  EXPECT_THAT(ListCheckpoints(root.path())->skipped, IsEmpty());
}

TEST(KillTest, AtRandomMomentsLeavesThePreviousCheckpointGood) { KillAtRandomMoments(false, 1); }
TEST(KillTest, WhileReplacingACheckpointLeavesOneOfThatStep) { KillAtRandomMoments(true, 2); }

TEST(KillTest, AfterEveryPhaseLeavesThePreviousCheckpointGood) {
  const TemporaryDirectory root;
  ASSERT_THAT(Save(root.path(), 1, SampleOfStep(1), Options()), IsOk());
  for (int phase = 0; phase < 4; ++phase) {
    const pid_t child = fork();
    if (child == 0) {
      const SampleModel sample = SampleOfStep(2);
      const auto plan = MakeCheckpointPlan(sample.model, sample.optimizer, 40'000);
      CheckpointWriter writer(root.path(), 2, *plan, {}, "w");
      if (phase >= 1 && !writer.Prepare().ok()) _exit(1);
      // Phase 2 is killed with half of the files written.
      const auto some = MakeCheckpointPlan(sample.model, {}, 40'000);
      if (phase == 2 &&
          !::liquid::testing::WriteByRanks(writer, *some, sample.ModelOnly(), 1).ok()) {
        _exit(1);
      }
      if (phase == 3 && !::liquid::testing::WriteByRanks(writer, *plan, sample, 1).ok()) _exit(1);
      raise(SIGKILL);
    }
    int how = 0;
    ASSERT_EQ(waitpid(child, &how, 0), child);
    ASSERT_TRUE(WIFSIGNALED(how));
    EXPECT_EQ(CheckRoot(root.path()), 1) << "phase " << phase;
  }
}

}  // namespace
}  // namespace liquid
