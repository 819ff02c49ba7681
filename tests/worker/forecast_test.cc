// What a worker finds out before it takes memory: that there is not enough, and what would be.
#include "worker/forecast.h"

#include <stdlib.h>

#include <filesystem>
#include <string>

#include "base/exit_code.h"
#include "base/file.h"
#include "base/log.h"
#include "gmock/gmock.h"
#include "kernels/cpu/team.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kModel[] = R"({"model_type":"llama","vocab_size":1000,"hidden_size":64,
    "intermediate_size":256,"num_hidden_layers":8,"num_attention_heads":4,
    "num_key_value_heads":4,"max_position_embeddings":1024,"tie_word_embeddings":true})";

// A CPU with so much memory.
class SmallCpu final : public Device {
 public:
  explicit SmallCpu(int64_t total_bytes) : total_bytes_(total_bytes) {}
  DeviceType type() const override { return cpu_->type(); }
  std::string name() const override { return "CPU"; }
  int64_t TotalBytes(int num_ranks) const override { return total_bytes_ / num_ranks; }
  absl::StatusOr<Buffer> Allocate(size_t num_bytes) override { return cpu_->Allocate(num_bytes); }
  absl::StatusOr<Buffer> AllocateHost(size_t num_bytes) override {
    return cpu_->AllocateHost(num_bytes);
  }
  absl::StatusOr<std::unique_ptr<Stream>> CreateStream() override { return cpu_->CreateStream(); }

 private:
  const int64_t total_bytes_;
  const std::unique_ptr<Device> cpu_ = CreateCpuDevice();
};

class ForecastTest : public ::testing::Test {
 protected:
  void SetUp() override {
    SizeTeam(/*ranks_on_machine=*/64);  // one thread
    char path[] = "/tmp/liquid-forecast-XXXXXX";
    ASSERT_NE(mkdtemp(path), nullptr);
    directory_ = path;
    ASSERT_THAT(WriteFile(directory_ + "/config.json", kModel), IsOk());
    job_.mutable_model()->set_from(directory_);
    job_.mutable_model()->set_tensor_parallel(1);
    job_.mutable_model()->set_recompute("none");
    job_.mutable_data()->set_sequence_length(256);
    job_.mutable_training()->set_slots_per_step(2);
    job_.mutable_training()->set_rows_per_slot(4);
    job_.mutable_training()->set_precision("fp32");
    job_.mutable_training()->set_gradient_sum("exact");
    job_.mutable_training()->set_shard("optimizer");
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string directory_;
  Job job_;
};

TEST_F(ForecastTest, WhatCannotFitIsRefusedWithTheArithmeticAndAChangeThatFits) {
  SmallCpu roomy(int64_t{4} << 30);
  const auto whole = MakeForecast(job_, roomy, {});
  ASSERT_THAT(whole, IsOk());
  const int64_t needed = whole->memory.on_device();
  EXPECT_GT(whole->memory.activations, needed / 4);

  SmallCpu exact(needed);
  EXPECT_THAT(MakeForecast(job_, exact, {}), IsOk());
  SmallCpu small(needed - 1);
  const auto refused = MakeForecast(job_, small, {});
  ASSERT_THAT(refused, Not(IsOk()));
  EXPECT_EQ(ExitCodeOf(refused.status()), ExitCode::kOutOfMemory);
  EXPECT_THAT(std::string(refused.status().message()),
              HasSubstr("out of memory before the start: rank 0 would take "));
  EXPECT_THAT(std::string(refused.status().message()),
              HasSubstr("model.recompute: block would fit ("));
  // Two ranks share it.
  SmallCpu shared(2 * needed - 2);
  EXPECT_EQ(ExitCodeOf(MakeForecast(job_, shared, {.ranks_on_machine = 2}).status()),
            ExitCode::kOutOfMemory);
}

TEST_F(ForecastTest, WhoRunsOutOfMemoryIsToldWhatFits) {
  SmallCpu roomy(int64_t{4} << 30);
  job_.mutable_model()->set_recompute("block");
  EXPECT_EXIT(
      {
        InitializeLog("rank 0", LogLevel::kError);
        EXPECT_THAT(MakeForecast(job_, roomy, {}), IsOk());
        ExitOutOfMemory(absl::ResourceExhaustedError("cannot get 12345 bytes, 678 are free"));
      },
      ::testing::ExitedWithCode(8),
      "cannot get 12345 bytes, 678 are free; training.rows_per_slot: [12] with slots_per_step: "
      "[0-9]+ would fit");
}

TEST_F(ForecastTest, TimeIsPredictedWhereItIsAskedFor) {
  SmallCpu cpu(int64_t{4} << 30);
  const auto without = MakeForecast(job_, cpu, {});
  const auto with = MakeForecast(job_, cpu, {.predicts_time = true});
  ASSERT_THAT(without, IsOk());
  ASSERT_THAT(with, IsOk());
  EXPECT_EQ(without->step_seconds, 0);
  EXPECT_GT(with->step_seconds, 0);
  EXPECT_THAT(with->TimeText(), HasSubstr("a step, as planned: "));
  EXPECT_THAT(with->ComparisonText(with->memory.on_device(), 1.5), HasSubstr("and 1.5 s a step"));
}

TEST_F(ForecastTest, AJobThatCannotRunHasNone) {
  SmallCpu cpu(1);
  job_.mutable_model()->set_tensor_parallel(2);  // one rank
  const auto forecast = MakeForecast(job_, cpu, {});
  ASSERT_THAT(forecast, IsOk());
  EXPECT_EQ(forecast->memory.on_device(), 0);
}

}  // namespace
}  // namespace liquid
