#include "model/decoder.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/random.h"
#include "gtest/gtest.h"
#include "model/weights.h"
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

const std::vector<int32_t> kFirst = {3, 14, 15, 9, 26, 5, 35, 8, 9, 7};
const std::vector<int32_t> kSecond = {9, 3, 2, 36, 4, 6};

class DecoderTest : public ::testing::TestWithParam<testing::Form> {
 protected:
  static ModelOnDevice Make(const ModelConfig& config) {
    ModelOnDevice cpu = ModelOnDevice::Create(config).value();
    InitializeWeights(5, *cpu.model);
    return cpu;
  }
  static OwnedBatch TwoRows() {
    OwnedBatch batch = PackedRow({kFirst, kSecond});
    AppendRow(batch, PackedRow({kSecond, kFirst}));
    return batch;
  }
  static double Loss(Model& model, const OwnedBatch& batch) {
    std::vector<float> nll(batch.tokens.size());
    model.Evaluate(batch.view(), absl::MakeSpan(nll));
    double sum = 0;
    for (const float value : nll) sum += value;
    return sum;
  }
};

// Each parameter is moved along a random direction, both ways.
TEST_P(DecoderTest, GradientsAreThoseOfTheLoss) {
  ModelOnDevice cpu = Make(TinyConfig(GetParam()));
  const OwnedBatch batch = TwoRows();
  const Differentiated result = Differentiate(*cpu.model, batch, 1.0f);
  for (size_t p = 0; p < cpu.model->parameters().size(); ++p) {
    const Parameter& parameter = cpu.model->parameters()[p];
    if (!parameter.trains) continue;
    float* values = parameter.value.f32();
    const std::vector<float> before(values, values + parameter.value.NumElements());
    const CounterRandom random(11, p);
    double length = 0;
    for (size_t i = 0; i < before.size(); ++i) length += std::pow(random.Normal(i), 2.0);
    const double step = 5e-3 / std::sqrt(length);
    double loss[2];
    double expected = 0;
    for (int sign = 0; sign < 2; ++sign) {
      for (size_t i = 0; i < before.size(); ++i) {
        const double move = (sign == 0 ? step : -step) * static_cast<double>(random.Normal(i));
        values[i] = static_cast<float>(before[i] + move);
        if (sign == 0) expected += move * static_cast<double>(result.gradients[p][i]);
      }
      loss[sign] = Loss(*cpu.model, batch);
    }
    std::copy(before.begin(), before.end(), values);
    // Rounding of 30 float32 losses of about 4, and the third derivative times step^2.
    EXPECT_NEAR((loss[0] - loss[1]) / 2, expected, 2e-5 + 0.01 * std::abs(expected))
        << parameter.name;
  }
}

TEST_P(DecoderTest, LossesOfEvaluateAndForwardBackwardAreTheSame) {
  ModelOnDevice cpu = Make(TinyConfig(GetParam()));
  const OwnedBatch batch = TwoRows();
  std::vector<float> nll(batch.tokens.size());
  cpu.model->Evaluate(batch.view(), absl::MakeSpan(nll));
  EXPECT_EQ(nll, Differentiate(*cpu.model, batch, 1.0f).nll);
}

TEST_P(DecoderTest, GradientsAreWeightedByTarget) {
  ModelOnDevice cpu = Make(TinyConfig(GetParam()));
  OwnedBatch batch = PackedRow({kFirst, kSecond});
  const Differentiated plain = Differentiate(*cpu.model, batch, 1.0f);
  batch.weights.assign(batch.tokens.size(), 1.0f);
  const Differentiated ones = Differentiate(*cpu.model, batch, 1.0f);
  EXPECT_EQ(ones.nll, plain.nll);
  EXPECT_EQ(ones.gradients, plain.gradients);
  // Twice the second document and nothing of the first.
  batch.weights.assign(kFirst.size(), 0.0f);
  batch.weights.resize(batch.tokens.size(), 2.0f);
  const Differentiated weighted = Differentiate(*cpu.model, batch, 1.0f);
  EXPECT_EQ(weighted.nll, plain.nll);
  batch.weights.clear();
  std::fill_n(batch.targets.begin(), kFirst.size(), kIgnoredTarget);
  const Differentiated second = Differentiate(*cpu.model, batch, 2.0f);
  for (size_t p = 0; p < second.gradients.size(); ++p) {
    ASSERT_EQ(weighted.gradients[p].size(), second.gradients[p].size());
    double difference = 0, size = 0;
    for (size_t i = 0; i < second.gradients[p].size(); ++i) {
      difference += std::pow(weighted.gradients[p][i] - second.gradients[p][i], 2.0);
      size += std::pow(second.gradients[p][i], 2.0);
    }
    EXPECT_LE(std::sqrt(difference), 3e-6 * std::sqrt(size) + 1e-6)
        << cpu.model->parameters()[p].name;
  }
}

