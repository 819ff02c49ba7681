// A model that is spread over ranks computes what it computes on one.
#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <thread>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "kernels/cpu/team.h"
#include "model/key_value_cache.h"
#include "model/weights.h"
#include "parallel/thread/thread_communicator.h"
#include "tests/model/model_on_device.h"
#include "tests/model/tiny_config.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::AppendRow;
using ::liquid::testing::Differentiate;
using ::liquid::testing::Differentiated;
using ::liquid::testing::ModelOnDevice;
using ::liquid::testing::OwnedBatch;
using ::liquid::testing::PackedRow;
using ::liquid::testing::StatusIs;
using ::liquid::testing::TinyConfig;
using ::testing::HasSubstr;

const std::vector<int32_t> kFirst = {3, 14, 15, 9, 26, 5, 35, 8, 9, 7};
const std::vector<int32_t> kSecond = {9, 3, 2, 36, 4, 6};

OwnedBatch TwoRows() {
  OwnedBatch batch = PackedRow({kFirst, kSecond});
  AppendRow(batch, PackedRow({kSecond, kFirst}));
  return batch;
}

// Everything of it that a test compares.
struct Computed {
  Differentiated result;
  Model::Activations activations;
  std::vector<float> evaluated;  // losses
  std::vector<uint8_t> correct;  // of guesses: the likeliest tokens, and others
  std::vector<float> generated;  // logits of the last of five tokens, and of each that follows
};

std::vector<float> Generate(Model& model) {
  const auto cache = model.CreateCache(static_cast<int64_t>(kFirst.size()));
  std::vector<float> all = model.Extend(*cache, absl::MakeSpan(kFirst).first(5));
  for (size_t i = 5; i < kFirst.size(); ++i) {
    const std::vector<float> next = model.Extend(*cache, {&kFirst[i], 1});
    all.insert(all.end(), next.begin(), next.end());
  }
  return all;
}

Computed Compute(Model& model, Recompute recompute) {
  const OwnedBatch batch = TwoRows();
  Computed it;
  it.activations = model.Inspect(batch.view());
  it.result = Differentiate(model, batch, 0.5f, recompute);
  it.evaluated.resize(batch.tokens.size());
  model.Evaluate(batch.view(), absl::MakeSpan(it.evaluated));
  OwnedBatch guesses = batch;
  const int64_t vocabulary = model.config().vocab_size;
  for (size_t i = 0; i < guesses.targets.size(); i += 2) {
    const auto logits = it.activations.logits.begin() + static_cast<int64_t>(i) * vocabulary;
    guesses.targets[i] =
        static_cast<int32_t>(std::max_element(logits, logits + vocabulary) - logits);
  }
  std::vector<float> nll(batch.tokens.size());
  it.correct.resize(batch.tokens.size());
  model.Evaluate(guesses.view(), absl::MakeSpan(nll), absl::MakeSpan(it.correct));
  it.generated = Generate(model);
  return it;
}

// On `size` ranks that are threads. Gradients are put together from the ranks' parts; `on_rank`:
// what each rank saw.
Computed ComputeSpread(const ModelConfig& config, int size, bool sequence, Recompute recompute,
                       std::vector<Computed>* on_rank) {
  auto group = CreateThreadWorld(size, absl::Seconds(60));
  on_rank->resize(size);
  std::vector<ModelOnDevice> models(size);
  {
    std::vector<std::jthread> ranks;
    for (int rank = 0; rank < size; ++rank) {
      ranks.emplace_back([&, rank] {
        SizeTeam(/*ranks_on_machine=*/64);  // one thread: ranks are many here
        models[rank] = ModelOnDevice::Create(config, {group[rank].get(), sequence}).value();
        InitializeWeights(5, *models[rank].model);
        (*on_rank)[rank] = Compute(*models[rank].model, recompute);
      });
    }
  }
  Computed whole = (*on_rank)[0];
  for (size_t p = 0; p < whole.result.gradients.size(); ++p) {
    const Shape shape = models[0].model->parameters()[p].shape;
    whole.result.gradients[p].assign(shape.NumElements(), 0);
    for (int rank = 0; rank < size; ++rank) {
      const std::vector<float>& part = (*on_rank)[rank].result.gradients[p];
      if (part.empty()) continue;  // nothing to give
      ForEachRun(shape, models[rank].model->parameters()[p].part,
                 [&](int64_t to, int64_t from, int64_t count) {
                   for (int64_t i = 0; i < count; ++i) {
                     whole.result.gradients[p][to + i] += part[from + i];
                   }
                 });
    }
  }
  return whole;
}

// `expected`: empty for what is not trained.
void ExpectNear(const std::vector<float>& actual, const std::vector<float>& expected, double bound,
                const std::string& what) {
  if (expected.empty()) {
    EXPECT_EQ(actual, std::vector<float>(actual.size())) << what;
    return;
  }
  ASSERT_EQ(actual.size(), expected.size()) << what;
  double norm = 0;
  double difference = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    norm += std::pow(double{expected[i]}, 2);
    difference += std::pow(double{actual[i]} - double{expected[i]}, 2);
  }
  EXPECT_LE(std::sqrt(difference), bound * std::sqrt(norm) + 1e-9) << what;
}

