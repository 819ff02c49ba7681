#include "checkpoint/checksum.h"

#include <string>

#include "gtest/gtest.h"

namespace liquid {
namespace {

TEST(ChecksumTest, CombinesHashesByTheirHexadecimalBytes) {
  EXPECT_EQ(CombineHashes({}), HashBytes(""));
  const Hash128 a{0x0102030405060708, 0x090a0b0c0d0e0f10};
  EXPECT_EQ(CombineHashes({a}),
            HashBytes("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10"));
  EXPECT_FALSE(CombineHashes({a, {}}) == CombineHashes({{}, a}));
}

TEST(ChecksumTest, CountsPieces) {
  EXPECT_EQ(NumPieces(0), 0);
  EXPECT_EQ(NumPieces(1), 1);
  EXPECT_EQ(NumPieces(kPieceBytes), 1);
  EXPECT_EQ(NumPieces(kPieceBytes + 1), 2);
  EXPECT_EQ(NumPieces(INT64_MAX), INT64_MAX / kPieceBytes + 1);
}

}  // namespace
}  // namespace liquid
