// Attention on bf16, as tensor cores compute it: probabilities are rounded to bf16 before the
// products, so that results are those of float64 to a few units of bf16.
#include <cmath>
#include <vector>

#include "tensor/bfloat16.h"
#include "tests/kernels/attention_reference.h"
#include "tests/testing/devices.h"

namespace liquid {
namespace {

using testing::AttentionCase;
using testing::Documents;
using testing::Doubles;
using testing::Options;

// Of the root mean square of what is expected: sums of terms that are each off by up to 2^-9.
constexpr double kTolerance = 0.04;

class AttentionBFloat16Test : public testing::OnEachDevice {
 protected:
  // Values of bf16, and what they are.
  struct Input {
    PooledTensor tensor;
    Doubles values;
  };
  Input Draw(const Shape& shape, uint32_t seed, float scale = 1.0f) {
    std::vector<BFloat16> rounded;
    Doubles values;
    for (const float value : testing::Random(shape.NumElements(), seed, scale)) {
      rounded.push_back(ToBFloat16(value));
      values.push_back(double{ToFloat(rounded.back())});
    }
    return {UploadAs(rounded, DType::kBF16, shape), std::move(values)};
  }
  PooledTensor Output(const Shape& shape) {
    const auto count = static_cast<size_t>(shape.NumElements());
    return UploadAs(std::vector<BFloat16>(count, ToBFloat16(__builtin_nanf(""))), DType::kBF16,
                    shape);
  }
  void ExpectNear(const PooledTensor& actual, const Doubles& expected, const char* what) {
    double squares = 0;
    for (const double value : expected) squares += value * value;
    const double size = std::sqrt(squares / static_cast<double>(expected.size()));
    const std::vector<BFloat16> values = Download<BFloat16>(actual);
    ASSERT_EQ(values.size(), expected.size());
    for (size_t i = 0; i < values.size(); ++i) {
      const double error = std::abs(double{ToFloat(values[i])} - expected[i]);
      // Large values have a larger last place.
      ASSERT_LE(error, kTolerance * size + std::abs(expected[i]) / 64) << what << " element " << i;
    }
  }
};
INSTANTIATE_TEST_SUITE_P(, AttentionBFloat16Test, testing::AllDevices(), testing::DeviceName);

TEST_P(AttentionBFloat16Test, MatchesTheDefinitionAndItsGradient) {
  // Widths of a tile and between them, tiles with tails, groups, windows within and over tiles,
  // documents that end within a tile; tiles of which a warp sees all, some or nothing.
  const std::vector<AttentionCase> cases = {
      {1, 1, 1, 1, 1, 16, Options(16), {}},
      {2, 70, 70, 4, 2, 64, Options(64), Documents(2, 70, {9, 31, 64})},
      {1, 130, 130, 2, 1, 32, Options(32, 40), {}},
      {1, 97, 97, 1, 1, 96, Options(96), Documents(1, 97, {64})},
      {1, 140, 140, 3, 1, 128, Options(128), {}},
      {1, 300, 300, 2, 1, 128, Options(128), {}},
      {1, 290, 290, 2, 1, 128, Options(128, 100), Documents(1, 290, {33, 150, 280})},
      {1, 65, 65, 2, 1, 72, Options(72, 16), Documents(1, 65, {20})},
      {1, 67, 67, 1, 1, 256, Options(256), Documents(1, 67, {30})},
      {1, 50, 50, 1, 1, 512, Options(512), {}},
  };
  for (size_t n = 0; n < cases.size(); ++n) {
    SCOPED_TRACE(::testing::Message() << "case " << n);
    const AttentionCase& c = cases[n];
    const Input q = Draw(c.QueryShape(), 1, 2);
    const Input k = Draw(c.KeyShape(), 2, 2);
    const Input v = Draw(c.KeyShape(), 3);
    const Input dout = Draw(c.QueryShape(), 4);
    const auto starts =
        UploadInts(c.document_start.empty() ? std::vector<int32_t>{0} : c.document_start);
    const int32_t* document_start = c.document_start.empty() ? nullptr : Ints(starts);
    const auto out = Output(c.QueryShape());
    const auto lse = Garbage({c.batch, c.heads, c.queries});
    ops_->Attention(out.view(), lse.view(), q.tensor.view(), k.tensor.view(), v.tensor.view(),
                    document_start, c.options);
    const auto expected = testing::AttentionReference(c, q.values, k.values, v.values);
    ExpectNear(out, expected.out, "out");
    testing::ExpectClose(Download(lse), expected.lse, 1e-5);
    const auto dq = Output(c.QueryShape());
    const auto dk = Output(c.KeyShape());
    const auto dv = Output(c.KeyShape());
    ops_->AttentionBackward(dq.view(), dk.view(), dv.view(), dout.tensor.view(), q.tensor.view(),
                            k.tensor.view(), v.tensor.view(), out.view(), lse.view(),
                            document_start, c.options);
    const auto gradients =
        testing::AttentionBackwardReference(c, q.values, k.values, v.values, dout.values);
    ExpectNear(dq, gradients.dq, "dq");
    ExpectNear(dk, gradients.dk, "dk");
    ExpectNear(dv, gradients.dv, "dv");
  }
}

TEST_P(AttentionBFloat16Test, AQueryBehindACacheSeesTheKeysBeforeIt) {
  const AttentionCase c = {2, 7, 140, 4, 2, 64, Options(64, 50, 133), {}};
  const Input q = Draw(c.QueryShape(), 1, 2);
  const Input k = Draw(c.KeyShape(), 2, 2);
  const Input v = Draw(c.KeyShape(), 3);
  const auto out = Output(c.QueryShape());
  const auto lse = Garbage({c.batch, c.heads, c.queries});
  ops_->Attention(out.view(), lse.view(), q.tensor.view(), k.tensor.view(), v.tensor.view(),
                  nullptr, c.options);
  ExpectNear(out, testing::AttentionReference(c, q.values, k.values, v.values).out, "out");
}

}  // namespace
}  // namespace liquid
