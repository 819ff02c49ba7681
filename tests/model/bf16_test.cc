// A model in bf16 computes, within the roundings of its activations, what one in fp32 computes.
#include <cmath>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "model/key_value_cache.h"
#include "model/weights.h"
#include "parallel/thread/thread_communicator.h"
#include "tests/model/model_on_device.h"
#include "tests/model/tiny_config.h"

namespace liquid {
namespace {

using ::liquid::testing::AppendRow;
using ::liquid::testing::Differentiate;
using ::liquid::testing::Differentiated;
using ::liquid::testing::ModelOnDevice;
using ::liquid::testing::OwnedBatch;
using ::liquid::testing::PackedRow;
using ::liquid::testing::TinyConfig;

OwnedBatch TwoRows() {
  OwnedBatch batch =
      PackedRow({{3, 14, 15, 9, 26, 5, 35, 8, 9, 7, 11}, {9, 3, 2, 36, 4, 6, 21, 30, 1}});
  AppendRow(batch, PackedRow({{5, 8, 9, 7, 9, 3, 2, 3, 8}, {4, 6, 2, 6, 4, 3, 3, 8, 3, 2, 7}}));
  return batch;
}

// |a - b| / |b|
double Distance(const std::vector<float>& a, const std::vector<float>& b) {
  double norm = 0;
  double difference = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    norm += std::pow(double{b[i]}, 2);
    difference += std::pow(double{a[i]} - double{b[i]}, 2);
  }
  return std::sqrt(difference / norm);
}

// fp32 weights that are those of `rounded`.
void CopyWeights(ModelOnDevice& exact, const ModelOnDevice& rounded) {
  exact.ops->Copy(exact.model->weights(), rounded.model->weights());
  if (exact.model->frozen_weights().data == nullptr) return;
  exact.ops->Copy(exact.model->frozen_weights(), rounded.model->frozen_weights());
}

class BFloat16ModelTest : public ::testing::TestWithParam<testing::Form> {};

TEST_P(BFloat16ModelTest, ComputesWhatFloatsDoWithinItsRoundings) {
  const ModelConfig config = TinyConfig(GetParam());
  ModelOnDevice narrow = ModelOnDevice::Create(config, {}, DType::kBF16).value();
  ModelOnDevice wide = ModelOnDevice::Create(config).value();
  InitializeWeights(5, *narrow.model);
  CopyWeights(wide, narrow);
  const Differentiated actual = Differentiate(*narrow.model, TwoRows(), 0.5f);
  const Differentiated expected = Differentiate(*wide.model, TwoRows(), 0.5f);
  // A rounding is 2^-9; some dozens of them follow each other, most in Gemma 4.
  const double bound = GetParam().family == Family::kGemma4 ? 0.15 : 0.08;
  EXPECT_LT(Distance(actual.nll, expected.nll), 0.02);
  EXPECT_GT(Distance(actual.nll, expected.nll), 1e-6);  // it is not fp32 after all
  for (size_t i = 0; i < expected.gradients.size(); ++i) {
    if (!narrow.model->parameters()[i].trains) continue;
    EXPECT_LT(Distance(actual.gradients[i], expected.gradients[i]), bound)
        << narrow.model->parameters()[i].name;
  }
}

TEST_P(BFloat16ModelTest, RecomputingBlocksAndEvaluatingGiveTheSameBits) {
  ModelOnDevice it = ModelOnDevice::Create(TinyConfig(GetParam()), {}, DType::kBF16).value();
  InitializeWeights(5, *it.model);
  const Differentiated kept = Differentiate(*it.model, TwoRows(), 0.5f);
  const Differentiated again = Differentiate(*it.model, TwoRows(), 0.5f, Recompute::kBlock);
  EXPECT_EQ(again.nll, kept.nll);
  EXPECT_EQ(again.gradients, kept.gradients);
  std::vector<float> nll(kept.nll.size());
  const OwnedBatch batch = TwoRows();
  it.model->Evaluate(batch.view(), absl::MakeSpan(nll));
  EXPECT_EQ(nll, kept.nll);
}

TEST_P(BFloat16ModelTest, ExtendingTokenByTokenGivesTheLogitsOfTheWholeRow) {
  ModelOnDevice it = ModelOnDevice::Create(TinyConfig(GetParam()), {}, DType::kBF16).value();
  InitializeWeights(5, *it.model);
  const std::vector<int32_t> tokens = {3, 14, 15, 9, 26, 5};
  const OwnedBatch row = PackedRow({tokens});
  const std::vector<float> all = it.model->Inspect(row.view()).logits;
  const auto cache = it.model->CreateCache(10);
  std::vector<float> last;
  for (const int32_t token : tokens) last = it.model->Extend(*cache, {&token, 1});
  const std::vector<float> expected(all.end() - 37, all.end());
  EXPECT_LT(Distance(last, expected), 0.02);
}

TEST_P(BFloat16ModelTest, SpreadOverTwoRanksComputesWhatOneDoes) {
  const ModelConfig config = TinyConfig(GetParam());
  ModelOnDevice alone = ModelOnDevice::Create(config, {}, DType::kBF16).value();
  InitializeWeights(5, *alone.model);
  const Differentiated expected = Differentiate(*alone.model, TwoRows(), 0.5f);
  for (const bool sequence : {true, false}) {
    auto group = CreateThreadWorld(2, absl::Seconds(60));
    std::vector<Differentiated> actual(2);
    {
      std::vector<std::jthread> ranks;
      for (int rank = 0; rank < 2; ++rank) {
        ranks.emplace_back([&, rank] {
          ModelOnDevice it =
              ModelOnDevice::Create(config, {group[rank].get(), sequence}, DType::kBF16).value();
          InitializeWeights(5, *it.model);
          actual[rank] = Differentiate(*it.model, TwoRows(), 0.5f);
        });
      }
    }
    EXPECT_EQ(actual[0].nll, actual[1].nll);
    EXPECT_LT(Distance(actual[0].nll, expected.nll), 0.02);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, BFloat16ModelTest, ::testing::ValuesIn(testing::AllForms()));

}  // namespace
}  // namespace liquid
