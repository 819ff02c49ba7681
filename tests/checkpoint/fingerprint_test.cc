#include "checkpoint/fingerprint.h"

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

constexpr int64_t kChunk = kFingerprintChunkBytes;

std::vector<std::byte> Pattern(int64_t num_bytes) {
  std::vector<std::byte> bytes(static_cast<size_t>(num_bytes));
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 251);
  return bytes;
}

TEST(FingerprintTest, PartsMakeUpTheTensorInAnyOrder) {
  const TensorSpec spec{"w", DType::kU8, {3 * kChunk + 100}};
  const std::vector<std::byte> bytes = Pattern(3 * kChunk + 100);
  const FingerprintKey key(spec);
  Hash128 sum = key.HashPart(2 * kChunk, bytes.data() + 2 * kChunk, kChunk + 100);
  sum ^= key.HashPart(0, bytes.data(), kChunk);
  sum ^= key.HashPart(kChunk, bytes.data() + kChunk, kChunk);
  EXPECT_EQ(sum, FingerprintTensor(spec, bytes));
}

TEST(FingerprintTest, DependsOnNameDTypeShapePlaceAndEveryByte) {
  const std::vector<std::byte> bytes = Pattern(2 * kChunk);
  const Hash128 hash = FingerprintTensor({"w", DType::kU8, {2 * kChunk}}, bytes);
  EXPECT_FALSE(FingerprintTensor({"v", DType::kU8, {2 * kChunk}}, bytes) == hash);
  EXPECT_FALSE(FingerprintTensor({"w", DType::kI8, {2 * kChunk}}, bytes) == hash);
  EXPECT_FALSE(FingerprintTensor({"w", DType::kU8, {2, kChunk}}, bytes) == hash);
  for (const int64_t position : {int64_t{0}, kChunk - 1, kChunk, 2 * kChunk - 1}) {
    std::vector<std::byte> other = bytes;
    other[static_cast<size_t>(position)] ^= std::byte{1};
    EXPECT_FALSE(FingerprintTensor({"w", DType::kU8, {2 * kChunk}}, other) == hash);
  }
  // Equal chunks do not cancel each other out, nor do chunks that change places.
  const std::vector<std::byte> zeros(static_cast<size_t>(2 * kChunk));
  EXPECT_FALSE(FingerprintTensor({"w", DType::kU8, {2 * kChunk}}, zeros) == Hash128{});
  std::vector<std::byte> swapped(bytes.begin() + kChunk, bytes.end());
  swapped.insert(swapped.end(), bytes.begin(), bytes.begin() + kChunk);
  EXPECT_FALSE(FingerprintTensor({"w", DType::kU8, {2 * kChunk}}, swapped) == hash);
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
            "a10f5389d54238b98ba148766a1ce3db");
  EXPECT_EQ(ToHex(FingerprintTensor({"w", DType::kU8, {kChunk + 5}}, Pattern(kChunk + 5))),
            "8264e7ccb62dca7eb3c7d0cda227309f");
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
  const FingerprintKey key({"w", DType::kU8, {2 * kChunk}});
  const std::vector<std::byte> bytes = Pattern(2 * kChunk);
  EXPECT_DEATH(key.HashPart(1, bytes.data(), kChunk), "CHECK failed");
  EXPECT_DEATH(key.HashPart(0, bytes.data(), kChunk - 1), "CHECK failed");
  EXPECT_DEATH(key.HashPart(kChunk, bytes.data(), 2 * kChunk), "CHECK failed");
}

}  // namespace
}  // namespace liquid
