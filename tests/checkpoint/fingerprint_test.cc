#include "checkpoint/fingerprint.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "gmock/gmock.h"
#include "tests/checkpoint/sample_checkpoint.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::SampleModel;
using ::liquid::testing::Save;
using ::liquid::testing::SaveOptions;
using ::liquid::testing::TemporaryDirectory;

constexpr int64_t kChunk = 10;
constexpr int64_t kRow = 24 * kChunk;  // 24 chunks, the most that a row has

std::vector<std::byte> Pattern(int64_t num_bytes) {
  std::vector<std::byte> bytes(static_cast<size_t>(num_bytes));
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 251);
  return bytes;
}

TEST(FingerprintTest, PartsMakeUpTheTensorInAnyOrder) {
  const TensorSpec spec{"w", DType::kU8, {kRow}};
  const std::vector<std::byte> bytes = Pattern(kRow);
  const FingerprintKey key(spec);
  Hash128 sum = key.HashPart(2 * kChunk, bytes.data() + 2 * kChunk, 22 * kChunk);
  sum ^= key.HashPart(0, bytes.data(), kChunk);
  sum ^= key.HashPart(kChunk, bytes.data() + kChunk, kChunk);
  EXPECT_EQ(sum, FingerprintTensor(spec, bytes));
}

// As ranks hold it that share out rows or columns, also in three sections of each.
TEST(FingerprintTest, IsTheXorOfWhatRanksHoldHoweverItIsSpread) {
  constexpr int64_t kRows = 8;
  const TensorSpec spec{"w", DType::kF32, {kRows, 48}};
  const std::vector<std::byte> bytes = Pattern(kRows * 48 * 4);
  const Hash128 expected = FingerprintTensor(spec, bytes);
  const FingerprintKey key(spec);
  for (const int64_t num_ranks : {2, 4, 8}) {
    for (const int64_t sections : {1, 3}) {
      Hash128 by_columns;
      const int64_t width = 48 / sections / num_ranks * 4;
      for (int64_t part = 0; part < kRows * sections * num_ranks; ++part) {
        by_columns ^= key.HashPart(part * width, bytes.data() + part * width, width);
      }
      EXPECT_EQ(by_columns, expected) << num_ranks << " ranks, " << sections << " sections";
    }
    Hash128 by_rows;
    const int64_t part_bytes = kRows / num_ranks * 48 * 4;
    for (int64_t rank = 0; rank < num_ranks; ++rank) {
      by_rows ^= key.HashPart(rank * part_bytes, bytes.data() + rank * part_bytes, part_bytes);
    }
    EXPECT_EQ(by_rows, expected);
  }
}

TEST(FingerprintTest, DependsOnNameDTypeShapePlaceAndEveryByte) {
  const std::vector<std::byte> bytes = Pattern(kRow);
  const Hash128 hash = FingerprintTensor({"w", DType::kU8, {kRow}}, bytes);
  EXPECT_FALSE(FingerprintTensor({"v", DType::kU8, {kRow}}, bytes) == hash);
  EXPECT_FALSE(FingerprintTensor({"w", DType::kI8, {kRow}}, bytes) == hash);
  EXPECT_FALSE(FingerprintTensor({"w", DType::kU8, {2, kRow / 2}}, bytes) == hash);
  for (const int64_t position : {int64_t{0}, kChunk - 1, kChunk, kRow - 1}) {
    std::vector<std::byte> other = bytes;
    other[static_cast<size_t>(position)] ^= std::byte{1};
    EXPECT_FALSE(FingerprintTensor({"w", DType::kU8, {kRow}}, other) == hash);
  }
  // Equal chunks do not cancel each other out, nor do chunks that change places.
  const std::vector<std::byte> zeros(static_cast<size_t>(kRow));
  EXPECT_FALSE(FingerprintTensor({"w", DType::kU8, {kRow}}, zeros) == Hash128{});
  std::vector<std::byte> swapped = bytes;
  std::rotate(swapped.begin(), swapped.begin() + kChunk, swapped.begin() + 2 * kChunk);
  EXPECT_FALSE(FingerprintTensor({"w", DType::kU8, {kRow}}, swapped) == hash);
}

TEST(FingerprintTest, AnEmptyTensorCounts) {
  EXPECT_FALSE(FingerprintTensor({"e", DType::kF32, {0}}, {}) == Hash128{});
  EXPECT_FALSE(FingerprintTensor({"e", DType::kF32, {0}}, {}) ==
               FingerprintTensor({"e", DType::kF32, {0, 2}}, {}));
}

// Golden, from a second implementation of the definition (Python): changing it would orphan every
// ledger.
TEST(FingerprintTest, IsTheOneThatTheFormatDefines) {
  EXPECT_EQ(ToHex(FingerprintTensor({"model.w", DType::kF32, {2, 3}}, Pattern(24))),
            "a5df322ee1b53d100ba3392d25ebee5e");
  EXPECT_EQ(ToHex(FingerprintTensor({"w", DType::kU8, {250}}, Pattern(250))),
            "c472442d7d208ce5af928201db14b8f9");
}

TEST(FingerprintTest, OfADirectoryIsThatOfTheModelHoweverItIsCut) {
  const TemporaryDirectory root;
  const SampleModel sample(1, 100'000);
  for (const int64_t max_shard_bytes : {int64_t{0}, int64_t{1000}}) {
    SaveOptions options;
    options.max_shard_bytes = max_shard_bytes;
    const auto committed = Save(root.path(), 1, sample, options);
    ASSERT_THAT(committed, IsOk());
    const auto fingerprint = FingerprintDirectory(committed->path, 3);
    ASSERT_THAT(fingerprint, IsOk());
    EXPECT_EQ(*fingerprint, sample.Fingerprint());
  }
}

TEST(FingerprintDeathTest, PartsMustStartAtChunks) {
  const FingerprintKey key({"w", DType::kU8, {kRow}});
  const std::vector<std::byte> bytes = Pattern(kRow);
  EXPECT_DEATH(key.HashPart(1, bytes.data(), kChunk), "CHECK failed");
  EXPECT_DEATH(key.HashPart(0, bytes.data(), kChunk - 1), "CHECK failed");
  EXPECT_DEATH(key.HashPart(kRow - kChunk, bytes.data(), 2 * kChunk), "CHECK failed");
}

}  // namespace
}  // namespace liquid
