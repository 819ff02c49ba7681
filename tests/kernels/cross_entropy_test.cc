#include <cmath>
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
              float scale, float cap = 0) {
    const auto rows = static_cast<int64_t>(targets.size());
    const int64_t width = static_cast<int64_t>(x.size()) / rows;
    const int64_t vocabulary = static_cast<int64_t>(weight.size()) / width;
    auto nll = Garbage({rows});
    auto dx = Garbage({rows, width});
    auto dweight = Upload(dweight_before, {vocabulary, width});
    ops_->LinearCrossEntropyWithGradient(
        nll.view(), dx.view(), dweight.view(), Upload(x, {rows, width}).view(),
        Upload(weight, {vocabulary, width}).view(), Ints(UploadInts(targets)), cap,
        Upload({scale}, {1}).view().f32(),
        /*part=*/nullptr);
    return {Download(nll), Download(dx), Download(dweight)};
  }

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

void CrossEntropyTest::ExpectPartsGiveWhatAllGives(float cap) {
  constexpr int64_t kRows = 300;
  constexpr int64_t kWidth = 6;
  constexpr int64_t kVocabulary = 91;
  const std::vector<float> x = Random(kRows * kWidth, 1, 2);
  const std::vector<float> weight = Random(kVocabulary * kWidth, 2);
  const std::vector<int32_t> targets = Targets(kRows, kVocabulary);
  const Outputs all = Run(x, weight, weight, targets, 0.5f, cap);
  const std::vector<int64_t> begins = {0, 40, 56, kVocabulary};
  const int num_parts = 3;
  // Each part's ends of rows, chunk after chunk. Parts run one after another, so twice: first to
  // learn these, then to use those of the others.
  std::vector<std::vector<std::vector<double>>> ends(num_parts);
  Doubles dx(x.size());
  std::vector<float> dweight;
  for (int run = 0; run < 2 * num_parts; ++run) {
    const int rank = run % num_parts;
    const int64_t begin = begins[rank];
    const int64_t count = begins[rank + 1] - begin;
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
    std::vector<int32_t> here = targets;
    for (int32_t& target : here) {
      if (target == kIgnoredTarget) continue;
      const bool is_here = target >= begin && target < begin + count;
      target = is_here ? target - static_cast<int32_t>(begin) : kElsewhere;
    }
    const std::vector<float> rows(weight.begin() + begin * kWidth,
                                  weight.begin() + (begin + count) * kWidth);
    auto nll = Garbage({kRows});
    auto part_dx = Garbage({kRows, kWidth});
    auto part_dweight = Upload(rows, {count, kWidth});
    ops_->LinearCrossEntropyWithGradient(
        nll.view(), part_dx.view(), part_dweight.view(), Upload(x, {kRows, kWidth}).view(),
        Upload(rows, {count, kWidth}).view(), Ints(UploadInts(here)), cap,
        Upload({0.5f}, {1}).view().f32(), &part);
    if (run < num_parts) continue;
    EXPECT_GT(chunk, 1u);
    ExpectClose(Download(nll), ToDoubles(all.nll), kForwardTolerance);
    const std::vector<float> share = Download(part_dx);
    for (size_t i = 0; i < dx.size(); ++i) dx[i] += double{share[i]};
    dweight = Concatenate({dweight, Download(part_dweight)});
  }
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
    ops_->LinearCrossEntropy(nll.view(), Upload(x, {300, 20}).view(),
                             Upload(weight, {700, 20}).view(), Ints(UploadInts(targets)), cap,
                             /*part=*/nullptr);
    EXPECT_EQ(Download(nll), both.nll);
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
