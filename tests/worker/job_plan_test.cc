// `liquid plan`: machines, times, what fits, what would.
#include "worker/job_plan.h"

#include <stdlib.h>
#include <time.h>

#include <filesystem>
#include <string>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "gmock/gmock.h"
#include "tests/model/gemma4_e4b.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::testing::EndsWith;
using ::testing::HasSubstr;

class JobPlanTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/liquid-job-plan-XXXXXX";
    ASSERT_NE(mkdtemp(path), nullptr);
    directory_ = path;
    ASSERT_THAT(WriteFile(directory_ + "/config.json", testing::Gemma4E4B()), IsOk());
    // Of the model's directory there is config.json alone, of the data nothing.
    job_.set_output(directory_ + "/run");
    job_.mutable_model()->set_from(directory_);
    job_.mutable_model()->set_tokenizer(directory_);
    job_.mutable_model()->set_tensor_parallel(4);
    job_.mutable_model()->set_sequence_parallel(true);
    job_.mutable_model()->set_recompute("none");
    job_.mutable_data()->add_train(directory_ + "/train.jsonl");
    job_.mutable_data()->set_sequence_length(4096);
    job_.mutable_data()->set_overlong("truncate");
    job_.mutable_data()->set_loss_on("assistant");
    Training& training = *job_.mutable_training();
    training.set_epochs(2);
    training.set_slots_per_step(8);
    training.set_rows_per_slot(1);
    training.set_precision("bf16");
    training.set_gradient_sum("exact");
    training.set_shard("optimizer");
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string directory_;
  Job job_;
};

double ProcessorSeconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

