#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "tensor/dtype.h"
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

constexpr double kTolerance = 1e-6;     // float sums of at most eight products
constexpr double kSumTolerance = 1e-5;  // and of one for each token

struct Sizes {
  int64_t tokens, width, taps;
};
const Sizes kSizes[] = {{1, 8, 3},    {1, 5, 4},    {2, 1, 1},    {7, 16, 3},   {32, 24, 4},
                        {33, 40, 8},  {70, 264, 1}, {300, 77, 2}, {257, 12, 5}, {300, 1032, 3},
                        {3001, 8, 3}, {2500, 9, 4}, {2047, 16, 4}};

// Of documents of 1, 2, .. 5, 31, 32, 33 and 200 tokens, again and again.
std::vector<int32_t> Positions(int64_t tokens) {
  std::vector<int32_t> positions;
  for (int d = 0; static_cast<int64_t>(positions.size()) < tokens; ++d) {
    const int32_t lengths[] = {1, 2, 3, 4, 5, 31, 32, 33, 200};
    for (int32_t p = 0; p < lengths[d % 9]; ++p) positions.push_back(p);
  }
  positions.resize(static_cast<size_t>(tokens));
  return positions;
}

// The definition, and its gradients one product at a time.
struct Reference {
  Reference(const Sizes& sizes, std::vector<int32_t> of_tokens)
      : n(sizes.tokens), d(sizes.width), w(sizes.taps), positions(std::move(of_tokens)) {}

  // fn(token, channel, weight, token that the tap looks at).
  template <typename Fn>
  void ForEachProduct(const Fn& fn) const {
    for (int64_t token = 0; token < n; ++token) {
      for (int64_t j = 0; j < w; ++j) {
        const int64_t lag = w - 1 - j;
        if (lag > positions[token]) continue;
        for (int64_t c = 0; c < d; ++c) fn(token, c, c * w + j, token - lag);
      }
    }
  }
  Doubles Out(const Doubles& in, const Doubles& weight) const {
    Doubles out(n * d);
    ForEachProduct([&](int64_t token, int64_t c, int64_t tap, int64_t from) {
      out[token * d + c] += in[(3 * token + 1) * d + c] * weight[tap] * in[3 * from * d + c] *
                            in[(3 * from + 2) * d + c];
    });
    return out;
  }
  void AddGradients(Doubles& din, Doubles& dweight, const Doubles& dout, const Doubles& in,
                    const Doubles& weight) const {
    ForEachProduct([&](int64_t token, int64_t c, int64_t tap, int64_t from) {
      const double dy = dout[token * d + c];
      const int64_t at_b = 3 * from * d + c;
      const int64_t at_c = (3 * token + 1) * d + c;
      const int64_t at_u = (3 * from + 2) * d + c;
      din[at_b] += dy * in[at_c] * weight[tap] * in[at_u];
      din[at_c] += dy * weight[tap] * in[at_b] * in[at_u];
      din[at_u] += dy * in[at_c] * weight[tap] * in[at_b];
      dweight[tap] += dy * in[at_c] * in[at_b] * in[at_u];
    });
  }

  int64_t n, d, w;
  std::vector<int32_t> positions;
};

std::vector<BFloat16> Rounded(const std::vector<float>& values) {
  std::vector<BFloat16> rounded;
  for (const float value : values) rounded.push_back(ToBFloat16(value));
  return rounded;
}
std::vector<float> Widened(const std::vector<BFloat16>& values) {
  std::vector<float> widened;
  for (const BFloat16 value : values) widened.push_back(ToFloat(value));
  return widened;
}

class ShortConvolutionTest : public testing::OnEachDevice {
 protected:
  struct Inputs {
    std::vector<float> in, weight, dout, dweight;
    std::vector<int32_t> positions;
  };
  struct Outputs {
    std::vector<float> out, din, dweight;
  };