using Spread = std::tuple<testing::Form, int, bool, Recompute>;
class TensorParallelTest : public ::testing::TestWithParam<Spread> {};

TEST_P(TensorParallelTest, ComputesWhatOneRankDoes) {
  const auto [form, size, sequence, recompute] = GetParam();
  const ModelConfig config = TinyConfig(form);
  ModelOnDevice alone = ModelOnDevice::Create(config).value();
  InitializeWeights(5, *alone.model);
  const Computed expected = Compute(*alone.model, recompute);
  std::vector<Computed> on_rank;
  const Computed actual = ComputeSpread(config, size, sequence, recompute, &on_rank);
  const double bound = form.family == Family::kGemma4 ? 1e-5 : 3e-6;  // it has twice as many norms
  ExpectNear(actual.result.nll, expected.result.nll, bound, "nll");
  ExpectNear(actual.activations.logits, expected.activations.logits, bound, "logits");
  ExpectNear(actual.generated, expected.generated, bound, "generated");
  for (size_t i = 0; i < expected.activations.hidden.size(); ++i) {
    ExpectNear(actual.activations.hidden[i], expected.activations.hidden[i], bound,
               "hidden " + std::to_string(i));
  }
  for (size_t p = 0; p < expected.result.gradients.size(); ++p) {
    ExpectNear(actual.result.gradients[p], expected.result.gradients[p], bound,
               alone.model->parameters()[p].name);
  }
  for (size_t i = 0; i < expected.correct.size(); i += 2) EXPECT_EQ(expected.correct[i], 1) << i;
  EXPECT_THAT(expected.correct, ::testing::Contains(0));
  for (const Computed& rank : on_rank) {
    EXPECT_EQ(rank.result.nll, on_rank[0].result.nll);
    EXPECT_EQ(rank.evaluated, rank.result.nll);
    EXPECT_EQ(rank.correct, expected.correct);
    EXPECT_EQ(rank.generated, on_rank[0].generated);
  }
}

TEST_P(TensorParallelTest, HasTheSameBitsEachTime) {
  const auto [form, size, sequence, recompute] = GetParam();
  std::vector<Computed> first;
  std::vector<Computed> second;
  ComputeSpread(TinyConfig(form), size, sequence, recompute, &first);
  ComputeSpread(TinyConfig(form), size, sequence, recompute, &second);
  for (int rank = 0; rank < size; ++rank) {
    EXPECT_EQ(first[rank].result.nll, second[rank].result.nll);
    EXPECT_EQ(first[rank].result.gradients, second[rank].result.gradients);
  }
}

std::string NameOfSpread(const ::testing::TestParamInfo<Spread>& instance) {
  const auto [form, size, sequence, recompute] = instance.param;
  return absl::StrCat(testing::NameOf(form), size, sequence ? "Sequence" : "Whole",
                      recompute == Recompute::kBlock ? "Recomputed" : "");
}

INSTANTIATE_TEST_SUITE_P(Families, TensorParallelTest,
                         ::testing::Combine(::testing::ValuesIn(testing::AllForms()),
                                            ::testing::Values(2, 4), ::testing::Bool(),
                                            ::testing::Values(Recompute::kNone, Recompute::kBlock)),
                         NameOfSpread);

TEST(PartitionTest, OnlyKeyAndValueHeadsAreShared) {
  const Partition heads = {Partition::Kind::kRows, "attention heads", 2};
  EXPECT_THAT(PartOf("w", {8, 4}, heads, 0, 4).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("2 / 4 leaves 2")));
  Partition kv_heads = heads;
  kv_heads.may_be_shared = true;
  for (int rank = 0; rank < 4; ++rank) {
    const auto part = PartOf("w", {8, 4}, kv_heads, rank, 4);
    ASSERT_TRUE(part.ok()) << part.status();
    EXPECT_EQ(part->ranges[0].begin, rank / 2 * 4);
    EXPECT_EQ(part->num_holders, 2);
    EXPECT_EQ(part->is_first_holder, rank % 2 == 0);
  }
}

TEST(PartitionTest, ADegreeThatHeadsCannotBeSpreadOverIsRefusedWithTheArithmetic) {
  auto group = CreateThreadWorld(3, absl::Seconds(60));
  const auto model = ModelOnDevice::Create(TinyConfig(Family::kLlama), {.group = group[0].get()});
  EXPECT_THAT(model.status(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("model.layers.0.self_attn.q_proj.weight: 4 attention heads cannot "
                                 "be spread over 3 tensor-parallel ranks: 4 / 3 leaves 1")));
}

}  // namespace
}  // namespace liquid