TEST_F(JobPlanTest, SevenBillionParametersArePlannedInSecondsAndLittleMemory) {
  const double start = ProcessorSeconds();
  const auto plan = PlanJob(job_, *ParseCluster("h100:8"));
  const double seconds = ProcessorSeconds() - start;
  ASSERT_THAT(plan, IsOk());
  EXPECT_LT(seconds, 5);
  EXPECT_LT(PeakResidentBytes(), 500'000'000);
  const PlannedStep& step = plan->chosen.step;
  EXPECT_EQ(step.num_parameters, 7'463'013'376);
  // A quarter of the weights, and what is on every rank; of that half in fp32 and two moments.
  const auto parameters = static_cast<double>(step.num_parameters);
  const auto weights = static_cast<double>(step.memory.weights);
  EXPECT_GT(weights, 2 * parameters / 4);
  EXPECT_LT(weights, 1.05 * 2 * parameters / 4);
  // Numbers that are not trained have none.
  EXPECT_NEAR(static_cast<double>(step.memory.optimizer), weights / 2 / 2 * 12, 1e-4 * weights);
  EXPECT_EQ(step.num_rounds, 4);
  // 6 flops for each weight that is multiplied and token: the rank does its quarter, and attention.
  EXPECT_GT(4 * CostOf(step.slot).flops, step.model_flops);
  EXPECT_LT(4 * CostOf(step.slot).flops, 1.3 * step.model_flops);
  EXPECT_EQ(plan->options.size(), 8u);
  EXPECT_TRUE(plan->options[0].fits);
  EXPECT_FALSE(plan->length.ok());
  EXPECT_THAT(std::string(plan->length.status().message()), HasSubstr("train.jsonl"));
}

TEST_F(JobPlanTest, WhatFitsComesFirstAndTheFasterBeforeTheSlower) {
  const auto plan = PlanJob(job_, *ParseCluster("h100:8"));
  ASSERT_THAT(plan, IsOk());
  for (size_t i = 1; i < plan->options.size(); ++i) {
    const PlanOption& before = plan->options[i - 1];
    const PlanOption& here = plan->options[i];
    EXPECT_GE(before.fits, here.fits);
    if (before.fits == here.fits) {
      EXPECT_GE(before.tokens_per_second, here.tokens_per_second);
    }
  }
  const PlanOption& last = plan->options.back();
  EXPECT_EQ(last.tensor_parallel, 1);
  EXPECT_FALSE(last.fits) << "weights, exact sums and an eighth of the rest are above 80 GB";
  const std::string sum = MemorySum(last.step.memory);
  EXPECT_THAT(sum, HasSubstr("weights 14.9 GB + gradient sums 6"));
  EXPECT_THAT(sum, EndsWith(absl::StrFormat(
                       "= %.1f GB", static_cast<double>(last.step.memory.on_device()) / 1e9)));
}

TEST_F(JobPlanTest, RecomputeTakesLessMemoryAndMoreTime) {
  const auto none = PlanJob(job_, *ParseCluster("h100:8"));
  job_.mutable_model()->set_recompute("block");
  const auto block = PlanJob(job_, *ParseCluster("h100:8"));
  ASSERT_THAT(none, IsOk());
  ASSERT_THAT(block, IsOk());
  EXPECT_LT(block->chosen.step.memory.activations, none->chosen.step.memory.activations / 2);
  EXPECT_EQ(block->chosen.step.memory.weights, none->chosen.step.memory.weights);
  EXPECT_GT(block->chosen.time.compute, 1.1 * none->chosen.time.compute);
  EXPECT_LT(block->chosen.time.compute, 1.5 * none->chosen.time.compute);
}

TEST_F(JobPlanTest, TheChangeThatIsToFitDoes) {
  job_.mutable_training()->set_rows_per_slot(16);
  const auto plan = PlanJob(job_, *ParseCluster("h100:8"));
  ASSERT_THAT(plan, IsOk());
  ASSERT_FALSE(plan->chosen.fits);
  EXPECT_THAT(plan->advice, HasSubstr("model.recompute: block would fit ("));
  job_.mutable_model()->set_recompute("block");
  const auto changed = PlanJob(job_, *ParseCluster("h100:8"));
  ASSERT_THAT(changed, IsOk());
  EXPECT_TRUE(changed->chosen.fits);
  // Nothing makes all weights fit into a thousandth of them.
  const auto config = LoadModelConfig(directory_ + "/config.json");
  EXPECT_THAT(SmallestChange(job_, *config, {.num_ranks = 8, .machine = {DeviceType::kCuda}}, 1e7),
              HasSubstr("start more of them"));
}

TEST_F(JobPlanTest, AnImpossibleJobIsRefused) {
  job_.mutable_model()->set_tensor_parallel(8);  // attention has 8 heads, this gang 4 ranks
  EXPECT_THAT(PlanJob(job_, *ParseCluster("h100:4")),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("model.tensor_parallel is 8, but the gang has 4 ranks")));
  job_.mutable_model()->set_tensor_parallel(1);
  job_.mutable_data()->set_sequence_length(200000);
  EXPECT_THAT(PlanJob(job_, *ParseCluster("h100:4")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("max_position_embeddings")));
  job_.mutable_model()->set_from("/nowhere");
  EXPECT_THAT(PlanJob(job_, *ParseCluster("h100")),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/nowhere/config.json")));
}

TEST_F(JobPlanTest, WithoutAPreparedDatasetTheLengthIsEstimatedFromItsBytes) {
  ASSERT_THAT(WriteFile(directory_ + "/train.jsonl", std::string(4 * 4096 * 40, 'x')), IsOk());
  const auto plan = PlanJob(job_, *ParseCluster("h100:8"));
  ASSERT_THAT(plan, IsOk());
  ASSERT_THAT(plan->length, IsOk());
  EXPECT_EQ(plan->length->num_rows, 40);
  EXPECT_EQ(plan->length->num_steps, 10) << "two epochs of 40 rows, 8 rows a step";
  EXPECT_THAT(plan->length->source, HasSubstr("an estimate"));
}

TEST_F(JobPlanTest, AMixtureHasTheRowsThatAnEpochOfItDraws) {
  for (const auto& [name, epochs, rows] : {std::tuple("a", 2.0, 10), std::tuple("b", 0.5, 30)}) {
    const std::string path = absl::StrCat(directory_, "/", name, ".jsonl");
    ASSERT_THAT(WriteFile(path, std::string(static_cast<size_t>(rows) * 4096 * 4, 'x')), IsOk());
    MixedSource& source = *job_.mutable_data()->add_mix();
    source.set_name(name);
    source.add_files(path);
    source.set_epochs(epochs);
  }
  job_.mutable_data()->clear_train();
  const auto plan = PlanJob(job_, ParseCluster("h100:8").value());
  ASSERT_THAT(plan, IsOk());
  ASSERT_THAT(plan->length, IsOk());
  EXPECT_EQ(plan->length->num_rows, 2 * 10 + 15);
}

TEST(ParseClusterTest, KindsDevicesAndMachines) {
  const auto four = ParseCluster("h100:8x4");
  ASSERT_THAT(four, IsOk());
  EXPECT_EQ(four->per_machine, 8);
  EXPECT_EQ(four->num_machines, 4);
  EXPECT_EQ(four->machine.memory_bytes, 80e9);
  EXPECT_EQ(ParseCluster("H200")->machine.memory_bytes, 141e9);
  EXPECT_EQ(ParseCluster("b200:2")->num_ranks(), 2);
  EXPECT_EQ(ParseCluster("a100")->machine.bf16_flops, 312e12);
  EXPECT_EQ(ParseCluster("cpu")->machine.type, DeviceType::kCpu);
  for (const char* bad : {"", "h1000", "h100:", "h100:0", "h100:8x", "h100:8x4x2", "h100:8:4",
                          "h100:-1", "h100:99999x99999"}) {
    EXPECT_THAT(ParseCluster(bad),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("such as h100:8x4")))
        << bad;
  }
}

