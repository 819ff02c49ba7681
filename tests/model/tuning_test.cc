// What of a model is trained: adapters, frozen parameters, noise.
#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/weights.h"
#include "tests/model/model_on_device.h"
#include "tests/model/spread_model.h"
#include "tests/model/tiny_config.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using testing::Differentiate;
using testing::Differentiated;
using testing::ModelOnDevice;
using testing::OwnedBatch;
using testing::PackedRow;
using testing::SpreadModel;
using testing::TinyConfig;

constexpr float kLossScale = 0.05f;

OwnedBatch Rows(bool with_keys) {
  OwnedBatch batch = PackedRow({{3, 5, 7, 11, 2, 9, 30}, {4, 8, 1, 36, 6, 12, 20, 21, 22}});
  AppendRow(batch, PackedRow({{9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 11, 12, 13}, {14, 15, 16}}));
  if (with_keys) batch.row_keys = {0x123456789ABCDEF0u, 42};
  return batch;
}

Tuning AdapterTuning(double dropout = 0) {
  Tuning tuning;
  tuning.adapter = {.rank = 3, .alpha = 6, .target_modules = {"all-linear"}, .dropout = dropout};
  return tuning;
}

// Random base weights and random adapters, B included.
void Randomize(Model& model) {
  InitializeWeights(7, model);
  InitializeAdapters(7, model);
  for (const Parameter& parameter : model.parameters()) {
    if (!parameter.is_adapter || !ModuleOfAdapterA(parameter.name).empty()) continue;
    for (int64_t i = 0; i < parameter.value.NumElements(); ++i) {
      parameter.value.f32()[i] = 0.1f * std::sin(static_cast<float>(37 * i + 5));
    }
  }
}

