#include <vector>

#include "tensor/dtype.h"
#include "tests/kernels/reference.h"
#include "tests/testing/devices.h"

namespace liquid {
namespace {

using testing::Random;

class ElementwiseTest : public testing::OnEachDevice {};
INSTANTIATE_TEST_SUITE_P(, ElementwiseTest, testing::AllDevices(), testing::DeviceName);

constexpr int64_t kOddCount = 50003;  // several chunks and a tail of every vector width

TEST_P(ElementwiseTest, FillsAddsAndScales) {
  const std::vector<float> a = Random(kOddCount, 1);
  const std::vector<float> b = Random(kOddCount, 2);
  auto filled = Garbage({kOddCount});
  ops_->Fill(filled.view(), 2.5f);
  EXPECT_EQ(Download(filled), std::vector<float>(kOddCount, 2.5f));
  auto sum = Upload(a, {kOddCount});
  ops_->Add(sum.view(), sum.view(), Upload(b, {kOddCount}).view());
  auto scaled = Garbage({kOddCount});
  ops_->Scale(scaled.view(), Upload(a, {kOddCount}).view(), -3.0f);
  const std::vector<float> sums = Download(sum);
  const std::vector<float> scaleds = Download(scaled);
  for (int64_t i = 0; i < kOddCount; ++i) {  // one float operation each: exact
    ASSERT_EQ(sums[i], a[i] + b[i]);
    ASSERT_EQ(scaleds[i], a[i] * -3.0f);
  }
}

TEST_P(ElementwiseTest, ScalesByAFactorInTheDevicesMemory) {
  for (const int64_t count : {int64_t{1}, int64_t{7}, int64_t{4096}, kOddCount}) {
    SCOPED_TRACE(::testing::Message() << "count " << count);
    const std::vector<float> x = Random(count, 1);
    auto inout = Upload(x, {count});
    ops_->ScaleBy(inout.view(), inout.view(), Upload({-1.7f}, {1}).view());
    std::vector<BFloat16> narrow;
    for (const float value : x) narrow.push_back(ToBFloat16(value));
    auto out = UploadAs(std::vector<BFloat16>(narrow.size(), {0x7FC0}), DType::kBF16, {count});
    ops_->ScaleBy(out.view(), UploadAs(narrow, DType::kBF16, {count}).view(),
                  UploadAs(std::vector<BFloat16>{ToBFloat16(0.7f)}, DType::kBF16, {1}).view());
    const std::vector<float> scaled = Download(inout);
    const auto narrow_scaled = Download<BFloat16>(out);
    for (int64_t i = 0; i < count; ++i) {
      ASSERT_EQ(scaled[i], x[i] * -1.7f);
      const BFloat16 rounded = ToBFloat16(ToFloat(narrow[i]) * ToFloat(ToBFloat16(0.7f)));
      ASSERT_EQ(narrow_scaled[i].bits, rounded.bits);
    }
  }
}

TEST_P(ElementwiseTest, CopiesBetweenDTypes) {
  const std::vector<float> x = Random(kOddCount, 1);
  auto copy = Garbage({kOddCount});
  ops_->Copy(copy.view(), Upload(x, {kOddCount}).view());
  EXPECT_EQ(Download(copy), x);
  auto narrow = pool_->Allocate(DType::kBF16, {kOddCount});
  ops_->Copy(narrow.view(), copy.view());
  ops_->Copy(copy.view(), narrow.view());
  const std::vector<float> rounded = Download(copy);
  for (int64_t i = 0; i < kOddCount; ++i) ASSERT_EQ(rounded[i], ToFloat(ToBFloat16(x[i])));
  ops_->Copy(copy.view(),
             UploadAs(std::vector<uint16_t>(kOddCount, 0x3E00), DType::kF16, {kOddCount}).view());
  EXPECT_EQ(Download(copy), std::vector<float>(kOddCount, 1.5f));
}

TEST_P(ElementwiseTest, BiasIsAddedToEveryRowAndItsGradientSumsThem) {
  constexpr int64_t kRows = 203;
  constexpr int64_t kWidth = 77;
  const std::vector<float> x = Random(kRows * kWidth, 1);
  const std::vector<float> bias = Random(kWidth, 2);
  auto out = Upload(x, {kRows, kWidth});
  ops_->AddBias(out.view(), Upload(bias, {kWidth}).view());
  auto dbias = Upload(bias, {kWidth});
  ops_->AddBiasBackward(dbias.view(), Upload(x, {kRows, kWidth}).view());
  const std::vector<float> sums = Download(out);
  testing::Doubles expected(bias.begin(), bias.end());
  for (int64_t i = 0; i < kRows * kWidth; ++i) {
    ASSERT_EQ(sums[i], x[i] + bias[i % kWidth]);
    expected[i % kWidth] += x[i];
  }
  testing::ExpectClose(Download(dbias), expected, 1e-6);  // a float sum of 203 terms
}

TEST_P(ElementwiseTest, BiasGradientHasTheSameBitsOnAnyNumberOfThreads) {
  const auto x = Upload(Random(int64_t{1000} * 333, 1), {1000, 333});
  testing::ExpectSameBitsOnAnyNumberOfThreads([&] {
    auto dbias = Upload(std::vector<float>(333), {333});
    ops_->AddBiasBackward(dbias.view(), x.view());
    return Download(dbias);
  });
}

}  // namespace
}  // namespace liquid
