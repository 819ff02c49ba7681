// One theorem, many instances: the state after some steps does not depend on how many ranks made
// them, nor on how the slots were dealt. Ranks are threads here.
#include "worker/train_step.h"

#include <stdlib.h>

#include <filesystem>
#include <random>
#include <thread>

#include "data/dataset_writer.h"
#include "gmock/gmock.h"
#include "parallel/thread/thread_communicator.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::StatusIs;
using ::testing::HasSubstr;

constexpr char kProvenance[] =
    R"({"sources": [{"path": "x", "num_bytes": 0, "digest": "00000000000000000000000000000000"}]})";
constexpr int kLength = 16;
constexpr int kVocab = 40;
constexpr int kNumRows = 11;  // not a multiple of a step's rows: steps straddle epochs

class TrainStepTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/liquid-train-step-XXXXXX";
    ASSERT_NE(mkdtemp(path), nullptr);
    directory_ = path;
    DatasetWriter::Options options;
    options.sequence_length = kLength;
    options.vocab_size = kVocab;
    auto writer = *DatasetWriter::Create(directory_ + "/rows.dataset", options);
    std::mt19937 random(1);
    for (int row = 0; row < kNumRows; ++row) {
      PackedRow packed;
      for (const int length : {5, 4 + row % 7}) {
        Document document;
        for (int i = 0; i < length; ++i) {
          document.tokens.push_back(static_cast<int32_t>(random() % kVocab));
          document.trained.push_back(i > 1 ? 1 : 0);
        }
        document.origin.line = row + 1;
        packed.Append(document);
      }
      ASSERT_TRUE(writer->Append(packed).ok());
    }
    ASSERT_TRUE(writer->Finish(kProvenance).ok());

    job_.mutable_model()->set_recompute("none");
    job_.mutable_training()->set_slots_per_step(4);
    job_.mutable_training()->set_rows_per_slot(1);
    job_.mutable_training()->set_epochs(2.5);
    job_.mutable_training()->set_gradient_sum("exact");
    job_.mutable_training()->set_on_non_finite("stop");
    job_.mutable_optimizer()->set_learning_rate(0.01);
    job_.mutable_optimizer()->set_schedule("cosine");
    job_.mutable_optimizer()->set_clip_norm(1.0);
    job_.mutable_optimizer()->set_epsilon(1e-8);
    job_.mutable_optimizer()->add_betas(0.9);
    job_.mutable_optimizer()->add_betas(0.95);
    config_.vocab_size = kVocab;
    config_.hidden_size = 16;
    config_.intermediate_size = 24;
    config_.num_layers = 2;
    config_.num_heads = 4;
    config_.num_kv_heads = 2;
    config_.head_dim = 4;
    config_.max_position_embeddings = 64;
    config_.tie_word_embeddings = true;
    config_.windows = {0, 0};
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  // What every rank's steps came to: the fingerprint after each, or the first error.
  struct Outcome {
    std::vector<std::string> fingerprints;
    std::vector<double> losses;
    absl::Status status;
  };

  // Makes all steps of the job on `num_ranks` ranks. `leases`: how the slots are put in a plan.
  Outcome TrainOn(int num_ranks, const std::vector<std::pair<int, int>>& leases = {{0, 4}}) {
    auto world = CreateThreadWorld(num_ranks, absl::Seconds(60));
    std::vector<Outcome> outcomes(static_cast<size_t>(num_ranks));
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < num_ranks; ++rank) {
      threads.emplace_back([&, rank] { outcomes[rank] = TrainRank(*world[rank], leases); });
    }
    threads.clear();
    for (const Outcome& other : outcomes) {
      EXPECT_EQ(other.fingerprints, outcomes[0].fingerprints) << "ranks of one run differ";
    }
    return outcomes[0];
  }

  Outcome TrainRank(Communicator& world, const std::vector<std::pair<int, int>>& leases) {
    Outcome outcome;
    auto device = CreateCpuDevice();
    auto stream = *device->CreateStream();
    auto ops = CreateOps(*stream);
    TensorPool pool(*device);
    auto model = *CreateModel(config_, *ops, *stream, pool);
    InitializeWeights(7, *model);
    const Dataset dataset = *Dataset::Open(directory_ + "/rows.dataset");
    const JobStream job_stream(EpochOrder(3, kNumRows, true), job_.training().epochs(), 4, 1);
    TrainState state(*model, *ops, pool);
    TrainStep step(job_, job_stream, dataset, state, *ops, *stream, pool, world, 0);
    for (int64_t n = 1; n <= job_stream.num_steps(); ++n) {
      Plan plan;
      plan.set_step(n);
      for (const auto& [begin, end] : leases) {
        SlotRange* range = plan.add_slots();
        range->set_begin(begin);
        range->set_end(end);
      }
      const auto report = step.Run(plan);
      if (!report.ok()) {
        outcome.status = report.status();
        return outcome;
      }
      outcome.fingerprints.push_back(report->fingerprint());
      outcome.losses.push_back(report->loss());
    }
    return outcome;
  }

  std::string directory_;
  Job job_;
  ModelConfig config_;
};

