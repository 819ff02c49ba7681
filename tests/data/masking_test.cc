#include "data/masking.h"

#include "gmock/gmock.h"

namespace liquid {
namespace {

using ::testing::ElementsAre;

TEST(MaskTokensTest, TrainsTokensThatOverlapATrainedRange) {
  const std::vector<ByteRange> tokens = {{0, 2}, {2, 5}, {5, 8}, {8, 9}, {9, 12}};
  EXPECT_THAT(MaskTokens(tokens, {{5, 9}}), ElementsAre(0, 0, 1, 1, 0));
  EXPECT_THAT(MaskTokens(tokens, {{4, 6}}),
              ElementsAre(0, 1, 1, 0, 0));  // both edges inside tokens
  EXPECT_THAT(MaskTokens(tokens, {{0, 1}, {9, 12}}), ElementsAre(1, 0, 0, 0, 1));
  EXPECT_THAT(MaskTokens(tokens, {}), ElementsAre(0, 0, 0, 0, 0));
  EXPECT_THAT(MaskTokens({}, {{0, 3}}), ElementsAre());
}

TEST(MaskTokensTest, OneTokenMayTouchSeveralRanges) {
  EXPECT_THAT(MaskTokens({{0, 10}, {10, 12}}, {{1, 2}, {3, 4}, {11, 12}}), ElementsAre(1, 1));
}

TEST(MaskTokensTest, AllTokensOfOneCharacterShareItsFate) {
  const std::vector<ByteRange> tokens = {{0, 1}, {1, 4}, {1, 4}, {1, 4}, {4, 5}};
  EXPECT_THAT(MaskTokens(tokens, {{1, 4}}), ElementsAre(0, 1, 1, 1, 0));
}

TEST(MaskTokensTest, TokensFromNoTextAreNotTrained) {
  EXPECT_THAT(MaskTokens({{0, 0}, {0, 3}, {3, 3}}, {{0, 3}}), ElementsAre(0, 1, 0));
  EXPECT_THAT(MaskTokens({{2, 2}}, {{0, 5}}), ElementsAre(0));
}

TEST(MaskRunsTest, JoinsEqualNeighbours) {
  EXPECT_THAT(MaskRuns({}), ElementsAre());
  const std::vector<uint8_t> mask = {0, 0, 1, 1, 1, 0};
  EXPECT_THAT(MaskRuns(mask),
              ElementsAre(MaskRun{0, 2, false}, MaskRun{2, 5, true}, MaskRun{5, 6, false}));
}

}  // namespace
}  // namespace liquid
