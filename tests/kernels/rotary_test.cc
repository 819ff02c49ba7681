#include <cmath>
#include <vector>

#include "tests/kernels/reference.h"
#include "tests/testing/devices.h"

namespace liquid {
namespace {

using testing::Random;

class RotaryTest : public testing::OnEachDevice {};
INSTANTIATE_TEST_SUITE_P(, RotaryTest, testing::AllDevices(), testing::DeviceName);

TEST_P(RotaryTest, MatchesTheFormulaAndTurnsBack) {
  constexpr int64_t kTokens = 37;
  constexpr int64_t kPositions = 11;
  for (const int64_t width : {2, 8, 30, 64}) {
    SCOPED_TRACE(::testing::Message() << "width " << width);
    const int64_t heads = width == 64 ? 70 : 3;
    const int64_t half = width / 2;
    const Shape shape = {kTokens, heads, width};
    const std::vector<float> angle = Random(kPositions * half, 1, 3);
    std::vector<float> cos(angle.size());
    std::vector<float> sin(angle.size());
    for (size_t i = 0; i < angle.size(); ++i) {
      cos[i] = std::cos(angle[i]);
      sin[i] = std::sin(angle[i]);
    }
    std::vector<int32_t> positions(kTokens);
    for (size_t n = 0; n < kTokens; ++n) positions[n] = static_cast<int32_t>(n * 7 % kPositions);
    const std::vector<float> x = Random(shape.NumElements(), 2);
    testing::Doubles expected(x.size());
    for (int64_t row = 0; row < kTokens * heads; ++row) {
      const int64_t p = positions[row / heads];
      for (int64_t i = 0; i < half; ++i) {
        const double c = cos[p * half + i];
        const double s = sin[p * half + i];
        const double low = x[row * width + i];
        const double high = x[row * width + i + half];
        expected[row * width + i] = low * c - high * s;
        expected[row * width + i + half] = high * c + low * s;
      }
    }
    const auto ids = UploadInts(positions);
    const auto cos_view = Upload(cos, {kPositions, half});
    const auto sin_view = Upload(sin, {kPositions, half});
    auto inout = Upload(x, shape);
    ops_->Rotary(inout.view(), inout.view(), cos_view.view(), sin_view.view(), Ints(ids), false);
    testing::ExpectClose(Download(inout), expected, 5e-7);  // three float operations
    // A rotation's derivative is its transpose, which is the rotation back.
    ops_->Rotary(inout.view(), inout.view(), cos_view.view(), sin_view.view(), Ints(ids), true);
    testing::ExpectClose(Download(inout), testing::ToDoubles(x), 1e-6);
  }
}

}  // namespace
}  // namespace liquid