TEST(MachineModelTest, AnOperationTakesTheLongerOfItsProductAndItsMemory) {
  const Machine h100 = ParseCluster("h100")->machine;
  const OpCall product = {.kind = OpKind::kMatMul,
                          .dtype = DType::kBF16,
                          .out_dtype = DType::kBF16,
                          .extents = {8192, 8192, 8192}};
  EXPECT_NEAR(SecondsOf(h100, product), 2.0 * 8192 * 8192 * 8192 / (989.4e12 * 0.68) + 4e-6, 1e-9);
  const OpCall add = {.kind = OpKind::kAdd, .dtype = DType::kF32, .extents = {1 << 28}};
  EXPECT_NEAR(SecondsOf(h100, add), 12.0 * (1 << 28) / (3.35e12 * 0.85) + 4e-6, 1e-9);
}

TEST(MachineModelTest, CollectivesUseLinksInsideAMachineAndTheNetworkBeyond) {
  const Cluster cluster = *ParseCluster("h100:8x2");
  CollectiveCall call = {
      .collective = Collective::kAllReduce, .size = 4, .stride = 1, .bytes = 1'000'000'000};
  EXPECT_DOUBLE_EQ(call.SentBytes(), 1.5e9);
  EXPECT_NEAR(SecondsOf(cluster, call), 6 * 5e-6 + 1.5e9 / (450e9 * 0.8), 1e-9);
  call.stride = 4;  // 4 ranks that are 4 apart: of two machines
  EXPECT_NEAR(SecondsOf(cluster, call), 6 * 15e-6 + 1.5e9 / (50e9 * 0.8), 1e-9);
  call.collective = Collective::kReduceScatter;
  EXPECT_NEAR(SecondsOf(cluster, call), 3 * 15e-6 + 0.75e9 / (50e9 * 0.8), 1e-9);
}

// The measurements of bench/results/gpu_h100_2026-11-28.md: four layers of Llama-3-8B.
TEST(MachineModelTest, StepsMeasuredOnAnH100ArePredictedWithinATenth) {
  ModelConfig config;
  config.family = Family::kLlama;
  config.vocab_size = 128256;
  config.hidden_size = 4096;
  config.intermediate_size = 14336;
  config.num_layers = 4;
  config.num_heads = 32;
  config.num_kv_heads = 8;
  config.head_dim = 128;
  config.max_position_embeddings = 8192;
  config.windows.assign(4, 0);
  Job job;
  job.mutable_model()->set_tensor_parallel(1);
  job.mutable_data()->set_sequence_length(8192);
  job.mutable_training()->set_rows_per_slot(1);
  job.mutable_training()->set_precision("bf16");
  job.mutable_training()->set_gradient_sum("exact");
  job.mutable_training()->set_shard("optimizer");
  struct Measured {
    int slots;
    const char* recompute;
    double seconds;
  };
  for (const Measured& measured : {Measured{1, "none", 0.1976}, Measured{2, "none", 0.3582},
                                   Measured{1, "block", 0.2268}, Measured{2, "block", 0.4260}}) {
    job.mutable_model()->set_recompute(measured.recompute);
    job.mutable_training()->set_slots_per_step(measured.slots);
    const auto step = PlanStep(job, config, {.machine = {.device = DeviceType::kCuda}});
    ASSERT_THAT(step, IsOk());
    const StepTime time = TimeOf(*ParseCluster("h100"), *step);
    // The benchmark's step has no fingerprint.
    EXPECT_NEAR((time.compute + time.update) / measured.seconds, 1, 0.1)
        << measured.slots << " slots, recompute " << measured.recompute;
  }
}

}  // namespace
}  // namespace liquid
