#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "tests/kernels/reference.h"
#include "tests/testing/devices.h"

namespace liquid {
namespace {

using testing::Concatenate;
using testing::Doubles;
using testing::ExpectClose;
using testing::NumericGradient;
using testing::Random;
using testing::ToDoubles;

constexpr double kForwardTolerance = 1e-6;   // float logits, sums in float64 or few lanes
constexpr double kGradientTolerance = 1e-5;  // and sums over the vocabulary in float

class CrossEntropyTest : public testing::OnEachDevice {
 protected:
  struct Outputs {
    std::vector<float> nll;
    std::vector<float> dx;
    std::vector<float> dweight;
  };

  Outputs Run(const std::vector<float>& x, const std::vector<float>& weight,
              const std::vector<float>& dweight_before, const std::vector<int32_t>& targets,
              float scale, float cap = 0, const std::vector<float>& token_weights = {}) {
    const auto rows = static_cast<int64_t>(targets.size());
    const int64_t width = static_cast<int64_t>(x.size()) / rows;
    const int64_t vocabulary = static_cast<int64_t>(weight.size()) / width;
    auto nll = Garbage({rows});
    auto dx = Garbage({rows, width});
    auto dweight = Upload(dweight_before, {vocabulary, width});
    const auto weights = Upload(token_weights, {static_cast<int64_t>(token_weights.size())});
    ops_->LinearCrossEntropyWithGradient(
        nll.view(), dx.view(), dweight.view(), Upload(x, {rows, width}).view(),
        Upload(weight, {vocabulary, width}).view(), Ints(UploadInts(targets)),
        token_weights.empty() ? nullptr : weights.view().f32(), cap,
        Upload({scale}, {1}).view().f32(), /*part=*/nullptr);
    return {Download(nll), Download(dx), Download(dweight)};
  }

  std::vector<int32_t> Correct(const std::vector<float>& x, const std::vector<float>& weight,
                               const std::vector<int32_t>& targets, float cap,
                               const VocabularyPart* part = nullptr) {
    const auto rows = static_cast<int64_t>(targets.size());
    const int64_t width = static_cast<int64_t>(x.size()) / rows;
    auto nll = Garbage({rows});
    auto correct = UploadInts(std::vector<int32_t>(targets.size(), -7));
    ops_->LinearCrossEntropy(
        nll.view(), static_cast<int32_t*>(correct.view().data), Upload(x, {rows, width}).view(),
        Upload(weight, {static_cast<int64_t>(weight.size()) / width, width}).view(),
        Ints(UploadInts(targets)), cap, part);
    return Download<int32_t>(correct);
  }

