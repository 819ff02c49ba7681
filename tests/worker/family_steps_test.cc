// Three AdamW steps of every family on any arrangement of ranks: the bits of its tensor-parallel
// degree, and the weights of one rank.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "tests/model/tiny_config.h"
#include "tests/worker/step_job.h"

namespace liquid {
namespace {

class FamilyStepsTest : public testing::StepJob,
                        public ::testing::WithParamInterface<testing::Form> {};

TEST_P(FamilyStepsTest, AnyDegreeReplicasAndGangsComeToTheWeightsOfOneRank) {
  config_ = testing::TinyConfig(GetParam());
  config_.vocab_size = testing::kVocab;
  const double learning_rate = 1e-3;
  job_.mutable_optimizer()->set_learning_rate(learning_rate);
  job_.mutable_training()->set_epochs(3 * 4.0 / testing::kNumRows);
  const Outcome alone = TrainOn(1);
  ASSERT_EQ(alone.losses.size(), 3u);
  for (const int degree : {1, 2, 4}) {
    for (const bool sequence : {false, true}) {
      SCOPED_TRACE(absl::StrCat("degree ", degree, sequence ? ", sequences spread" : ""));
      job_.mutable_model()->set_tensor_parallel(degree);
      job_.mutable_model()->set_sequence_parallel(sequence);
      const Outcome reference = TrainOn(degree);
      ASSERT_EQ(reference.fingerprints.size(), 3u) << reference.status;
      for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(reference.losses[i], alone.losses[i], 2e-5);
      double sum_of_squares = 0;
      int64_t count = 0;
      for (size_t p = 0; p < alone.weights.size(); ++p) {
        for (size_t i = 0; i < alone.weights[p].size(); ++i) {
          const double error = reference.weights[p][i] - alone.weights[p][i];
          // A gradient near zero may get another sign, and Adam's first step with it.
          ASSERT_LE(std::abs(error), 6 * learning_rate) << "parameter " << p << " element " << i;
          sum_of_squares += error * error;
          ++count;
        }
      }
      EXPECT_LE(std::sqrt(sum_of_squares / static_cast<double>(count)), 0.02 * learning_rate);
      EXPECT_EQ(TrainOn(2 * degree).fingerprints, reference.fingerprints) << "two replicas";
      EXPECT_EQ(TrainIn({{{0, 3}}, {{3, 4}}}, degree).fingerprints, reference.fingerprints)
          << "two gangs";
      EXPECT_EQ(TrainIn({{{1, 2}}, {{0, 1}, {2, 4}}}, 2 * degree).fingerprints,
                reference.fingerprints)
          << "two gangs of two replicas";
    }
  }
}

// Slots that are not equal: sums of other parts, to rounding.
TEST_P(FamilyStepsTest, AnySplitIntoSlotsRowsAndReplicasGivesTheLossOfTheBatch) {
  config_ = testing::TinyConfig(GetParam());
  config_.vocab_size = testing::kVocab;
  job_.mutable_training()->set_epochs(4.0 / testing::kNumRows);
  double loss = 0;
  for (const int slots : {4, 2, 1}) {
    job_.mutable_training()->set_slots_per_step(slots);
    job_.mutable_training()->set_rows_per_slot(4 / slots);
    for (const int replicas : {1, 2, 3}) {
      const Outcome outcome = TrainOn(replicas, {{0, slots}});
      ASSERT_EQ(outcome.losses.size(), 1u) << outcome.status;
      if (loss == 0) loss = outcome.losses[0];
      EXPECT_NEAR(outcome.losses[0], loss, 1e-6 * loss) << slots << " slots, " << replicas;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, FamilyStepsTest, ::testing::ValuesIn(testing::AllForms()));

}  // namespace
}  // namespace liquid