int IndexOf(const Model& model, const std::string& name) {
  for (size_t i = 0; i < model.parameters().size(); ++i) {
    if (model.parameters()[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

double Norm(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += double{value} * value;
  return std::sqrt(sum);
}

class AdapterTest : public ::testing::TestWithParam<testing::Form> {
 protected:
  ModelOnDevice Create(const Tuning& tuning) const {
    return ModelOnDevice::Create(config_, {}, DType::kF32, DeviceType::kCpu, tuning).value();
  }
  bool is_input_major() const { return GetParam().family == Family::kGpt2; }

  const ModelConfig config_ = TinyConfig(GetParam());
};

TEST_P(AdapterTest, BeginsAsTheModelWithout) {
  const ModelOnDevice plain = Create({});
  const ModelOnDevice adapted = Create(AdapterTuning());
  InitializeWeights(7, *plain.model);
  InitializeWeights(7, *adapted.model);
  InitializeAdapters(7, *adapted.model);
  const OwnedBatch batch = Rows(false);
  std::vector<float> expected(batch.tokens.size());
  std::vector<float> nll(batch.tokens.size());
  plain.model->Evaluate(batch.view(), absl::MakeSpan(expected));
  adapted.model->Evaluate(batch.view(), absl::MakeSpan(nll));
  EXPECT_EQ(nll, expected);
}

// y = (W + s B A) x: the same loss as of a model with such weights, and by the chain rule
// dA = s B^T dW, dB = s dW A^T.
TEST_P(AdapterTest, ComputesWhatMergedWeightsCompute) {
  const ModelOnDevice adapted = Create(AdapterTuning());
  const ModelOnDevice merged = Create({});
  Randomize(*adapted.model);
  InitializeWeights(7, *merged.model);
  const double scale = 6.0 / 3;
  struct Adapter {
    int a, b, weight;
  };
  std::vector<Adapter> adapters;
  const auto parameters = adapted.model->parameters();
  for (size_t p = 0; p < parameters.size(); ++p) {
    const std::string module = ModuleOfAdapterA(parameters[p].name);
    if (module.empty()) continue;
    adapters.push_back({static_cast<int>(p), IndexOf(*adapted.model, AdapterNameB(module)),
                        IndexOf(*merged.model, module + ".weight")});
    ASSERT_GE(adapters.back().b, 0);
    ASSERT_GE(adapters.back().weight, 0);
  }
  ASSERT_GE(adapters.size(), 12u);
  // Where the element (o, i) of a weight is.
  const auto place = [this](const Shape& shape, int64_t o, int64_t i) {
    return is_input_major() ? i * shape[1] + o : o * shape[1] + i;
  };
  for (const auto& [a, b, weight] : adapters) {
    const TensorView va = parameters[a].value;
    const TensorView vb = parameters[b].value;
    const TensorView w = merged.model->parameters()[weight].value;
    for (int64_t o = 0; o < vb.shape[0]; ++o) {
      for (int64_t i = 0; i < va.shape[1]; ++i) {
        double sum = 0;
        for (int64_t r = 0; r < va.shape[0]; ++r) {
          sum += double{vb.f32()[o * va.shape[0] + r]} * va.f32()[r * va.shape[1] + i];
        }
        w.f32()[place(w.shape, o, i)] += static_cast<float>(scale * sum);
      }
    }
  }
  const OwnedBatch batch = Rows(false);
  const Differentiated mine = Differentiate(*adapted.model, batch, kLossScale);
  const Differentiated whole = Differentiate(*merged.model, batch, kLossScale);
  for (size_t i = 0; i < mine.nll.size(); ++i) ASSERT_NEAR(mine.nll[i], whole.nll[i], 1e-4) << i;
  for (const auto& [a, b, weight] : adapters) {
    SCOPED_TRACE(parameters[a].name);
    const std::vector<float>& dw = whole.gradients[weight];
    const TensorView va = parameters[a].value;
    const TensorView vb = parameters[b].value;
    const Shape& shape = merged.model->parameters()[weight].shape;
    const int64_t rank = va.shape[0];
    const double of_a = 1e-4 * Norm(mine.gradients[a]) + 1e-6;
    for (int64_t r = 0; r < rank; ++r) {
      for (int64_t i = 0; i < va.shape[1]; ++i) {
        double expected = 0;
        for (int64_t o = 0; o < vb.shape[0]; ++o) {
          expected += scale * vb.f32()[o * rank + r] * dw[place(shape, o, i)];
        }
        ASSERT_NEAR(mine.gradients[a][r * va.shape[1] + i], expected, of_a);
      }
    }
    const double of_b = 1e-4 * Norm(mine.gradients[b]) + 1e-6;
    for (int64_t o = 0; o < vb.shape[0]; ++o) {
      for (int64_t r = 0; r < rank; ++r) {
        double expected = 0;
        for (int64_t i = 0; i < va.shape[1]; ++i) {
          expected += scale * va.f32()[r * va.shape[1] + i] * dw[place(shape, o, i)];
        }
        ASSERT_NEAR(mine.gradients[b][o * rank + r], expected, of_b);
      }
    }
  }
}

TEST_P(AdapterTest, OnlyAdaptersHaveGradientsAndAreSaved) {
  const ModelOnDevice adapted = Create(AdapterTuning());
  Randomize(*adapted.model);
  const Differentiated result = Differentiate(*adapted.model, Rows(true), kLossScale);
  for (size_t p = 0; p < adapted.model->parameters().size(); ++p) {
    const Parameter& parameter = adapted.model->parameters()[p];
    EXPECT_EQ(parameter.trains, parameter.is_adapter) << parameter.name;
    EXPECT_EQ(parameter.is_saved, parameter.is_adapter) << parameter.name;
    EXPECT_EQ(result.gradients[p].empty(), !parameter.is_adapter) << parameter.name;
    EXPECT_EQ(Norm(result.gradients[p]) > 0, parameter.is_adapter) << parameter.name;
  }
}

TEST_P(AdapterTest, AnyDegreeComesToTheGradientsOfOneRankWithDropoutToo) {
  for (const double dropout : {0.0, 0.3}) {
    const Tuning tuning = AdapterTuning(dropout);
    ModelOnDevice alone = Create(tuning);
    Randomize(*alone.model);
    const OwnedBatch batch = Rows(true);
    const Differentiated reference = Differentiate(*alone.model, batch, kLossScale);
    for (const int degree : {2, 4}) {
      for (const bool sequence : {false, true}) {
        SCOPED_TRACE(absl::StrCat("dropout ", dropout, " degree ", degree, " ", sequence));
        ModelOnDevice whole = Create(tuning);
        Randomize(*whole.model);
        SpreadModel spread(std::move(whole.model), degree, sequence, tuning);
        const Differentiated result = Differentiate(spread, batch, kLossScale);
        for (size_t i = 0; i < result.nll.size(); ++i) {
          ASSERT_NEAR(result.nll[i], reference.nll[i], 1e-4);
        }
        for (size_t p = 0; p < result.gradients.size(); ++p) {
          const double bound = 1e-4 * Norm(reference.gradients[p]) + 1e-6;
          for (size_t i = 0; i < result.gradients[p].size(); ++i) {
            ASSERT_NEAR(result.gradients[p][i], reference.gradients[p][i], bound)
                << alone.model->parameters()[p].name;
          }
        }
      }
    }
  }
}

TEST_P(AdapterTest, DropoutFollowsTheKeyOfTheRowAlone) {
  const ModelOnDevice adapted = Create(AdapterTuning(0.5));
  Randomize(*adapted.model);
  const OwnedBatch batch = Rows(true);
  const Differentiated first = Differentiate(*adapted.model, batch, kLossScale);
  const Differentiated again = Differentiate(*adapted.model, batch, kLossScale, Recompute::kBlock);
  EXPECT_EQ(first.nll, again.nll);
  EXPECT_EQ(first.gradients, again.gradients) << "computed again";
  OwnedBatch other = batch;
  other.row_keys[0] += 1;
  const Differentiated different = Differentiate(*adapted.model, other, kLossScale);
  const auto half = static_cast<int64_t>(first.nll.size() / 2);
  EXPECT_FALSE(std::equal(first.nll.begin(), first.nll.begin() + half, different.nll.begin()));
  EXPECT_TRUE(std::equal(first.nll.begin() + half, first.nll.end(), different.nll.begin() + half));
  // The second row in a slot of its own.
  OwnedBatch row = PackedRow({{9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 11, 12, 13}, {14, 15, 16}});
  row.row_keys = {batch.row_keys[1]};
  const Differentiated single = Differentiate(*adapted.model, row, kLossScale);
  for (int64_t i = 0; i < half; ++i) ASSERT_NEAR(single.nll[i], first.nll[half + i], 1e-5);
  // Without keys, as in evaluation, nothing is dropped.
  EXPECT_NE(Differentiate(*adapted.model, Rows(false), kLossScale).nll, first.nll);
}

INSTANTIATE_TEST_SUITE_P(Families, AdapterTest, ::testing::ValuesIn(testing::AllForms()),
                         [](const auto& it) { return testing::NameOf(it.param); });

TEST(TuningTest, TargetsAreEndsOfNamesOrPatterns) {
  const auto targets = [](const std::vector<std::string>& wanted) {
    Tuning tuning = AdapterTuning();
    tuning.adapter->target_modules = wanted;
    const auto it = ModelOnDevice::Create(TinyConfig(Family::kLlama), {}, DType::kF32,
                                          DeviceType::kCpu, tuning);
    return it.ok() ? it->model->adapter()->target_modules
                   : std::vector<std::string>{std::string(it.status().message())};
  };
  using List = std::vector<std::string>;
  EXPECT_EQ(targets({"q_proj", "v_proj"}), (List{"q_proj", "v_proj"}));
  EXPECT_EQ(targets({"self_attn.*"}), (List{"k_proj", "o_proj", "q_proj", "v_proj"}));
  EXPECT_EQ(targets({"layers.1.mlp.*"}),
            (List{"model.layers.1.mlp.down_proj", "model.layers.1.mlp.gate_proj",
                  "model.layers.1.mlp.up_proj"}));
  EXPECT_EQ(targets({"q_proj", "qproj"}),
            (List{"adapter.target_modules: 'qproj' is none of the model's linear layers; they end "
                  "in down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj"}));
  // Tables are no linear layers.
  EXPECT_EQ(targets({"lm_head"})[0].substr(0, 40), "adapter.target_modules: 'lm_head' is non");
}

TEST(TuningTest, RankStabilizedAdaptersScaleByTheRoot) {
  AdapterConfig config = {.rank = 16, .alpha = 8};
  EXPECT_EQ(config.scale(), 0.5);
  config.use_rslora = true;
  EXPECT_EQ(config.scale(), 2);
}

TEST(TuningTest, ARankAboveTheLayersOwnIsRefused) {
  const auto with_rank = [](int64_t rank) {
    Tuning tuning;
    tuning.adapter = AdapterConfig{.rank = rank, .alpha = 8, .target_modules = {"all-linear"}};
    return ModelOnDevice::Create(TinyConfig(Family::kLlama), {}, DType::kF32, DeviceType::kCpu,
                                 tuning)
        .status();
  };
  EXPECT_TRUE(with_rank(24).ok()) << with_rank(24);
  EXPECT_EQ(with_rank(25).message(),
            "adapter.rank: 25 is more than the 24 that any change of these layers can have");
}

TEST(TuningTest, FrozenParametersHaveNoGradientAndOthersTheSame) {
  for (const Family family : {Family::kLlama, Family::kGpt2, Family::kGemma4, Family::kLfm2}) {
    SCOPED_TRACE(testing::NameOf(family));
    const ModelConfig config = TinyConfig(family);
    const ModelOnDevice full = ModelOnDevice::Create(config).value();
    Tuning tuning;
    tuning.freeze = {"*norm*", "*.1.*"};
    if (family == Family::kGpt2) tuning.freeze = {"*ln_*", "*wte*"};
    if (family == Family::kLlama) tuning.freeze.push_back("lm_head.weight");
    const ModelOnDevice part =
        ModelOnDevice::Create(config, {}, DType::kF32, DeviceType::kCpu, tuning).value();
    InitializeWeights(7, *full.model);
    InitializeWeights(7, *part.model);
    const Differentiated expected = Differentiate(*full.model, Rows(false), kLossScale);
    const Differentiated result = Differentiate(*part.model, Rows(false), kLossScale);
    EXPECT_EQ(result.nll, expected.nll);
    int num_frozen = 0;
    for (size_t p = 0; p < result.gradients.size(); ++p) {
      const Parameter& parameter = part.model->parameters()[p];
      EXPECT_TRUE(parameter.is_saved);
      if (!parameter.trains) ++num_frozen;
      EXPECT_EQ(result.gradients[p],
                parameter.trains ? expected.gradients[p] : std::vector<float>())
          << parameter.name;
    }
    EXPECT_GT(num_frozen, 4);
    EXPECT_LT(part.model->layout().total(), full.model->layout().total());
  }
}

TEST(TuningTest, PatternsThatFitNothingOrEverythingAreRefused) {
  const auto freeze = [](const std::string& pattern) {
    Tuning tuning;
    tuning.freeze = {pattern};
    return ModelOnDevice::Create(TinyConfig(Family::kQwen3), {}, DType::kF32, DeviceType::kCpu,
                                 tuning)
        .status();
  };
  EXPECT_EQ(freeze("*embd*").message(),
            "training.freeze: '*embd*' fits none of the model's 35 parameters, such as "
            "model.embed_tokens.weight and model.norm.weight");
  EXPECT_EQ(freeze("*").message(),
            "training.freeze: its patterns fit every parameter, so that nothing is left to train");
}

TEST(TuningTest, NoiseIsInPassesWithKeysAlone) {
  Tuning tuning;
  tuning.neftune_alpha = 5;
  for (const Family family : {Family::kLlama, Family::kGpt2, Family::kGemma4, Family::kLfm2}) {
    SCOPED_TRACE(testing::NameOf(family));
    const ModelConfig config = TinyConfig(family);
    const ModelOnDevice plain = ModelOnDevice::Create(config).value();
    ModelOnDevice noisy =
        ModelOnDevice::Create(config, {}, DType::kF32, DeviceType::kCpu, tuning).value();
    InitializeWeights(7, *plain.model);
    InitializeWeights(7, *noisy.model);
    const Differentiated expected = Differentiate(*plain.model, Rows(false), kLossScale);
    EXPECT_EQ(Differentiate(*noisy.model, Rows(false), kLossScale).nll, expected.nll);
    const Differentiated once = Differentiate(*noisy.model, Rows(true), kLossScale);
    EXPECT_NE(once.nll, expected.nll);
    EXPECT_EQ(Differentiate(*noisy.model, Rows(true), kLossScale).gradients, once.gradients);
    SpreadModel spread(std::move(noisy.model), 2, true, tuning);
    const Differentiated split = Differentiate(spread, Rows(true), kLossScale);
    for (size_t i = 0; i < once.nll.size(); ++i) ASSERT_NEAR(split.nll[i], once.nll[i], 1e-4);
  }
}

}  // namespace
}  // namespace liquid
