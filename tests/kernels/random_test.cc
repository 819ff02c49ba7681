#include <cmath>
#include <vector>

#include "base/random.h"
#include "tensor/dtype.h"
#include "tests/kernels/reference.h"
#include "tests/testing/devices.h"

namespace liquid {
namespace {

using testing::Random;

class RandomOpsTest : public testing::OnEachDevice {
 protected:
  static constexpr int64_t kRows = 3;
  static constexpr int64_t kTokens = 11;  // of a row
  static constexpr int64_t kWidth = 38;
  static constexpr uint32_t kStream = 7;

  RandomOpsTest() {
    for (int64_t i = 0; i < 2 * kRows; ++i) keys_.push_back(static_cast<int32_t>(1000003 * i - 5));
  }

  // Of the batch's token and the whole tensor's channel.
  uint32_t Bits(int64_t token, int64_t channel, uint32_t stream = kStream) const {
    const int64_t row = token / kTokens;
    return Philox4x32(
        {static_cast<uint32_t>(channel / 4), static_cast<uint32_t>(token % kTokens), stream, 0},
        {static_cast<uint32_t>(keys_[2 * row]),
         static_cast<uint32_t>(keys_[2 * row + 1])})[channel % 4];
  }

  std::vector<int32_t> keys_;
};
INSTANTIATE_TEST_SUITE_P(, RandomOpsTest, testing::AllDevices(), testing::DeviceName);

TEST_P(RandomOpsTest, DropoutKeepsWhatTheBitsSay) {
  const std::vector<float> x = Random(kRows * kTokens * kWidth, 1);
  const auto keys = UploadAs(keys_, DType::kI32, {2 * kRows});
  const RandomPlace place = {.row_keys = static_cast<const int32_t*>(keys.view().data),
                             .stream = kStream,
                             .tokens_per_row = kTokens};
  for (const float probability : {0.0f, 0.25f, 0.9f}) {
    SCOPED_TRACE(probability);
    auto out = Garbage({kRows * kTokens, kWidth});
    ops_->Dropout(out.view(), Upload(x, {kRows * kTokens, kWidth}).view(), probability, place);
    const std::vector<float> values = Download(out);
    int64_t num_dropped = 0;
    for (int64_t i = 0; i < kRows * kTokens * kWidth; ++i) {
      const bool dropped =
          static_cast<double>(Bits(i / kWidth, i % kWidth)) < std::ldexp(probability, 32);
      num_dropped += dropped ? 1 : 0;
      ASSERT_EQ(values[i], dropped ? 0.0f : x[i] * (1 / (1 - probability))) << i;
    }
    const double share = static_cast<double>(num_dropped) / (kRows * kTokens * kWidth);
    EXPECT_NEAR(share, probability, 0.05);
  }
}

// A rank's part of the tokens or channels has the elements that the whole has there.
TEST_P(RandomOpsTest, APartHasTheBitsOfTheWhole) {
  const auto keys = UploadAs(keys_, DType::kI32, {2 * kRows});
  const auto* const row_keys = static_cast<const int32_t*>(keys.view().data);
  for (const int64_t first_channel : {0, 1, 6, 19}) {
    for (const int64_t first_token : {0, 5, 17}) {
      const int64_t tokens = kRows * kTokens - first_token;
      const int64_t width = kWidth - first_channel;
      auto inout = Upload(std::vector<float>(tokens * width, 1.0f), {tokens, width});
      ops_->Dropout(inout.view(), inout.view(), 0.5f,
                    {.row_keys = row_keys,
                     .stream = kStream,
                     .tokens_per_row = kTokens,
                     .first_token = first_token,
                     .first_channel = first_channel});
      const std::vector<float> values = Download(inout);
      for (int64_t i = 0; i < tokens * width; ++i) {
        const uint32_t bits = Bits(first_token + i / width, first_channel + i % width);
        ASSERT_EQ(values[i], bits < 1u << 31 ? 0.0f : 2.0f) << i;
      }
    }
  }
}

TEST_P(RandomOpsTest, NoiseIsUniformAndOfItsMagnitude) {
  constexpr float kMagnitude = 0.3f;
  const std::vector<float> x = Random(kRows * kTokens * kWidth, 1);
  const auto keys = UploadAs(keys_, DType::kI32, {2 * kRows});
  const RandomPlace place = {.row_keys = static_cast<const int32_t*>(keys.view().data),
                             .stream = kStream,
                             .tokens_per_row = kTokens};
  auto out = Garbage({kRows * kTokens, kWidth});
  ops_->AddNoise(out.view(), Upload(x, {kRows * kTokens, kWidth}).view(), kMagnitude, place);
  const std::vector<float> values = Download(out);
  double sum = 0;
  for (int64_t i = 0; i < kRows * kTokens * kWidth; ++i) {
    const double unit = (std::floor(Bits(i / kWidth, i % kWidth) / 512.0) + 0.5) / 4194304.0 - 1;
    ASSERT_NEAR(values[i], x[i] + kMagnitude * unit, 1e-6) << i;
    sum += unit;
  }
  EXPECT_NEAR(sum / (kRows * kTokens * kWidth), 0, 0.05);
}

TEST_P(RandomOpsTest, Bf16IsRoundedOnce) {
  std::vector<BFloat16> x;
  for (const float value : Random(kTokens * kWidth, 2)) x.push_back(ToBFloat16(value));
  const auto keys = UploadAs(keys_, DType::kI32, {2 * kRows});
  const RandomPlace place = {.row_keys = static_cast<const int32_t*>(keys.view().data),
                             .stream = 1,
                             .tokens_per_row = kTokens};
  auto inout = UploadAs(x, DType::kBF16, {kTokens, kWidth});
  ops_->Dropout(inout.view(), inout.view(), 0.3f, place);
  const std::vector<BFloat16> values = Download<BFloat16>(inout);
  const auto threshold = static_cast<uint32_t>(std::ldexp(static_cast<double>(0.3f), 32));
  for (int64_t i = 0; i < kTokens * kWidth; ++i) {
    const bool dropped = Bits(i / kWidth, i % kWidth, 1) < threshold;
    const float expected = dropped ? 0.0f : ToFloat(x[i]) * (1 / (1 - 0.3f));
    ASSERT_EQ(values[i].bits, ToBFloat16(expected).bits) << i;
  }
}

}  // namespace
}  // namespace liquid
