#include <vector>

#include "base/check.h"
#include "tests/kernels/reference.h"
#include "tests/testing/devices.h"

namespace liquid {
namespace {

using testing::Random;

class EmbeddingTest : public testing::OnEachDevice {};
INSTANTIATE_TEST_SUITE_P(, EmbeddingTest, testing::AllDevices(), testing::DeviceName);

constexpr int64_t kVocabulary = 50;
constexpr int64_t kWidth = 77;
constexpr int64_t kTokens = 101;

std::vector<int32_t> Ids() {
  std::vector<int32_t> ids(kTokens);
  for (size_t n = 0; n < ids.size(); ++n) ids[n] = static_cast<int32_t>(n * n % kVocabulary);
  return ids;
}

TEST_P(EmbeddingTest, PicksRows) {
  const std::vector<float> table = Random(kVocabulary * kWidth, 1);
  auto out = Garbage({kTokens, kWidth});
  ops_->Embedding(out.view(), Ints(UploadInts(Ids())), Upload(table, {kVocabulary, kWidth}).view());
  const std::vector<float> rows = Download(out);
  for (int64_t i = 0; i < kTokens * kWidth; ++i) {
    ASSERT_EQ(rows[i], table[Ids()[i / kWidth] * kWidth + i % kWidth]);
  }
}

TEST_P(EmbeddingTest, GradientAddsRowsOfEqualIdsInTheirOrder) {
  const std::vector<float> before = Random(kVocabulary * kWidth, 1);
  const std::vector<float> dout = Random(kTokens * kWidth, 2);
  const auto ids = UploadInts(Ids());
  const auto gradient = Upload(dout, {kTokens, kWidth});
  std::vector<float> expected = before;  // the very order of the contract, so the same bits
  for (int64_t i = 0; i < kTokens * kWidth; ++i) {
    expected[Ids()[i / kWidth] * kWidth + i % kWidth] += dout[i];
  }
  testing::ExpectSameBitsOnAnyNumberOfThreads([&] {
    auto dtable = Upload(before, {kVocabulary, kWidth});
    ops_->EmbeddingBackward(dtable.view(), Ints(ids), gradient.view());
    EXPECT_EQ(Download(dtable), expected);
    return Download(dtable);
  });
}

// Ids of one, two and three bytes, many of them equal, some of other ranks' rows.
TEST_P(EmbeddingTest, GradientOfManyTokensKeepsTheOrder) {
  struct Table {
    int64_t vocabulary, width;
  };
  for (const Table t : {Table{2, 261}, {255, 16}, {256, 5}, {70000, 8}}) {
    SCOPED_TRACE(::testing::Message() << t.vocabulary << " by " << t.width);
    const int64_t tokens = 5003;
    std::vector<int32_t> ids;
    for (int64_t n = 0; n < tokens; ++n) {
      ids.push_back(static_cast<int32_t>(n % 5 == 0 ? t.vocabulary / 2 : n * n % t.vocabulary));
      if (n % 11 == 3) ids.back() = kElsewhere;
    }
    const std::vector<float> before = Random(t.vocabulary * t.width, 1);
    const std::vector<float> dout = Random(tokens * t.width, 2);
    std::vector<float> expected = before;
    for (int64_t i = 0; i < tokens * t.width; ++i) {
      if (ids[i / t.width] == kElsewhere) continue;
      expected[ids[i / t.width] * t.width + i % t.width] += dout[i];
    }
    auto dtable = Upload(before, {t.vocabulary, t.width});
    ops_->EmbeddingBackward(dtable.view(), Ints(UploadInts(ids)),
                            Upload(dout, {tokens, t.width}).view());
    EXPECT_EQ(Download(dtable), expected);
  }
}

TEST_P(EmbeddingTest, AnIdOutsideTheVocabularyIsABug) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a forked child has no OpenMP team
  const auto table = Upload(Random(kVocabulary * kWidth, 1), {kVocabulary, kWidth});
  auto out = Garbage({1, kWidth});
  const auto ids = UploadInts({50});
  const bool says_which = GetParam().type == DeviceType::kCpu;
  const auto embed = [&] {
    ops_->Embedding(out.view(), Ints(ids), table.view());
    LIQUID_CHECK(stream_->Synchronize().ok());
  };
  EXPECT_DEATH(embed(), says_which ? "id 50" : "");
}

}  // namespace
}  // namespace liquid
