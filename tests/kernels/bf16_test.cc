// Every operation on kBF16: what it writes is, up to one rounding to bfloat16, what the same
// operation on kF32, which the other tests compare with float64, makes of the same values.
#include <cmath>
#include <utility>
#include <vector>

#include "tensor/dtype.h"
#include "tests/kernels/reference.h"
#include "tests/testing/devices.h"

namespace liquid {
namespace {

using testing::Random;

std::vector<BFloat16> Rounded(const std::vector<float>& values) {
  std::vector<BFloat16> rounded;
  for (const float value : values) rounded.push_back(ToBFloat16(value));
  return rounded;
}

// Half a unit in the last place of bfloat16, and what sums in another order leave.
void ExpectOneRounding(const std::vector<float>& actual, const std::vector<float>& expected,
                       double noise = 1e-5) {
  ASSERT_EQ(actual.size(), expected.size());
  double largest = 1e-6;
  for (const float value : expected) largest = std::max(largest, std::abs(double{value}));
  for (size_t i = 0; i < actual.size(); ++i) {
    const double error = std::abs(double{actual[i]} - double{expected[i]});
    ASSERT_TRUE(error <= std::abs(double{expected[i]}) * 0x1p-8 + noise * largest)
        << "element " << i << ": " << actual[i] << " but expected " << expected[i];
  }
}

class BFloat16Test : public testing::OnEachDevice {
 protected:
  // Random values that are bfloat16s, and the same as floats.
  struct Pair {
    PooledTensor narrow;
    PooledTensor wide;
  };
  Pair Values(const Shape& shape, uint32_t seed, float scale = 1.0f) {
    const std::vector<BFloat16> rounded = Rounded(Random(shape.NumElements(), seed, scale));
    std::vector<float> widened;
    for (const BFloat16 value : rounded) widened.push_back(ToFloat(value));
    return {UploadAs(rounded, DType::kBF16, shape), Upload(widened, shape)};
  }
  Pair Outputs(const Shape& shape) {
    const auto count = static_cast<size_t>(shape.NumElements());
    return {UploadAs(std::vector<uint16_t>(count, 0x7FC0), DType::kBF16, shape), Garbage(shape)};
  }
  std::vector<float> Widened(const PooledTensor& tensor) {
    std::vector<float> values;
    for (const BFloat16 value : Download<BFloat16>(tensor)) values.push_back(ToFloat(value));
    return values;
  }
  void ExpectOneRoundingOf(const Pair& pair, double noise = 1e-5) {
    ExpectOneRounding(Widened(pair.narrow), Download(pair.wide), noise);
  }
};
INSTANTIATE_TEST_SUITE_P(, BFloat16Test, testing::AllDevices(), testing::DeviceName);

constexpr int64_t kRows = 201;  // several chunks and tails
constexpr int64_t kWidth = 77;
const Shape kMatrix = {kRows, kWidth};

TEST_P(BFloat16Test, ProductsOfEveryTranspositionMatchFloat64AfterOneRounding) {
  struct Product {
    int64_t m, n, k;
  };
  for (const Product p :
       {Product{1, 1, 1}, {5, 7, 3}, {33, 65, 17}, {257, 3, 129}, {270, 390, 31}, {9, 11, 5000}}) {
    for (int bits = 0; bits < 16; ++bits) {
      const MatMulOptions options = {.transpose_a = (bits & 1) != 0,
                                     .transpose_b = (bits & 2) != 0,
                                     .accumulate = (bits & 4) != 0};
      const bool is_float = (bits & 8) != 0;  // the result
      SCOPED_TRACE(::testing::Message() << p.m << "x" << p.n << "x" << p.k << " bits " << bits);
      const Pair a = Values(options.transpose_a ? Shape{p.k, p.m} : Shape{p.m, p.k}, 1);
      const Pair b = Values(options.transpose_b ? Shape{p.n, p.k} : Shape{p.k, p.n}, 2);
      Pair out = options.accumulate ? Values({p.m, p.n}, 3) : Outputs({p.m, p.n});
      const std::vector<float> before = Download(out.wide);
      const PooledTensor& to = is_float ? out.wide : out.narrow;
      ops_->MatMul(to.view(), a.narrow.view(), b.narrow.view(), options);
      const std::vector<float> left = Download(a.wide);
      const std::vector<float> right = Download(b.wide);
      testing::Doubles sums(before.size());
      for (int64_t i = 0; i < p.m; ++i) {
        for (int64_t j = 0; j < p.n; ++j) {
          double sum = options.accumulate ? double{before[i * p.n + j]} : 0;
          for (int64_t l = 0; l < p.k; ++l) {
            sum += double{left[options.transpose_a ? l * p.m + i : i * p.k + l]} *
                   right[options.transpose_b ? j * p.k + l : l * p.n + j];
          }
          sums[i * p.n + j] = sum;
        }
      }
      if (is_float) {
        // Tensor cores cut off what is small beside the largest addend: 1.0e-5 was seen on an H100.
        const bool is_cuda = GetParam().type == DeviceType::kCuda;
        testing::ExpectClose(Download(to), sums, is_cuda ? 5e-5 : 3e-6);
      } else {
        ExpectOneRounding(Widened(to), std::vector<float>(sums.begin(), sums.end()));
      }
    }
  }
}

TEST_P(BFloat16Test, ProductsHaveTheSameBitsOnAnyNumberOfThreads) {
  for (int bits = 0; bits < 4; ++bits) {
    const MatMulOptions options = {.transpose_a = (bits & 1) != 0, .transpose_b = (bits & 2) != 0};
    const Pair a = Values(options.transpose_a ? Shape{576, 300} : Shape{300, 576}, 1);
    const Pair b = Values(options.transpose_b ? Shape{500, 576} : Shape{576, 500}, 2);
    testing::ExpectSameBitsOnAnyNumberOfThreads([&] {
      const Pair out = Outputs({300, 500});
      ops_->MatMul(out.narrow.view(), a.narrow.view(), b.narrow.view(), options);
      ops_->MatMul(out.wide.view(), a.narrow.view(), b.narrow.view(), options);
      return testing::Concatenate({Widened(out.narrow), Download(out.wide)});
    });
  }
}

TEST_P(BFloat16Test, RoundsToNearestEvenAndKeepsNaN) {
  // Halves between two bfloat16s, to the even one; the largest float, to infinity.
  const std::vector<float> values = {1.00390625f, 1.01171875f, -1.00390625f, 3.4e38f, 0x1p-130f,
                                     0.0f,        -0.0f,       1.5f,         1e30f};
  std::vector<float> many;
  for (int i = 0; i < 7; ++i) many.insert(many.end(), values.begin(), values.end());
  many.push_back(__builtin_nanf(""));
  const auto count = static_cast<int64_t>(many.size());
  auto narrow = pool_->Allocate(DType::kBF16, {count});
  ops_->Copy(narrow.view(), Upload(many, {count}).view());
  const auto rounded = Download<BFloat16>(narrow);
  for (size_t i = 0; i + 1 < many.size(); ++i) {
    ASSERT_EQ(rounded[i].bits, ToBFloat16(many[i]).bits) << many[i];
  }
  EXPECT_TRUE(std::isnan(ToFloat(rounded.back())));
}

TEST_P(BFloat16Test, ElementwiseOperationsRoundOnce) {
  const Pair a = Values(kMatrix, 1);
  const Pair b = Values(kMatrix, 2);
  const Pair bias = Values({kWidth}, 3);
  const Pair out = Outputs(kMatrix);
  ops_->Add(out.narrow.view(), a.narrow.view(), b.narrow.view());
  ops_->Add(out.wide.view(), a.wide.view(), b.wide.view());
  ExpectOneRoundingOf(out, 0);
  ops_->Scale(out.narrow.view(), a.narrow.view(), 1.7f);
  ops_->Scale(out.wide.view(), a.wide.view(), 1.7f);
  ExpectOneRoundingOf(out, 0);
  ops_->AddBias(a.narrow.view(), bias.narrow.view());
  ops_->AddBias(a.wide.view(), bias.wide.view());
  ExpectOneRoundingOf(a, 0);
  ops_->Fill(out.narrow.view(), 0.7f);
  EXPECT_EQ(Widened(out.narrow), std::vector<float>(kRows * kWidth, ToFloat(ToBFloat16(0.7f))));
}

TEST_P(BFloat16Test, BiasGradientsAreFloats) {
  const Pair dout = Values(kMatrix, 1);
  const auto narrow = Upload(std::vector<float>(kWidth, 1.0f), {kWidth});
  const auto wide = Upload(std::vector<float>(kWidth, 1.0f), {kWidth});
  ops_->AddBiasBackward(narrow.view(), dout.narrow.view());
  ops_->AddBiasBackward(wide.view(), dout.wide.view());
  EXPECT_EQ(Download(narrow), Download(wide));  // the same sums
}

TEST_P(BFloat16Test, EmbeddingCopiesAndItsGradientIsFloatOrRounded) {
  for (const int64_t width : {77, 264}) {
    SCOPED_TRACE(::testing::Message() << "width " << width);
    const Pair table = Values({9, width}, 1);
    const Pair dout = Values({4, width}, 2);
    const auto ids = UploadInts({3, 0, kElsewhere, 3});
    const Pair out = Outputs({4, width});
    ops_->Embedding(out.narrow.view(), Ints(ids), table.narrow.view());
    ops_->Embedding(out.wide.view(), Ints(ids), table.wide.view());
    ExpectOneRoundingOf(out, 0);
    const auto narrow = Upload(std::vector<float>(9 * width, 1.0f), {9, width});
    const auto wide = Upload(std::vector<float>(9 * width, 1.0f), {9, width});
    ops_->EmbeddingBackward(narrow.view(), Ints(ids), dout.narrow.view());
    ops_->EmbeddingBackward(wide.view(), Ints(ids), dout.wide.view());
    EXPECT_EQ(Download(narrow), Download(wide));
    ops_->EmbeddingBackward(table.narrow.view(), Ints(ids), dout.narrow.view());
    ops_->EmbeddingBackward(table.wide.view(), Ints(ids), dout.wide.view());
    ExpectOneRoundingOf(table, 0x1p-8);  // a row was added to twice
  }
}

TEST_P(BFloat16Test, NormsRoundOnceAndTheirStatisticsAreFloats) {
  for (const int64_t width : {77, 128, 264, 2056}) {
    SCOPED_TRACE(::testing::Message() << "width " << width);
    const int64_t rows = width > 1024 ? 9 : kRows;
    const Shape matrix = {rows, width};
    const Pair x = Values(matrix, 1, 3);
    const Pair weight = Values({width}, 2);
    const Pair bias = Values({width}, 3);
    const Pair dout = Values(matrix, 4);
    const Pair out = Outputs(matrix);
    const Pair dx = Outputs(matrix);
    const auto run = [&](PooledTensor Pair::*type) {
      const auto mean = Garbage({rows});
      const auto rstd = Garbage({rows});
      const auto dweight = Upload(std::vector<float>(width), {width});
      const auto dbias = Upload(std::vector<float>(width), {width});
      ops_->LayerNorm((out.*type).view(), mean.view(), rstd.view(), (x.*type).view(),
                      (weight.*type).view(), (bias.*type).view(), 1e-5f);
      ops_->LayerNormBackward((dx.*type).view(), dweight.view(), dbias.view(), (dout.*type).view(),
                              (x.*type).view(), (weight.*type).view(), mean.view(), rstd.view());
      return testing::Concatenate(
          {Download(mean), Download(rstd), Download(dweight), Download(dbias)});
    };
    EXPECT_EQ(run(&Pair::narrow), run(&Pair::wide));
    ExpectOneRoundingOf(out);
    ExpectOneRoundingOf(dx);
    const auto run_rms = [&](PooledTensor Pair::*type) {
      const auto rstd = Garbage({rows});
      const auto dweight = Upload(std::vector<float>(width), {width});
      ops_->RmsNorm((out.*type).view(), rstd.view(), (x.*type).view(), (weight.*type).view(), 1e-5f,
                    1.0f);
      ops_->RmsNormBackward((dx.*type).view(), dweight.view(), (dout.*type).view(),
                            (x.*type).view(), (weight.*type).view(), rstd.view(), 1.0f);
      return testing::Concatenate({Download(rstd), Download(dweight)});
    };
    EXPECT_EQ(run_rms(&Pair::narrow), run_rms(&Pair::wide));
    ExpectOneRoundingOf(out);
    ExpectOneRoundingOf(dx);
  }
}

TEST_P(BFloat16Test, RotaryRoundsOnce) {
  const Pair x = Values({kRows, 3, 32}, 1);
  const Pair out = Outputs({kRows, 3, 32});
  const auto cos = Upload(Random(50 * 16, 2), {50, 16});
  const auto sin = Upload(Random(50 * 16, 3), {50, 16});
  std::vector<int32_t> positions;
  for (int32_t n = 0; n < kRows; ++n) positions.push_back(n * 7 % 50);
  const auto ids = UploadInts(positions);
  ops_->Rotary(out.narrow.view(), x.narrow.view(), cos.view(), sin.view(), Ints(ids), true);
  ops_->Rotary(out.wide.view(), x.wide.view(), cos.view(), sin.view(), Ints(ids), true);
  ExpectOneRoundingOf(out);
}

TEST_P(BFloat16Test, ActivationsRoundOnce) {
  for (const Activation activation : {Activation::kSilu, Activation::kGeluTanh}) {
    const Pair x = Values(kMatrix, 1, 5);
    const Pair up = Values(kMatrix, 2);
    const Pair dout = Values(kMatrix, 3);
    const Pair out = Outputs(kMatrix);
    const Pair dup = Outputs(kMatrix);
    ops_->Activate(out.narrow.view(), x.narrow.view(), activation);
    ops_->Activate(out.wide.view(), x.wide.view(), activation);
    ExpectOneRoundingOf(out, 0);
    ops_->ActivateBackward(out.narrow.view(), dout.narrow.view(), x.narrow.view(), activation);
    ops_->ActivateBackward(out.wide.view(), dout.wide.view(), x.wide.view(), activation);
    ExpectOneRoundingOf(out, 0);
    ops_->GatedActivate(out.narrow.view(), x.narrow.view(), up.narrow.view(), activation);
    ops_->GatedActivate(out.wide.view(), x.wide.view(), up.wide.view(), activation);
    ExpectOneRoundingOf(out, 0);
    ops_->GatedActivateBackward(out.narrow.view(), dup.narrow.view(), dout.narrow.view(),
                                x.narrow.view(), up.narrow.view(), activation);
    ops_->GatedActivateBackward(out.wide.view(), dup.wide.view(), dout.wide.view(), x.wide.view(),
                                up.wide.view(), activation);
    ExpectOneRoundingOf(out, 0);
    ExpectOneRoundingOf(dup, 0);
  }
}

TEST_P(BFloat16Test, AttentionRoundsItsResultsOnce) {
  constexpr int64_t kTokens = 150;
  const Shape query_shape = {2, kTokens, 4, 20};
  const Shape key_shape = {2, kTokens, 2, 20};
  const Pair q = Values(query_shape, 1, 2);
  const Pair k = Values(key_shape, 2, 2);
  const Pair v = Values(key_shape, 3);
  const Pair dout = Values(query_shape, 4);
  const Pair out = Outputs(query_shape);
  const Pair dq = Outputs(query_shape);
  const Pair dk = Outputs(key_shape);
  const Pair dv = Outputs(key_shape);
  std::vector<int32_t> starts(2 * kTokens, 0);
  for (int64_t t = 40; t < kTokens; ++t) starts[t] = 40;
  const auto document_start = UploadInts(starts);
  const AttentionOptions options = {.scale = 0.22f};
  const auto narrow_lse = Garbage({2, 4, kTokens});
  const auto wide_lse = Garbage({2, 4, kTokens});
  ops_->Attention(out.narrow.view(), narrow_lse.view(), q.narrow.view(), k.narrow.view(),
                  v.narrow.view(), Ints(document_start), options);
  ops_->Attention(out.wide.view(), wide_lse.view(), q.wide.view(), k.wide.view(), v.wide.view(),
                  Ints(document_start), options);
  ExpectOneRoundingOf(out);
  testing::ExpectClose(Download(narrow_lse), testing::ToDoubles(Download(wide_lse)), 1e-6);
  ops_->Copy(out.wide.view(), out.narrow.view());  // both backwards see the same `out`
  ops_->AttentionBackward(dq.narrow.view(), dk.narrow.view(), dv.narrow.view(), dout.narrow.view(),
                          q.narrow.view(), k.narrow.view(), v.narrow.view(), out.narrow.view(),
                          narrow_lse.view(), Ints(document_start), options);
  ops_->AttentionBackward(dq.wide.view(), dk.wide.view(), dv.wide.view(), dout.wide.view(),
                          q.wide.view(), k.wide.view(), v.wide.view(), out.wide.view(),
                          wide_lse.view(), Ints(document_start), options);
  ExpectOneRoundingOf(dq);
  ExpectOneRoundingOf(dk);
  ExpectOneRoundingOf(dv);
}

TEST_P(BFloat16Test, CrossEntropyHasFloatLossesAndRoundsTheGradientsOfLogits) {
  for (const auto& [vocabulary, cap] :
       {std::pair<int64_t, float>{1311, 0}, {1312, 0}, {1311, 4}, {1312, 4}}) {
    SCOPED_TRACE(::testing::Message() << "vocabulary " << vocabulary << ", cap " << cap);
    const Pair x = Values(kMatrix, 1, 2);
    const Pair weight = Values({vocabulary, kWidth}, 2, 0.5f);
    std::vector<int32_t> ids;
    for (int32_t n = 0; n < kRows; ++n) ids.push_back(n % 3 == 1 ? kIgnoredTarget : n * 37 % 1311);
    const auto targets = UploadInts(ids);
    const Pair dx = Outputs(kMatrix);
    const auto run = [&](PooledTensor Pair::*type, const PooledTensor& nll,
                         const PooledTensor& dweight) {
      ops_->LinearCrossEntropyWithGradient(nll.view(), (dx.*type).view(), dweight.view(),
                                           (x.*type).view(), (weight.*type).view(), Ints(targets),
                                           nullptr, cap, Upload({0.5f}, {1}).view().f32(), nullptr);
    };
    const auto narrow_nll = Garbage({kRows});
    const auto wide_nll = Garbage({kRows});
    const auto narrow_dweight =
        Upload(std::vector<float>(vocabulary * kWidth, 0.25f), {vocabulary, kWidth});
    const auto wide_dweight =
        Upload(std::vector<float>(vocabulary * kWidth, 0.25f), {vocabulary, kWidth});
    run(&Pair::narrow, narrow_nll, narrow_dweight);
    run(&Pair::wide, wide_nll, wide_dweight);
    testing::ExpectClose(Download(narrow_nll), testing::ToDoubles(Download(wide_nll)), 1e-6);
    // Terms of the sums are rounded, each to 2^-9 of itself.
    ExpectOneRoundingOf(dx, 0x1p-8);
    ExpectOneRounding(Download(narrow_dweight), Download(wide_dweight), 0x1p-9);
    const auto alone = Garbage({kRows});
    const auto hits = UploadInts(std::vector<int32_t>(kRows, -7));
    ops_->LinearCrossEntropy(alone.view(), static_cast<int32_t*>(hits.view().data), x.narrow.view(),
                             weight.narrow.view(), Ints(targets), cap, nullptr);
    EXPECT_EQ(Download(alone), Download(narrow_nll));
    const auto wide_hits = UploadInts(std::vector<int32_t>(kRows, -7));
    ops_->LinearCrossEntropy(alone.view(), static_cast<int32_t*>(wide_hits.view().data),
                             x.wide.view(), weight.wide.view(), Ints(targets), cap, nullptr);
    EXPECT_EQ(Download<int32_t>(hits), Download<int32_t>(wide_hits));
  }
}

}  // namespace
}  // namespace liquid
