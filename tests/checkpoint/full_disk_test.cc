// A disk that becomes full while a checkpoint is being written: the save fails or succeeds as a
// whole, and the newest checkpoint that is there always loads.
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <random>

#include "checkpoint/catalog.h"
#include "checkpoint/reader.h"
#include "checkpoint/verify.h"
#include "gmock/gmock.h"
#include "tests/checkpoint/sample_checkpoint.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::SampleModel;
using ::liquid::testing::Save;
using ::liquid::testing::SaveOptions;
using ::liquid::testing::TemporaryDirectory;
using ::testing::IsEmpty;

SampleModel SampleOfStep(int64_t step) { return SampleModel(static_cast<uint8_t>(step), 20'000); }

SaveOptions Options() {
  SaveOptions options;
  options.max_shard_bytes = 200'000;
  options.retention = {1, 0};
  return options;
}

// What a start would find and load.
int64_t ExpectTheNewestLoads(const std::string& root) {
  const auto newest = FindLatestCheckpoint(root);
  EXPECT_THAT(newest, IsOk());
  if (!newest.ok()) return -1;
  EXPECT_THAT(VerifyDirectory(newest->path, 1)->problems, IsEmpty());
  SampleModel loaded(0, 20'000);
  const auto reader = CheckpointReader::Open(newest->path);
  EXPECT_THAT(reader, IsOk());
  if (!reader.ok()) return -1;
  EXPECT_THAT(reader->ReadParts(loaded.WholeParts(), 1), IsOk());
  EXPECT_TRUE(loaded.bytes == SampleOfStep(newest->step).bytes);
  return newest->step;
}

// A small file system of this process alone; root rights, or those of a user name space, do.
bool MountSmallDisk(const std::string& path) {
  if (mount("none", path.c_str(), "tmpfs", 0, "size=6m") == 0) return true;
  return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
         mount("none", path.c_str(), "tmpfs", 0, "size=6m") == 0;
}

// Takes all the space there is, from a random moment on.
pid_t ForkFiller(const std::string& root, useconds_t delay) {
  const pid_t child = fork();
  if (child != 0) return child;
  usleep(delay);
  std::ofstream ballast(root + "/ballast", std::ios::binary);
  const std::string block(1 << 16, 'x');
  while (ballast.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) continue;
  _exit(0);
}

TEST(FullDiskTest, FullAtARandomMomentLeavesTheLastGoodOne) {
  const TemporaryDirectory root;
  if (!MountSmallDisk(root.path())) GTEST_SKIP() << "no right to mount a tmpfs here";
  ASSERT_THAT(Save(root.path(), 1, SampleOfStep(1), Options()), IsOk());
  std::mt19937 random(3);
  int num_failed = 0;
  for (int round = 0; round < 20; ++round) {
    const pid_t filler = ForkFiller(root.path(), static_cast<useconds_t>(random() % 8000));
    ASSERT_GT(filler, 0);
    const int64_t before = ExpectTheNewestLoads(root.path());
    const absl::Status status =
        Save(root.path(), before + 1, SampleOfStep(before + 1), Options()).status();
    ASSERT_EQ(waitpid(filler, nullptr, 0), filler);
    if (!status.ok()) {
      ++num_failed;
      EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    }
    EXPECT_EQ(ExpectTheNewestLoads(root.path()), before + (status.ok() ? 1 : 0));
    ASSERT_THAT(RemoveRecursively(root.path() + "/ballast"), IsOk());
    ASSERT_FALSE(::testing::Test::HasFailure()) << "round " << round;
  }
  EXPECT_GT(num_failed, 0);  // else the disk was never full
  umount(root.path().c_str());
}

// Without any rights: files may not grow beyond a random size.
TEST(FullDiskTest, ALimitAtARandomSizeLeavesTheLastGoodOne) {
  const TemporaryDirectory root;
  ASSERT_THAT(Save(root.path(), 1, SampleOfStep(1), Options()), IsOk());
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  std::mt19937 random(4);
  int num_failed = 0;
  for (int round = 0; round < 20; ++round) {
    const int64_t newest = ExpectTheNewestLoads(root.path());
    const rlimit limit{random() % 400'000, before.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    const absl::Status status =
        Save(root.path(), newest + 1, SampleOfStep(newest + 1), Options()).status();
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
    num_failed += status.ok() ? 0 : 1;
    EXPECT_EQ(ExpectTheNewestLoads(root.path()), newest + (status.ok() ? 1 : 0));
  }
  std::signal(SIGXFSZ, handler);
  EXPECT_GT(num_failed, 0);
  EXPECT_LT(num_failed, 20);
}

}  // namespace
}  // namespace liquid