TEST_F(TrainStepTest, AnyNumberOfRanksAndAnyOrderOfSlotsGiveTheSameBits) {
  const Outcome reference = TrainOn(1);
  ASSERT_EQ(reference.fingerprints.size(), 7u);  // ceil(27.5 -> 28 rows / 4)
  EXPECT_LT(reference.losses.back(), reference.losses.front());
  for (int ranks = 2; ranks <= 6; ++ranks) {  // with 5 and 6 some have nothing to do
    EXPECT_EQ(TrainOn(ranks).fingerprints, reference.fingerprints) << ranks << " ranks";
  }
  EXPECT_EQ(TrainOn(3, {{2, 4}, {0, 1}, {1, 2}}).fingerprints, reference.fingerprints);
}

TEST_F(TrainStepTest, RecomputeChangesNoBit) {
  const Outcome reference = TrainOn(1);
  job_.mutable_model()->set_recompute("block");
  EXPECT_EQ(TrainOn(2).fingerprints, reference.fingerprints);
}

TEST_F(TrainStepTest, ASlotLeftOutWouldBeNoticed) {
  EXPECT_NE(TrainOn(2, {{0, 3}}).fingerprints, TrainOn(2).fingerprints);
}

TEST_F(TrainStepTest, FastSumsDoNotKeepThePromise) {
  job_.mutable_training()->set_gradient_sum("fast");
  EXPECT_NE(TrainOn(1).fingerprints, TrainOn(3).fingerprints);
}

TEST_F(TrainStepTest, ANonFiniteLossStopsEveryRankAndNamesTheStep) {
  job_.mutable_optimizer()->set_learning_rate(1e30);
  job_.mutable_optimizer()->set_clip_norm(0);
  const Outcome outcome = TrainOn(2);
  EXPECT_THAT(outcome.status, StatusIs(absl::StatusCode::kOutOfRange,
                                       HasSubstr("step 2: the loss or a gradient is not finite")));
  EXPECT_EQ(outcome.fingerprints.size(), 1u);
}

TEST_F(TrainStepTest, ASkippedStepLeavesTheWeights) {
  job_.mutable_training()->set_on_non_finite("skip");
  job_.mutable_optimizer()->set_learning_rate(1e30);
  job_.mutable_optimizer()->set_clip_norm(0);
  const Outcome outcome = TrainOn(2);
  EXPECT_TRUE(outcome.status.ok()) << outcome.status;
  ASSERT_EQ(outcome.fingerprints.size(), 7u);
  EXPECT_EQ(outcome.fingerprints[1], outcome.fingerprints[0]);
  EXPECT_EQ(outcome.fingerprints[6], outcome.fingerprints[0]);
}

}  // namespace
}  // namespace liquid
