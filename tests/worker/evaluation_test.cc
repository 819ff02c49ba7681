// What an evaluation says does not depend on how many ranks and gangs made it.
#include "worker/evaluation.h"

#include <algorithm>
#include <thread>

#include "gmock/gmock.h"
#include "kernels/cpu/team.h"
#include "tests/worker/step_job.h"

namespace liquid {
namespace {

class EvaluationTest : public testing::StepJob {
 protected:
  // By `num_gangs` gangs of `num_ranks` ranks, each of whose reports must be the same.
  EvalReport Evaluate(int num_gangs, int num_ranks, int rows_per_slot = 2) {
    std::vector<std::vector<std::unique_ptr<GangCommunicator>>> gangs;
    std::vector<std::vector<std::unique_ptr<GangCommunicator>>> rails;
    for (int gang = 0; gang < num_gangs; ++gang) {
      gangs.push_back(CreateThreadWorld(num_ranks, absl::Seconds(60)));
    }
    for (int rank = 0; rank < num_ranks; ++rank) {
      rails.push_back(CreateThreadWorld(num_gangs, absl::Seconds(60)));
    }
    std::vector<EvalReport> reports(static_cast<size_t>(num_gangs * num_ranks));
    std::vector<std::jthread> threads;
    for (int gang = 0; gang < num_gangs; ++gang) {
      for (int rank = 0; rank < num_ranks; ++rank) {
        threads.emplace_back([&, gang, rank] {
          SizeTeam(/*ranks_on_machine=*/64);  // one thread: ranks are many here
          Rank it(*this, *gangs[gang][rank]);
          Evaluation evaluation(it.dataset, rows_per_slot, it.state);
          auto outcome = evaluation.Run(num_gangs > 1 ? rails[rank][gang].get() : nullptr);
          ASSERT_THAT(outcome, testing::IsOk());
          ASSERT_TRUE(outcome->report.has_value());
          reports[static_cast<size_t>(gang * num_ranks + rank)] = *outcome->report;
        });
      }
    }
    threads.clear();
    for (const EvalReport& report : reports) {
      EXPECT_EQ(report.loss(), reports[0].loss());
      EXPECT_EQ(report.correct_tokens(), reports[0].correct_tokens());
    }
    return reports[0];
  }
};

TEST_F(EvaluationTest, LossAndAccuracyAreThoseOfTheLogits) {
  const EvalReport report = Evaluate(1, 1);
  auto world = CreateThreadWorld(1, absl::Seconds(60));
  Rank it(*this, *world[0]);
  SlotReader reader(it.dataset, 1);
  double loss = 0;
  int64_t num_targets = 0;
  int64_t num_correct = 0;
  for (int64_t row = 0; row < it.dataset.num_rows(); ++row) {
    const TokenBatch& batch = reader.Read({row});
    const std::vector<float> logits = it.model->Inspect(batch).logits;
    for (size_t i = 0; i < batch.targets.size(); ++i) {
      if (batch.targets[i] == kIgnoredTarget) continue;
      const auto begin = logits.begin() + static_cast<int64_t>(i) * testing::kVocab;
      double sum = 0;
      for (int v = 0; v < testing::kVocab; ++v) sum += std::exp(double{begin[v]});
      loss += std::log(sum) - double{begin[batch.targets[i]]};
      ++num_targets;
      num_correct +=
          std::max_element(begin, begin + testing::kVocab) - begin == batch.targets[i] ? 1 : 0;
    }
  }
  EXPECT_EQ(report.target_tokens(), num_targets);
  EXPECT_EQ(report.correct_tokens(), num_correct);
  EXPECT_GT(num_correct, 0);
  EXPECT_LT(num_correct, num_targets);
  EXPECT_NEAR(report.loss(), loss / static_cast<double>(num_targets), 1e-6);
}

TEST_F(EvaluationTest, AnyNumberOfRanksAndGangsSaysTheSame) {
  const EvalReport reference = Evaluate(1, 1);
  for (const auto& [gangs, ranks] :
       std::vector<std::pair<int, int>>{{1, 2}, {1, 3}, {2, 1}, {2, 2}, {3, 1}, {1, 8}}) {
    const EvalReport report = Evaluate(gangs, ranks);
    EXPECT_EQ(report.loss(), reference.loss()) << gangs << " gangs of " << ranks;
    EXPECT_EQ(report.correct_tokens(), reference.correct_tokens());
    EXPECT_EQ(report.target_tokens(), reference.target_tokens());
  }
}

TEST_F(EvaluationTest, TensorParallelRanksCountATargetOnce) {
  const EvalReport reference = Evaluate(1, 1);
  job_.mutable_model()->set_tensor_parallel(2);
  for (const auto& [gangs, ranks] : std::vector<std::pair<int, int>>{{1, 2}, {1, 4}, {2, 2}}) {
    const EvalReport report = Evaluate(gangs, ranks);
    EXPECT_NEAR(report.loss(), reference.loss(), 1e-6);
    EXPECT_EQ(report.correct_tokens(), reference.correct_tokens()) << gangs << " x " << ranks;
    EXPECT_EQ(report.target_tokens(), reference.target_tokens());
  }
}

}  // namespace
}  // namespace liquid