TEST_P(DecoderTest, RecomputeChangesNoBit) {
  ModelOnDevice cpu = Make(TinyConfig(GetParam()));
  const Differentiated kept = Differentiate(*cpu.model, TwoRows(), 0.1f, Recompute::kNone);
  const Differentiated again = Differentiate(*cpu.model, TwoRows(), 0.1f, Recompute::kBlock);
  EXPECT_EQ(kept.nll, again.nll);
  EXPECT_EQ(kept.gradients, again.gradients);
}

TEST_P(DecoderTest, RecomputeNeedsLessMemory) {
  const ModelConfig config = TinyConfig(GetParam(), /*num_layers=*/8);
  int64_t bytes[2];
  for (const Recompute recompute : {Recompute::kNone, Recompute::kBlock}) {
    ModelOnDevice cpu = Make(config);
    const int64_t before = cpu.model->activations().allocated_bytes();
    Differentiate(*cpu.model, TwoRows(), 1.0f, recompute);
    bytes[static_cast<int>(recompute)] = cpu.model->activations().allocated_bytes() - before;
  }
  EXPECT_LT(bytes[1], bytes[0] / 2);
}

TEST_P(DecoderTest, PackedDocumentsAreAsIfAlone) {
  ModelOnDevice cpu = Make(TinyConfig(GetParam()));
  const Differentiated packed = Differentiate(*cpu.model, PackedRow({kFirst, kSecond}), 1.0f);
  const Differentiated first = Differentiate(*cpu.model, PackedRow({kFirst}), 1.0f);
  const Differentiated second = Differentiate(*cpu.model, PackedRow({kSecond}), 1.0f);
  for (size_t i = 0; i < packed.nll.size(); ++i) {
    const float alone = i < kFirst.size() ? first.nll[i] : second.nll[i - kFirst.size()];
    EXPECT_NEAR(packed.nll[i], alone, 1e-6f * std::max(1.0f, alone)) << i;
  }
  std::vector<float> logits = cpu.model->Inspect(PackedRow({kFirst}).view()).logits;
  const std::vector<float> of_second = cpu.model->Inspect(PackedRow({kSecond}).view()).logits;
  logits.insert(logits.end(), of_second.begin(), of_second.end());
  const std::vector<float> together =
      cpu.model->Inspect(PackedRow({kFirst, kSecond}).view()).logits;
  ASSERT_EQ(together.size(), logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    EXPECT_NEAR(together[i], logits[i], 1e-6f * std::max(1.0f, std::abs(logits[i]))) << i;
  }
  for (size_t p = 0; p < packed.gradients.size(); ++p) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < packed.gradients[p].size(); ++i) {
      const double sum =
          static_cast<double>(first.gradients[p][i]) + static_cast<double>(second.gradients[p][i]);
      difference += std::pow(packed.gradients[p][i] - sum, 2.0);
      size += sum * sum;
    }
    // Another order of sums in float32. The gradient of GPT-2's key bias is nothing but rounding.
    EXPECT_LE(std::sqrt(difference), 3e-6 * std::sqrt(size) + 1e-6)
        << cpu.model->parameters()[p].name;
  }
}

TEST_P(DecoderTest, BitsDoNotDependOnTheNumberOfThreads) {
  ModelConfig config = TinyConfig(GetParam());
  config.hidden_size = 96;
  config.head_dim = 24;
  config.intermediate_size = 200;
  for (LayerConfig& layer : config.layers) layer.head_dim = 24;
  ModelOnDevice cpu = Make(config);
  const int threads = omp_get_max_threads();
  std::vector<Differentiated> results;
  for (const int count : {1, 2, 3}) {
    omp_set_num_threads(count);
    results.push_back(Differentiate(*cpu.model, TwoRows(), 1.0f));
  }
  omp_set_num_threads(threads);
  for (const Differentiated& result : results) {
    EXPECT_EQ(result.nll, results[0].nll);
    EXPECT_EQ(result.gradients, results[0].gradients);
  }
}

TEST_P(DecoderTest, OnlyTheFirstPassAllocates) {
  ModelOnDevice cpu = Make(TinyConfig(GetParam()));
  const int64_t at_rest = cpu.model->activations().used_bytes();
  Differentiate(*cpu.model, TwoRows(), 1.0f);
  const int64_t used = cpu.model->activations().used_bytes();
  const int64_t allocated = cpu.model->activations().allocated_bytes();
  EXPECT_LE(used - at_rest, 1 << 20);  // tables of the positions
  for (int pass = 0; pass < 3; ++pass) Differentiate(*cpu.model, TwoRows(), 1.0f);
  EXPECT_EQ(cpu.model->activations().allocated_bytes(), allocated);
  EXPECT_EQ(cpu.model->activations().used_bytes(), used);
}