  static Inputs InputsOf(const Sizes& sizes) {
    return {Random(3 * sizes.tokens * sizes.width, 1, 2), Random(sizes.width * sizes.taps, 2),
            Random(sizes.tokens * sizes.width, 3), Random(sizes.width * sizes.taps, 4),
            Positions(sizes.tokens)};
  }

  PooledTensor Activations(const std::vector<float>& values, DType dtype, const Shape& shape) {
    if (dtype == DType::kF32) return Upload(values, shape);
    return UploadAs(Rounded(values), dtype, shape);
  }
  std::vector<float> Floats(const PooledTensor& tensor) {
    if (tensor.view().dtype == DType::kF32) return Download(tensor);
    return Widened(Download<BFloat16>(tensor));
  }

  Outputs Run(const Sizes& sizes, const Inputs& inputs, DType dtype = DType::kF32) {
    const auto [tokens, width, taps] = sizes;
    const auto nan = [&](const Shape& shape) {
      const auto count = static_cast<size_t>(shape.NumElements());
      return Activations(std::vector<float>(count, __builtin_nanf("")), dtype, shape);
    };
    const auto in = Activations(inputs.in, dtype, {tokens, 3 * width});
    const auto weight = Activations(inputs.weight, dtype, {width, taps});
    const auto dout = Activations(inputs.dout, dtype, {tokens, width});
    const auto positions = UploadInts(inputs.positions);
    const auto out = nan({tokens, width});
    const auto din = nan({tokens, 3 * width});
    const auto dweight = Upload(inputs.dweight, {width, taps});
    ops_->ShortConvolution(out.view(), in.view(), weight.view(), Ints(positions));
    ops_->ShortConvolutionBackward(din.view(), dweight.view(), dout.view(), in.view(),
                                   weight.view(), Ints(positions));
    return {Floats(out), Floats(din), Download(dweight)};
  }
};
INSTANTIATE_TEST_SUITE_P(, ShortConvolutionTest, testing::AllDevices(), testing::DeviceName);

TEST_P(ShortConvolutionTest, MatchesTheDefinitionOfAllSizes) {
  for (const Sizes& sizes : kSizes) {
    SCOPED_TRACE(::testing::Message()
                 << sizes.tokens << " tokens, width " << sizes.width << ", taps " << sizes.taps);
    const Inputs inputs = InputsOf(sizes);
    const Outputs actual = Run(sizes, inputs);
    const Reference reference(sizes, inputs.positions);
    const Doubles in = ToDoubles(inputs.in);
    const Doubles weight = ToDoubles(inputs.weight);
    Doubles din(in.size());
    Doubles dweight = ToDoubles(inputs.dweight);  // it accumulates
    reference.AddGradients(din, dweight, ToDoubles(inputs.dout), in, weight);
    ExpectClose(actual.out, reference.Out(in, weight), kTolerance);
    ExpectClose(actual.din, din, kTolerance);
    ExpectClose(actual.dweight, dweight, kSumTolerance);
  }
}

TEST_P(ShortConvolutionTest, GradientsMatchFiniteDifferences) {
  for (const int64_t taps : {1, 3, 4, 6}) {
    SCOPED_TRACE(::testing::Message() << "taps " << taps);
    const Sizes sizes = {17, 3, taps};
    const Inputs inputs = InputsOf(sizes);
    const Outputs actual = Run(sizes, inputs);
    const Reference reference(sizes, inputs.positions);
    const Doubles in = ToDoubles(inputs.in);
    const Doubles weight = ToDoubles(inputs.weight);
    const Doubles dout = ToDoubles(inputs.dout);
    ExpectClose(
        actual.din,
        NumericGradient([&](const Doubles& at) { return reference.Out(at, weight); }, in, dout),
        kTolerance);
    Doubles dweight =
        NumericGradient([&](const Doubles& at) { return reference.Out(in, at); }, weight, dout);
    for (size_t i = 0; i < dweight.size(); ++i) dweight[i] += inputs.dweight[i];
    ExpectClose(actual.dweight, dweight, kTolerance);
  }
}