  // The part of the vocabulary that a rank has: rows [begin, end) of the weight.
  struct PartOfRank {
    int rank;
    int64_t begin;
    int64_t end;
    VocabularyPart part;
    bool has_others;  // what it is given of other ranks is theirs: results count
  };
  void ForEachPart(const std::vector<int64_t>& begins,
                   const std::function<void(const PartOfRank&)>& compute);
  void ExpectPartsGiveWhatAllGives(float cap);
};
INSTANTIATE_TEST_SUITE_P(, CrossEntropyTest, testing::AllDevices(), testing::DeviceName);

Doubles Reference(const Doubles& x, const Doubles& weight, const std::vector<int32_t>& targets,
                  double cap = 0) {
  const size_t width = x.size() / targets.size();
  Doubles nll(targets.size());
  for (size_t n = 0; n < targets.size(); ++n) {
    if (targets[n] == kIgnoredTarget) continue;
    double sum = 0;
    double at_target = 0;
    for (size_t v = 0; v < weight.size() / width; ++v) {
      double logit = 0;
      for (size_t d = 0; d < width; ++d) logit += x[n * width + d] * weight[v * width + d];
      if (cap > 0) logit = cap * std::tanh(logit / cap);
      sum += std::exp(logit);
      if (static_cast<int32_t>(v) == targets[n]) at_target = logit;
    }
    nll[n] = std::log(sum) - at_target;
  }
  return nll;
}

std::vector<int32_t> Targets(size_t rows, int32_t vocabulary) {
  std::vector<int32_t> targets(rows);
  for (size_t n = 0; n < rows; ++n) {
    targets[n] = n % 3 == 1 ? kIgnoredTarget : static_cast<int32_t>(n * 37) % vocabulary;
  }
  targets[0] = vocabulary - 1;
  return targets;
}

std::vector<float> TokenWeights(size_t rows) {
  std::vector<float> weights(rows);
  for (size_t n = 0; n < rows; ++n) weights[n] = 0.25f * static_cast<float>(n * 5 % 7);
  return weights;
}

TEST_P(CrossEntropyTest, MatchesTheDefinitionAndFiniteDifferences) {
  const size_t rows = 7;
  const int64_t width = 5;
  const int32_t vocabulary = 37;
  const std::vector<float> x = Random(rows * width, 1, 2);
  const std::vector<float> weight = Random(vocabulary * width, 2);
  const std::vector<int32_t> targets = Targets(rows, vocabulary);
  const Outputs actual = Run(x, weight, weight, targets, 0.25f);
  ExpectClose(actual.nll, Reference(ToDoubles(x), ToDoubles(weight), targets), kForwardTolerance);
  const Doubles ones(rows, 0.25);
  ExpectClose(
      actual.dx,
      NumericGradient([&](const Doubles& at) { return Reference(at, ToDoubles(weight), targets); },
                      ToDoubles(x), ones),
      kGradientTolerance);
  Doubles dweight =
      NumericGradient([&](const Doubles& at) { return Reference(ToDoubles(x), at, targets); },
                      ToDoubles(weight), ones);
  for (size_t i = 0; i < dweight.size(); ++i) dweight[i] += weight[i];  // it accumulates
  ExpectClose(actual.dweight, dweight, kGradientTolerance);
}

TEST_P(CrossEntropyTest, CappedLogitsMatchTheDefinitionAndFiniteDifferences) {
  for (const int32_t vocabulary : {1, 37, 40, 4511}) {
    for (const float cap : {0.5f, 3.0f, 30.0f}) {
      SCOPED_TRACE(::testing::Message() << "vocabulary " << vocabulary << ", cap " << cap);
      const size_t rows = vocabulary < 1000 ? 7 : 2;
      const int64_t width = vocabulary < 1000 ? 5 : 2;
      const std::vector<float> x = Random(rows * width, 1, 4);
      const std::vector<float> weight = Random(vocabulary * width, 2);
      const std::vector<int32_t> targets = Targets(rows, vocabulary);
      const Outputs actual = Run(x, weight, weight, targets, 0.25f, cap);
      const Doubles exact_x = ToDoubles(x);
      const Doubles exact_weight = ToDoubles(weight);
      const Doubles scales(rows, 0.25);
      ExpectClose(actual.nll, Reference(exact_x, exact_weight, targets, cap), kForwardTolerance);
      const auto of_x = [&](const Doubles& at) {
        return Reference(at, exact_weight, targets, cap);
      };
      ExpectClose(actual.dx, NumericGradient(of_x, exact_x, scales), kGradientTolerance);
      if (vocabulary > 1000) continue;
      const auto of_weight = [&](const Doubles& at) {
        return Reference(exact_x, at, targets, cap);
      };
      Doubles dweight = NumericGradient(of_weight, exact_weight, scales);
      for (size_t i = 0; i < dweight.size(); ++i) dweight[i] += weight[i];
      ExpectClose(actual.dweight, dweight, kGradientTolerance);
    }
  }
}

TEST_P(CrossEntropyTest, ManyChunksOfRowsAndBlocksOfVocabularyMatchTheDefinition) {
  const size_t rows = 601;
  const size_t width = 24;
  const size_t vocabulary = 2311;
  const std::vector<float> x = Random(rows * width, 1, 2);
  const std::vector<float> weight = Random(vocabulary * width, 2);
  const std::vector<int32_t> targets = Targets(rows, vocabulary);
  const Outputs actual = Run(x, weight, std::vector<float>(weight.size()), targets, 1.0f);
  const Doubles nll = Reference(ToDoubles(x), ToDoubles(weight), targets);
  ExpectClose(actual.nll, nll, kForwardTolerance);
  Doubles dx(x.size());
  Doubles dweight(weight.size());
  for (size_t n = 0; n < rows; ++n) {
    if (targets[n] == kIgnoredTarget) continue;
    Doubles logits(vocabulary);
    for (size_t v = 0; v < vocabulary; ++v) {
      for (size_t d = 0; d < width; ++d) {
        logits[v] += double{x[n * width + d]} * weight[v * width + d];
      }
    }
    const double lse = nll[n] + logits[targets[n]];
    for (size_t v = 0; v < vocabulary; ++v) {
      const double g = std::exp(logits[v] - lse) - (static_cast<int>(v) == targets[n] ? 1 : 0);
      for (size_t d = 0; d < width; ++d) {
        dx[n * width + d] += g * weight[v * width + d];
        dweight[v * width + d] += g * x[n * width + d];
      }
    }
  }
  ExpectClose(actual.dx, dx, kGradientTolerance);
  ExpectClose(actual.dweight, dweight, kGradientTolerance);
}

TEST_P(CrossEntropyTest, VocabulariesOfAnyLengthMatchFiniteDifferences) {
  for (const int32_t vocabulary : {1, 8, 4511, 4808}) {
    SCOPED_TRACE(::testing::Message() << "vocabulary " << vocabulary);
    const size_t rows = 5;
    const int64_t width = 2;
    const std::vector<float> x = Random(rows * width, 1, 2);
    const std::vector<float> weight = Random(vocabulary * width, 2);
    const std::vector<int32_t> targets = Targets(rows, vocabulary);
    const Outputs actual = Run(x, weight, std::vector<float>(weight.size()), targets, 1.0f);
    const auto nll = [&](const Doubles& at) { return Reference(at, ToDoubles(weight), targets); };
    ExpectClose(actual.nll, nll(ToDoubles(x)), kForwardTolerance);
    ExpectClose(actual.dx, NumericGradient(nll, ToDoubles(x), Doubles(rows, 1)),
                kGradientTolerance);
  }
}

// Ranks run one after another, so twice: first to learn each one's ends of rows, chunk after chunk,
// then to use those of the others.
void CrossEntropyTest::ForEachPart(const std::vector<int64_t>& begins,
                                   const std::function<void(const PartOfRank&)>& compute) {
  const int num_parts = static_cast<int>(begins.size()) - 1;
  std::vector<std::vector<std::vector<double>>> ends(num_parts);
  for (int run = 0; run < 2 * num_parts; ++run) {
    const int rank = run % num_parts;
    size_t chunk = 0;
    const VocabularyPart part = {
        .num_parts = num_parts,
        .largest_part = int64_t{1} << 20,  // as if another rank's were: chunks are short
        .all_gather = [&](TensorView gathered, ConstTensorView mine) {
          std::vector<double> host(static_cast<size_t>(mine.NumElements()));
          stream_->CopyToHost(host.data(), mine.data, mine.NumBytes());
          ASSERT_TRUE(stream_->Synchronize().ok());
          if (run < num_parts) ends[rank].push_back(host);
          std::vector<double> parts;
          for (int p = 0; p < num_parts; ++p) {
            const std::vector<double>& of_part = run < num_parts ? host : ends[p][chunk];
            parts.insert(parts.end(), of_part.begin(), of_part.end());
          }
          ++chunk;
          stream_->CopyFromHost(gathered.data, parts.data(), gathered.NumBytes());
          ASSERT_TRUE(stream_->Synchronize().ok());
        }};
    compute({rank, begins[rank], begins[rank + 1], part, run >= num_parts});
    EXPECT_GT(chunk, 1u);
  }
}

// Targets as rows of a rank's part of the vocabulary.
std::vector<int32_t> TargetsOfPart(std::vector<int32_t> targets, int64_t begin, int64_t end) {
  for (int32_t& target : targets) {
    if (target == kIgnoredTarget) continue;
    const bool is_here = target >= begin && target < end;
    target = is_here ? target - static_cast<int32_t>(begin) : kElsewhere;
  }
  return targets;
}

void CrossEntropyTest::ExpectPartsGiveWhatAllGives(float cap) {
  constexpr int64_t kRows = 300;
  constexpr int64_t kWidth = 6;
  constexpr int64_t kVocabulary = 91;
  const std::vector<float> x = Random(kRows * kWidth, 1, 2);
  const std::vector<float> weight = Random(kVocabulary * kWidth, 2);
  const std::vector<int32_t> targets = Targets(kRows, kVocabulary);
  const std::vector<float> token_weights = TokenWeights(kRows);
  const Outputs all = Run(x, weight, weight, targets, 0.5f, cap, token_weights);
  Doubles dx(x.size());
  std::vector<float> dweight;
  ForEachPart({0, 40, 56, kVocabulary}, [&](const PartOfRank& mine) {
    const int64_t count = mine.end - mine.begin;
    const std::vector<float> rows(weight.begin() + mine.begin * kWidth,
                                  weight.begin() + mine.end * kWidth);
    auto nll = Garbage({kRows});
    auto part_dx = Garbage({kRows, kWidth});
    auto part_dweight = Upload(rows, {count, kWidth});
    ops_->LinearCrossEntropyWithGradient(
        nll.view(), part_dx.view(), part_dweight.view(), Upload(x, {kRows, kWidth}).view(),
        Upload(rows, {count, kWidth}).view(),
        Ints(UploadInts(TargetsOfPart(targets, mine.begin, mine.end))),
        Upload(token_weights, {kRows}).view().f32(), cap, Upload({0.5f}, {1}).view().f32(),
        &mine.part);
    if (!mine.has_others) return;
    ExpectClose(Download(nll), ToDoubles(all.nll), kForwardTolerance);
    const std::vector<float> share = Download(part_dx);
    for (size_t i = 0; i < dx.size(); ++i) dx[i] += double{share[i]};
    dweight = Concatenate({dweight, Download(part_dweight)});
  });
  ExpectClose(all.dx, dx, kGradientTolerance);
  ExpectClose(dweight, ToDoubles(all.dweight), kGradientTolerance);
}

TEST_P(CrossEntropyTest, PartsOfTheVocabularyGiveWhatAllOfItGives) {
  ExpectPartsGiveWhatAllGives(/*cap=*/0);
}
TEST_P(CrossEntropyTest, PartsOfACappedVocabularyGiveWhatAllOfItGives) {
  ExpectPartsGiveWhatAllGives(/*cap=*/1.5f);
}

TEST_P(CrossEntropyTest, TheLossAloneIsTheSame) {
  const std::vector<float> x = Random(300 * 20, 1, 2);
  const std::vector<float> weight = Random(700 * 20, 2);
  const std::vector<int32_t> targets = Targets(300, 700);
  for (const float cap : {0.0f, 3.0f}) {
    const Outputs both = Run(x, weight, std::vector<float>(weight.size()), targets, 1.0f, cap);
    auto nll = Garbage({300});
    ops_->LinearCrossEntropy(nll.view(), nullptr, Upload(x, {300, 20}).view(),
                             Upload(weight, {700, 20}).view(), Ints(UploadInts(targets)), cap,
                             /*part=*/nullptr);
    EXPECT_EQ(Download(nll), both.nll);
  }
}

TEST_P(CrossEntropyTest, WeightsOfTokensScaleTheirGradientsAndNotTheirLosses) {
  for (const float cap : {0.0f, 3.0f}) {
    SCOPED_TRACE(cap);
    const size_t rows = 11;
    const std::vector<float> x = Random(rows * 5, 1, 2);
    const std::vector<float> weight = Random(37 * 5, 2);
    const std::vector<int32_t> targets = Targets(rows, 37);
    const std::vector<float> token_weights = TokenWeights(rows);
    const Outputs actual = Run(x, weight, weight, targets, 0.25f, cap, token_weights);
    EXPECT_EQ(actual.nll, Run(x, weight, weight, targets, 0.25f, cap).nll);
    Doubles scales = ToDoubles(token_weights);
    for (double& scale : scales) scale *= 0.25;
    const auto of_x = [&](const Doubles& at) {
      return Reference(at, ToDoubles(weight), targets, cap);
    };
    ExpectClose(actual.dx, NumericGradient(of_x, ToDoubles(x), scales), kGradientTolerance);
    const auto of_weight = [&](const Doubles& at) {
      return Reference(ToDoubles(x), at, targets, cap);
    };
    Doubles dweight = NumericGradient(of_weight, ToDoubles(weight), scales);
    for (size_t i = 0; i < dweight.size(); ++i) dweight[i] += weight[i];
    ExpectClose(actual.dweight, dweight, kGradientTolerance);
  }
}

TEST_P(CrossEntropyTest, WeightsOfOneChangeNoBit) {
  const std::vector<float> x = Random(300 * 20, 1, 2);
  const std::vector<float> weight = Random(700 * 20, 2);
  const std::vector<int32_t> targets = Targets(300, 700);
  for (const float cap : {0.0f, 3.0f}) {
    const Outputs plain = Run(x, weight, weight, targets, 0.3f, cap);
    const Outputs ones =
        Run(x, weight, weight, targets, 0.3f, cap, std::vector<float>(targets.size(), 1.0f));
    EXPECT_EQ(ones.nll, plain.nll);
    EXPECT_EQ(ones.dx, plain.dx);
    EXPECT_EQ(ones.dweight, plain.dweight);
  }
}

// Small whole numbers: their products have many equal logits, each exact in float.
std::vector<float> WholeNumbers(int64_t count, uint32_t seed) {
  std::vector<float> values = Random(count, seed, 2.49f);
  for (float& value : values) value = std::round(value);
  return values;
}

// The columns with the largest logit of row n.
std::vector<int32_t> LargestColumns(const std::vector<float>& x, const std::vector<float>& weight,
                                    size_t width, size_t n) {
  std::vector<int32_t> columns;
  double largest = -HUGE_VAL;
  for (size_t v = 0; v < weight.size() / width; ++v) {
    double logit = 0;
    for (size_t d = 0; d < width; ++d) logit += double{x[n * width + d]} * weight[v * width + d];
    if (logit > largest) columns.clear();
    largest = std::max(largest, logit);
    if (logit == largest) columns.push_back(static_cast<int32_t>(v));
  }
  return columns;
}

// Targets of all sorts: the first column with the largest logit, others with an equal one, any.
struct Guesses {
  std::vector<int32_t> targets;
  std::vector<int32_t> correct;
  int num_ties = 0;
};
Guesses GuessesFor(const std::vector<float>& x, const std::vector<float>& weight, size_t width) {
  Guesses guesses;
  const size_t vocabulary = weight.size() / width;
  for (size_t n = 0; n < x.size() / width; ++n) {
    const std::vector<int32_t> best = LargestColumns(x, weight, width, n);
    int32_t target = best.front();
    if (n % 4 == 1) target = best.back();
    if (n % 4 == 2) target = static_cast<int32_t>(n * 37 % vocabulary);
    if (n % 8 == 3) target = kIgnoredTarget;
    guesses.targets.push_back(target);
    guesses.correct.push_back(target == best.front() ? 1 : 0);
    if (n % 4 == 1 && best.size() > 1) ++guesses.num_ties;
  }
  return guesses;
}

TEST_P(CrossEntropyTest, CorrectIsTheFirstOfTheLargestLogits) {
  for (const size_t vocabulary : {1, 8, 37, 1500, 4808}) {
    for (const float cap : {0.0f, 30.0f}) {
      SCOPED_TRACE(::testing::Message() << "vocabulary " << vocabulary << ", cap " << cap);
      const std::vector<float> x = WholeNumbers(400 * 3, 1);
      const std::vector<float> weight = WholeNumbers(static_cast<int64_t>(vocabulary) * 3, 2);
      const Guesses guesses = GuessesFor(x, weight, 3);
      EXPECT_EQ(Correct(x, weight, guesses.targets, cap), guesses.correct);
      if (vocabulary < 37) continue;
      EXPECT_GT(guesses.num_ties, 20);
    }
  }
}

TEST_P(CrossEntropyTest, PartsOfTheVocabularyAgreeOnWhatIsCorrect) {
  constexpr int64_t kVocabulary = 91;
  const std::vector<float> x = WholeNumbers(400 * 3, 1);
  const std::vector<float> weight = WholeNumbers(kVocabulary * 3, 2);
  const Guesses guesses = GuessesFor(x, weight, 3);
  EXPECT_GT(guesses.num_ties, 20);
  for (const float cap : {0.0f, 30.0f}) {
    ForEachPart({0, 40, 56, kVocabulary}, [&](const PartOfRank& mine) {
      const std::vector<float> rows(weight.begin() + mine.begin * 3, weight.begin() + mine.end * 3);
      const std::vector<int32_t> correct =
          Correct(x, rows, TargetsOfPart(guesses.targets, mine.begin, mine.end), cap, &mine.part);
      if (!mine.has_others) return;
      EXPECT_EQ(correct, guesses.correct) << mine.rank << " " << cap;
    });
  }
}

TEST_P(CrossEntropyTest, IgnoredRowsGiveExactZerosAndChangeNothing) {
  const std::vector<float> x = Random(40 * 8, 1);
  const std::vector<float> weight = Random(50 * 8, 2);
  const Outputs none = Run(x, weight, weight, std::vector<int32_t>(40, kIgnoredTarget), 1.0f);
  EXPECT_EQ(none.nll, std::vector<float>(40));
  EXPECT_EQ(none.dx, std::vector<float>(x.size()));
  EXPECT_EQ(none.dweight, weight);
  const std::vector<int32_t> targets = Targets(40, 50);
  const Outputs some = Run(x, weight, weight, targets, 1.0f);
  for (size_t n = 0; n < 40; ++n) {
    if (targets[n] != kIgnoredTarget) continue;
    EXPECT_EQ(some.nll[n], 0);
    for (size_t d = 0; d < 8; ++d) EXPECT_EQ(some.dx[n * 8 + d], 0);
  }
}

TEST_P(CrossEntropyTest, ExtremeLogitsStayFinite) {
  std::vector<float> x(4 * 2, 0);
  const std::vector<float> weight = {1, 0, -1, 0, 0, 1};
  x[0] = 500;
  x[2] = -500;
  const Outputs actual = Run(x, weight, std::vector<float>(6), {0, 0, 1, 2}, 1.0f);
  EXPECT_NEAR(actual.nll[0], 0, 1e-6);
  EXPECT_NEAR(actual.nll[1], 1000, 1e-3);
  EXPECT_NEAR(actual.nll[2], std::log(3.0), 1e-6);
  for (const float value : Concatenate({actual.dx, actual.dweight})) {
    EXPECT_TRUE(std::isfinite(value));
  }
}

TEST_P(CrossEntropyTest, NoLogitIsBeyondTheCapAndNoGradientComesFromThere) {
  const std::vector<float> x = {500, 0, 500, 0, -500, 0};
  const std::vector<float> weight = {1, 0, -1, 0, 0, 1};
  const Outputs actual = Run(x, weight, std::vector<float>(6), {0, 1, 2}, 1.0f, /*cap=*/3);
  const double sum = std::exp(3.0) + std::exp(-3.0) + 1;
  EXPECT_NEAR(actual.nll[0], std::log(sum) - 3, 1e-6);
  EXPECT_NEAR(actual.nll[1], std::log(sum) + 3, 1e-5);
  EXPECT_NEAR(actual.nll[2], std::log(sum), 1e-5);
  for (size_t n = 0; n < 3; ++n) EXPECT_EQ(actual.dx[2 * n], 0);  // by the rows beyond the cap
}

TEST_P(CrossEntropyTest, GivesTheSameBitsOnAnyNumberOfThreads) {
  const std::vector<float> x = Random(300 * 40, 1, 2);
  const std::vector<float> weight = Random(3001 * 40, 2);
  const std::vector<int32_t> targets = Targets(300, 3001);
  testing::ExpectSameBitsOnAnyNumberOfThreads([&] {
    const Outputs o = Run(x, weight, weight, targets, 0.5f);
    return Concatenate({o.nll, o.dx, o.dweight});
  });
}

}  // namespace
}  // namespace liquid
