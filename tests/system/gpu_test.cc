// Training on GPUs, seen from outside: the programs that a user starts, in emulation. The promise
// is the same as on CPUs: the bits do not depend on who did the work.
#include <signal.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "cli/launch.h"
#include "gmock/gmock.h"
#include "tests/system/gang_processes.h"

namespace liquid::testing {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(200);

class GpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    job_.directory = directory_.path();
    job_.epochs = 2.5;
    job_.heartbeat_timeout_seconds = 20;  // emulated ranks are slow, and many on few CPUs
    WriteTinyJob(job_);
  }

  std::string Run() const { return directory_ / "run"; }
  static std::vector<std::string> OnGpus(int tensor_parallel, const std::string& precision) {
    return {"--set", "training.device=cuda",
            "--set", absl::StrCat("model.tensor_parallel=", tensor_parallel),
            "--set", absl::StrCat("training.precision=", precision)};
  }
  Finished Train(int ranks, const std::string& output, std::vector<std::string> more) const {
    std::vector<std::string> command = {"liquid",
                                        "train",
                                        directory_ / "job.yaml",
                                        "-n",
                                        absl::StrCat(ranks),
                                        "--set",
                                        absl::StrCat("output=", directory_ / output)};
    command.insert(command.end(), more.begin(), more.end());
    return RunToEnd(command);
  }
  // The fingerprint of a run that must go well.
  std::string BitsOf(int ranks, const std::string& output, const std::vector<std::string>& more) {
    const Finished run = Train(ranks, output, more);
    EXPECT_EQ(run.exit_code, 0) << run.output;
    const Finished audit = RunToEnd({"liquid", "audit", directory_ / output});
    EXPECT_EQ(audit.exit_code, 0) << audit.output;
    return FingerprintOfJob(directory_ / output);
  }

  TemporaryDirectory directory_;
  TinyJob job_;
};

TEST_F(GpuTest, AnyNumberOfReplicasGivesTheSameBits) {
  const std::string one = BitsOf(1, "one", OnGpus(1, "bf16"));
  EXPECT_EQ(one.size(), 32u);
  EXPECT_EQ(BitsOf(2, "two", OnGpus(1, "bf16")), one);
  std::vector<std::string> sharded = OnGpus(1, "bf16");
  sharded.insert(sharded.end(),
                 {"--set", "training.shard=gradients", "--set", "model.recompute=block"});
  EXPECT_EQ(BitsOf(3, "three", sharded), one);
}

TEST_F(GpuTest, ATrainingThatWasStoppedGoesOnOnOtherRanks) {
  const std::string whole = BitsOf(2, "whole", OnGpus(2, "fp32"));
  std::vector<std::string> stopped = OnGpus(2, "fp32");
  stopped.insert(stopped.end(), {"--max-steps", "2"});
  EXPECT_EQ(Train(4, "stopped", stopped).exit_code, 75);
  EXPECT_EQ(BitsOf(2, "stopped", OnGpus(2, "fp32")), whole);
}

// mpirun -n 4 twice, each two replicas of tensor-parallel degree 2; one of them is killed.
TEST_F(GpuTest, TwoGangsOneOfWhichIsKilledGiveTheBitsOfOne) {
  const std::string reference = BitsOf(2, "reference", OnGpus(2, "bf16"));
  std::string address;
  auto coordinator =
      StartCoordinator(directory_ / "job.yaml", "127.0.0.1:0", OnGpus(2, "bf16"), &address);
  ASSERT_NE(coordinator, nullptr);
  // The machine's eight GPUs are shared out as a batch system does it.
  setenv("LIQUID_EMULATED_DEVICES", "8", 1);
  setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3", 1);
  auto survivor = StartGang(address, 4, 0.05);
  ASSERT_TRUE(survivor->WaitForOutput("step 1/", kPatience)) << survivor->output();
  setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7", 1);
  auto victim = StartGang(address, 4, 0.05);
  unsetenv("CUDA_VISIBLE_DEVICES");
  setenv("LIQUID_EMULATED_DEVICES", "4", 1);
  ASSERT_TRUE(victim->WaitForOutput("go on from step", kPatience)) << victim->output();
  ASSERT_TRUE(survivor->WaitForOutput("step 3/", kPatience)) << survivor->output();
  victim->SignalGroup(SIGKILL);
  EXPECT_EQ(victim->Wait(kPatience).exit_code, 128 + SIGKILL) << "it was still at work";
  const Finished end = survivor->Wait(kPatience);
  EXPECT_EQ(end.exit_code, 0) << end.output;
  const Finished coordination = coordinator->Wait(kPatience);
  EXPECT_EQ(coordination.exit_code, 0);
  EXPECT_EQ(FingerprintOfJob(Run()), reference);
  const Finished audit = RunToEnd({"liquid", "audit", Run()});
  EXPECT_EQ(audit.exit_code, 0) << audit.output;
}

// As a batch system starts them: each rank sees one GPU, which is its number 0.
TEST_F(GpuTest, EachRankMaySeeItsOwnGpuOnly) {
  Launch launch;
  launch.num_ranks = 2;
  launch.worker = "bash";
  launch.worker_arguments = {
      "-c", absl::StrCat("CUDA_VISIBLE_DEVICES=$OMPI_COMM_WORLD_LOCAL_RANK exec ", LIQUID_BIN_DIR,
                         "/liquid-worker --max-steps 1 --set training.device=cuda --config ",
                         directory_ / "job.yaml")};
  const Finished run = RunToEnd(MpirunCommand(launch));
  EXPECT_EQ(run.exit_code, 75) << run.output;
}

TEST_F(GpuTest, MoreRanksThanGpusAreRefused) {
  const Finished run = Train(5, "five", OnGpus(1, "fp32"));
  EXPECT_EQ(run.exit_code, 10) << run.output;
  EXPECT_THAT(run.output, HasSubstr("ranks 0 and 4 would share GPU-"));
}

TEST_F(GpuTest, WithTooLittleMemoryThereIsOneClearLine) {
  setenv("LIQUID_EMULATED_DEVICE_BYTES", "42000000", 1);
  const Finished run = Train(1, "small", OnGpus(1, "fp32"));
  unsetenv("LIQUID_EMULATED_DEVICE_BYTES");
  EXPECT_EQ(run.exit_code, 8) << run.output;
  EXPECT_THAT(
      run.output,
      ContainsRegex("out of memory before the start: rank 0 would take CUDA itself .* > .*, "
                    "its share of GPU-.*use devices with more memory"));
}

// Where there is no driver, which the emulation stands in for.
TEST_F(GpuTest, WithoutADriverThereIsOneClearLine) {
  setenv("LIQUID_EMULATED_DEVICES", "0", 1);
  const Finished run = Train(1, "none", OnGpus(1, "fp32"));
  setenv("LIQUID_EMULATED_DEVICES", "4", 1);
  EXPECT_EQ(run.exit_code, 10) << run.output;
  EXPECT_THAT(run.output, HasSubstr("training.device: cuda: no CUDA device"));
}

}  // namespace
}  // namespace liquid::testing