TEST_P(DecoderTest, EachParameterIsHandedOutOnce) {
  ModelOnDevice cpu = Make(TinyConfig(GetParam()));
  const OwnedBatch batch = TwoRows();
  std::vector<int> calls(cpu.model->parameters().size(), 0);
  std::vector<float> nll(batch.tokens.size());
  for (const Recompute recompute : {Recompute::kNone, Recompute::kBlock}) {
    cpu.model->ForwardBackward(
        batch.view(), 1.0f, recompute,
        [&](int index, ConstTensorView gradient) {
          ++calls[index];
          EXPECT_EQ(gradient.shape, cpu.model->parameters()[index].shape);
        },
        absl::MakeSpan(nll));
  }
  for (size_t p = 0; p < calls.size(); ++p) {
    EXPECT_EQ(calls[p], cpu.model->parameters()[p].trains ? 2 : 0);
  }
}

TEST_P(DecoderTest, LookUpsOfThePaddingTokenGiveItsRowNoGradient) {
  ModelConfig config = TinyConfig(GetParam());
  config.tie_word_embeddings = false;  // a tied head still gives it one
  ModelOnDevice plain = Make(config);
  config.pad_token_id = 9;
  ModelOnDevice padded = Make(config);
  const Differentiated with = Differentiate(*plain.model, TwoRows(), 1.0f);
  const Differentiated without = Differentiate(*padded.model, TwoRows(), 1.0f);
  EXPECT_EQ(with.nll, without.nll);
  for (size_t i = 0; i < with.gradients[0].size(); ++i) {
    const bool pad_row = i / 24 == 9;
    EXPECT_EQ(without.gradients[0][i], pad_row ? 0.0f : with.gradients[0][i]) << i;
    if (pad_row) {
      EXPECT_NE(with.gradients[0][i], 0.0f) << i;
    }
  }
  for (size_t p = 1; p < with.gradients.size(); ++p) {
    // Gemma 4's second table is looked up too.
    if (plain.model->parameters()[p].name.ends_with("embed_tokens_per_layer.weight")) continue;
    EXPECT_EQ(with.gradients[p], without.gradients[p]);
  }
}

TEST_P(DecoderTest, AWindowHidesWhatLiesBeforeIt) {
  if (GetParam().family == Family::kGpt2 || GetParam().family == Family::kLfm2) {
    GTEST_SKIP() << "the family has no windows";
  }
  ModelConfig config = TinyConfig(GetParam(), /*num_layers=*/1);
  config.windows = {3};
  ModelOnDevice cpu = Make(config);
  const auto losses = [&](int32_t changed) {
    std::vector<int32_t> tokens = kFirst;
    tokens[changed] = 30;
    return Differentiate(*cpu.model, PackedRow({tokens}), 1.0f).nll;
  };
  const std::vector<float> nll = Differentiate(*cpu.model, PackedRow({kFirst}), 1.0f).nll;
  for (size_t i = 4; i + 1 < kFirst.size(); ++i) {
    const auto t = static_cast<int32_t>(i);
    EXPECT_EQ(losses(t - 3)[i], nll[i]) << i;
    EXPECT_NE(losses(t - 2)[i], nll[i]) << i;
  }
}

TEST_P(DecoderTest, GeneratingTokenByTokenGivesTheLogitsOfTheWholeSequence) {
  ModelConfig config = TinyConfig(GetParam());
  if (GetParam().family == Family::kQwen2) config.windows = {0, 4, 3};
  ModelOnDevice cpu = Make(config);
  const std::vector<float> whole = cpu.model->Inspect(PackedRow({kFirst}).view()).logits;
  const auto expect_row = [&](const std::vector<float>& logits, size_t row) {
    ASSERT_EQ(logits.size(), 37u);
    for (size_t v = 0; v < 37; ++v) EXPECT_NEAR(logits[v], whole[row * 37 + v], 1e-5f) << row;
  };
  auto cache = cpu.model->CreateCache(static_cast<int64_t>(kFirst.size()));
  for (size_t i = 0; i < kFirst.size(); ++i) {
    expect_row(cpu.model->Extend(*cache, {&kFirst[i], 1}), i);
  }
  auto prompted = cpu.model->CreateCache(16);
  expect_row(cpu.model->Extend(*prompted, {kFirst.data(), 6}), 5);
  expect_row(cpu.model->Extend(*prompted, {kFirst.data() + 6, 3}), 8);
  EXPECT_EQ(prompted->length(), 9);
}

INSTANTIATE_TEST_SUITE_P(Families, DecoderTest, ::testing::ValuesIn(testing::AllForms()),
                         [](const auto& family) { return testing::NameOf(family.param); });

}  // namespace
}  // namespace liquid
