// Steps in which not all of a model is trained: adapters with dropout and noise, frozen parameters.
// The same bits on any number of replicas and gangs.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "tests/model/tiny_config.h"
#include "tests/worker/step_job.h"

namespace liquid {
namespace {

class TuningStepsTest : public testing::StepJob,
                        public ::testing::WithParamInterface<testing::Form> {
 protected:
  void SetUp() override {
    StepJob::SetUp();
    config_ = testing::TinyConfig(GetParam());
    config_.vocab_size = testing::kVocab;
    job_.mutable_optimizer()->set_learning_rate(1e-2);
    job_.mutable_training()->set_epochs(3 * 4.0 / testing::kNumRows);
  }

  void UseAdapters() {
    Adapter& adapter = *job_.mutable_adapter();
    adapter.set_rank(3);
    adapter.set_alpha(6);
    adapter.add_target_modules("all-linear");
    adapter.set_dropout(0.2);
    job_.mutable_training()->set_neftune_alpha(3);
  }

  void ExpectTheSameBitsAnywhere(int degree) {
    const Outcome reference = TrainOn(degree);
    ASSERT_EQ(reference.fingerprints.size(), 3u) << reference.status;
    EXPECT_NE(reference.fingerprints[0], reference.fingerprints[2]);
    EXPECT_EQ(TrainOn(2 * degree).fingerprints, reference.fingerprints) << "two replicas";
    EXPECT_EQ(TrainIn({{{0, 3}}, {{3, 4}}}, degree).fingerprints, reference.fingerprints)
        << "two gangs";
    EXPECT_EQ(TrainIn({{{1, 2}}, {{0, 1}, {2, 4}}}, 2 * degree).fingerprints,
              reference.fingerprints)
        << "two gangs of two replicas";
  }
};

TEST_P(TuningStepsTest, AdaptersComeToTheSameBitsAnywhere) {
  UseAdapters();
  for (const int degree : {1, 2}) {
    SCOPED_TRACE(degree);
    job_.mutable_model()->set_tensor_parallel(degree);
    ExpectTheSameBitsAnywhere(degree);
  }
}

TEST_P(TuningStepsTest, AdaptersInBf16AndShardedToo) {
  UseAdapters();
  job_.mutable_training()->set_precision("bf16");
  job_.mutable_training()->set_shard("gradients");
  ExpectTheSameBitsAnywhere(1);
}

TEST_P(TuningStepsTest, FrozenParametersStayAsTheyAre) {
  job_.mutable_training()->add_freeze("*norm*");
  job_.mutable_training()->add_freeze("*embed*");
  ExpectTheSameBitsAnywhere(2);
  const Outcome before = [&] {
    const double rate = job_.optimizer().learning_rate();
    job_.mutable_optimizer()->set_learning_rate(1e-30);
    Outcome outcome = TrainOn(1);
    job_.mutable_optimizer()->set_learning_rate(rate);
    return outcome;
  }();
  const Outcome after = TrainOn(1);
  const std::vector<Parameter> parameters = ParametersOf(config_);
  for (size_t p = 0; p < parameters.size(); ++p) {
    const std::string& name = parameters[p].name;
    const bool is_frozen = name.find("norm") != std::string::npos ||
                           name.find("embed") != std::string::npos || !parameters[p].trains;
    EXPECT_EQ(after.weights[p] == before.weights[p], is_frozen) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, TuningStepsTest,
                         ::testing::Values(Family::kLlama, Family::kGemma4,
                                           testing::Form(Family::kGemma4, true), Family::kLfm2));

}  // namespace
}  // namespace liquid