// To bfloat16: half a unit in the last place of each, beside the noise of float sums.
void ExpectOneRounding(const std::vector<float>& actual, const Doubles& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    const double error = std::abs(double{actual[i]} - expected[i]);
    ASSERT_TRUE(error <= std::abs(expected[i]) * 0x1p-8 + 1e-5)
        << "element " << i << ": " << actual[i] << " but expected " << expected[i];
  }
}

TEST_P(ShortConvolutionTest, BFloat16IsRoundedOnceAndGradientsOfWeightsAreFloats) {
  for (const Sizes& sizes : kSizes) {
    SCOPED_TRACE(::testing::Message()
                 << sizes.tokens << " tokens, width " << sizes.width << ", taps " << sizes.taps);
    Inputs inputs = InputsOf(sizes);
    for (auto* values : {&inputs.in, &inputs.weight, &inputs.dout}) {
      *values = Widened(Rounded(*values));
    }
    const Outputs actual = Run(sizes, inputs, DType::kBF16);
    const Reference reference(sizes, inputs.positions);
    const Doubles in = ToDoubles(inputs.in);
    const Doubles weight = ToDoubles(inputs.weight);
    Doubles din(in.size());
    Doubles dweight = ToDoubles(inputs.dweight);
    reference.AddGradients(din, dweight, ToDoubles(inputs.dout), in, weight);
    ExpectOneRounding(actual.out, reference.Out(in, weight));
    ExpectOneRounding(actual.din, din);
    ExpectClose(actual.dweight, dweight, kSumTolerance);
  }
}

// A document of 37 tokens, alone or between two others that hold nothing but NaN.
TEST_P(ShortConvolutionTest, NothingOfOtherDocumentsReachesADocument) {
  constexpr int64_t kBefore = 30;
  constexpr int64_t kLength = 37;
  for (const int64_t width : {7, 16}) {
    for (const int64_t taps : {3, 8}) {
      const Sizes alone_sizes = {kLength, width, taps};
      Inputs alone = InputsOf(alone_sizes);
      for (int32_t p = 0; p < kLength; ++p) alone.positions[p] = p;
      const Sizes sizes = {kBefore + kLength + 9, width, taps};
      Inputs all = alone;
      all.in.assign(3 * sizes.tokens * width, __builtin_nanf(""));
      all.dout.assign(sizes.tokens * width, __builtin_nanf(""));
      all.positions.assign(sizes.tokens, 0);
      for (int64_t n = 0; n < sizes.tokens; ++n) {
        const int64_t start = n < kBefore ? 0 : n < kBefore + kLength ? kBefore : kBefore + kLength;
        all.positions[n] = static_cast<int32_t>(n - start);
      }
      std::copy(alone.in.begin(), alone.in.end(), all.in.begin() + kBefore * 3 * width);
      std::copy(alone.dout.begin(), alone.dout.end(), all.dout.begin() + kBefore * width);
      const Outputs expected = Run(alone_sizes, alone);
      const Outputs actual = Run(sizes, all);
      const auto part = [](const std::vector<float>& values, int64_t row) {
        return std::vector<float>(values.begin() + kBefore * row,
                                  values.begin() + (kBefore + kLength) * row);
      };
      EXPECT_EQ(part(actual.out, width), expected.out);
      EXPECT_EQ(part(actual.din, 3 * width), expected.din);
    }
  }
}

TEST_P(ShortConvolutionTest, GivesTheSameBitsOnAnyNumberOfThreads) {
  const Sizes sizes = {1500, 72, 3};
  const Inputs inputs = InputsOf(sizes);
  testing::ExpectSameBitsOnAnyNumberOfThreads([&] {
    const Outputs o = Run(sizes, inputs);
    return Concatenate({o.out, o.din, o.dweight});
  });
}

}  // namespace
}  // namespace liquid
