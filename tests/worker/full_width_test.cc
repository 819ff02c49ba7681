// Two layers of gemma-4-E4B with all its sizes but the vocabulary's, 226 M parameters: the losses
// of two steps do not depend on the tensor-parallel degree.
#include <vector>

#include "tests/model/gemma4_e4b.h"
#include "tests/worker/step_job.h"

namespace liquid {
namespace {

using testing::IsOk;

class FullWidthTest : public testing::StepJob {
 protected:
  // Of the first rank: of the first step, and of the second, by the weights that the first one
  // made.
  std::vector<double> LossesOn(int num_ranks) {
    job_.mutable_model()->set_tensor_parallel(num_ranks);
    job_.mutable_model()->set_sequence_parallel(true);
    auto world = CreateThreadWorld(num_ranks, absl::Seconds(120));
    std::vector<double> losses;
    std::vector<std::jthread> ranks;
    for (auto& comm : world) {
      ranks.emplace_back([&] {
        SizeTeam(/*ranks_on_machine=*/num_ranks);
        Rank rank(*this, *comm, /*probes=*/false);
        for (int64_t n = 1; n <= rank.job_stream.num_steps(); ++n) {
          ASSERT_THAT(rank.Compute(MakePlan(n, {{0, 1}})), IsOk());
          const auto report = rank.step.Finish(nullptr);
          ASSERT_THAT(report, IsOk());
          if (comm->rank() == 0) losses.push_back((*report)->loss());
        }
      });
    }
    ranks.clear();
    return losses;
  }
};

TEST_F(FullWidthTest, OneRankAndTwoHaveEqualLosses) {
  config_ = *ParseModelConfig(
      testing::Gemma4E4B(/*num_layers=*/2, /*full_every=*/2, /*num_sharing=*/0, 8192), "");
  job_.mutable_training()->set_slots_per_step(1);
  job_.mutable_training()->set_epochs(2.0 / testing::kNumRows);
  job_.mutable_optimizer()->set_learning_rate(1e-4);
  const std::vector<double> alone = LossesOn(1);
  ASSERT_EQ(alone.size(), 2u);
  const std::vector<double> spread = LossesOn(2);
  ASSERT_EQ(spread.size(), 2u);
  for (size_t i = 0; i < 2; ++i) EXPECT_NEAR(spread[i], alone[i], 1e-5 * alone[i]) << "step " << i;
}

}  // namespace
}  // namespace liquid
