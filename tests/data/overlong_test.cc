#include "data/overlong.h"

#include <numeric>

#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::testing::HasSubstr;

Document MakeDocument(int size, std::vector<int> trained) {
  Document document;
  document.origin = {3, 14, 0};
  document.tokens.resize(static_cast<size_t>(size));
  std::iota(document.tokens.begin(), document.tokens.end(), 0);
  document.trained.resize(document.tokens.size(), 0);
  for (const int t : trained) document.trained[static_cast<size_t>(t)] = 1;
  return document;
}

TEST(FitDocumentTest, KeepsWhatFits) {
  for (const OverlongPolicy policy : {OverlongPolicy::kTruncate, OverlongPolicy::kSplit,
                                      OverlongPolicy::kDrop, OverlongPolicy::kError}) {
    OverlongCounts counts;
    const auto pieces = FitDocument(MakeDocument(8, {7}), policy, 8, &counts);
    ASSERT_THAT(pieces, IsOk());
    ASSERT_EQ(pieces->size(), 1u);
    EXPECT_EQ((*pieces)[0].tokens, MakeDocument(8, {}).tokens);
    EXPECT_EQ(counts.num_overlong, 0);
  }
}

TEST(FitDocumentTest, TruncateKeepsTheBeginning) {
  OverlongCounts counts;
  const auto pieces = FitDocument(MakeDocument(11, {3}), OverlongPolicy::kTruncate, 8, &counts);
  ASSERT_THAT(pieces, IsOk());
  ASSERT_EQ(pieces->size(), 1u);
  EXPECT_EQ((*pieces)[0].tokens.size(), 8u);
  EXPECT_EQ((*pieces)[0].tokens.back(), 7);
  EXPECT_EQ(counts.num_truncated, 1);
  EXPECT_EQ(counts.num_tokens_cut, 3);
  EXPECT_EQ(counts.num_untrained, 0);
}

TEST(FitDocumentTest, LeavesOutWhatHasNoTargetLeft) {
  OverlongCounts counts;
  const auto pieces = FitDocument(MakeDocument(11, {9, 10}), OverlongPolicy::kTruncate, 8, &counts);
  ASSERT_THAT(pieces, IsOk());
  EXPECT_TRUE(pieces->empty());
  EXPECT_EQ(counts.num_untrained, 1);
}

// Whatever the size: every target of the document is a target of exactly one piece, and follows
// the same token there.
TEST(FitDocumentTest, SplitPredictsEveryTargetOnce) {
  for (int size = 2; size < 60; ++size) {
    Document document = MakeDocument(size, {});
    document.trained.assign(document.trained.size(), 1);
    OverlongCounts counts;
    const auto pieces = FitDocument(document, OverlongPolicy::kSplit, 8, &counts);
    ASSERT_THAT(pieces, IsOk());
    std::vector<int> predicted(static_cast<size_t>(size), 0);
    int32_t part = 0;
    for (const Document& piece : *pieces) {
      EXPECT_LE(piece.tokens.size(), 8u);
      EXPECT_GE(piece.tokens.size(), 2u);
      EXPECT_EQ(piece.origin, (DocumentOrigin{3, 14, part++}));
      for (size_t t = 1; t < piece.tokens.size(); ++t) {
        EXPECT_EQ(piece.tokens[t], piece.tokens[t - 1] + 1);
        ++predicted[static_cast<size_t>(piece.tokens[t])];
      }
    }
    EXPECT_EQ(predicted[0], 0);
    predicted[0] = 1;
    EXPECT_THAT(predicted, ::testing::Each(1)) << size;
    EXPECT_EQ(counts.num_split, size > 8 ? 1 : 0);
    EXPECT_EQ(counts.num_tokens_cut, 0);
  }
}

TEST(FitDocumentTest, SplitLeavesOutPiecesWithoutTargets) {
  OverlongCounts counts;
  const auto pieces = FitDocument(MakeDocument(30, {2, 29}), OverlongPolicy::kSplit, 8, &counts);
  ASSERT_THAT(pieces, IsOk());
  ASSERT_EQ(pieces->size(), 2u);  // of five
  EXPECT_EQ((*pieces)[0].origin.part, 0);
  EXPECT_EQ((*pieces)[1].origin.part, 4);
  EXPECT_EQ(counts.num_untrained, 3);
}

TEST(FitDocumentTest, DropAndErrorSaySo) {
  OverlongCounts counts;
  const auto dropped = FitDocument(MakeDocument(9, {1}), OverlongPolicy::kDrop, 8, &counts);
  ASSERT_THAT(dropped, IsOk());
  EXPECT_TRUE(dropped->empty());
  EXPECT_EQ(counts.num_dropped, 1);
  EXPECT_EQ(counts.num_tokens_cut, 9);
  EXPECT_THAT(FitDocument(MakeDocument(9, {1}), OverlongPolicy::kError, 8, &counts),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("9 tokens do not fit into a row of 8")));
}

TEST(OverlongPolicyTest, NamesGoBothWays) {
  for (const char* name : {"truncate", "split", "drop", "error"}) {
    const auto policy = ParseOverlongPolicy(name);
    ASSERT_THAT(policy, IsOk());
    EXPECT_EQ(OverlongPolicyName(*policy), name);
  }
  EXPECT_THAT(ParseOverlongPolicy("cut"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'cut' is none of")));
}

TEST(FitDocumentTest, CountsTurnsThatAreCut) {
  // Turns at 1-2, 5-6 (weighted) and 9-10; rows of 6, 8 and 9 end in, and behind, the second.
  Document document = MakeDocument(11, {1, 2, 5, 6, 9, 10});
  document.trained[6] = 2;
  struct Case {
    int length;
    int64_t whole, cut, lost;
  };
  for (const Case& c :
       std::vector<Case>{{6, 1, 1, 1}, {8, 2, 0, 1}, {10, 2, 1, 0}, {11, 3, 0, 0}}) {
    OverlongCounts counts;
    ASSERT_THAT(FitDocument(document, OverlongPolicy::kTruncate, c.length, &counts), IsOk());
    EXPECT_EQ(counts.num_whole_turns, c.whole) << c.length;
    EXPECT_EQ(counts.num_cut_turns, c.cut) << c.length;
    EXPECT_EQ(counts.num_lost_turns, c.lost) << c.length;
    EXPECT_EQ(counts.num_cut_final_turns, c.length < 11 ? 1 : 0) << c.length;
  }
  OverlongCounts split;
  ASSERT_THAT(FitDocument(document, OverlongPolicy::kSplit, 6, &split), IsOk());
  EXPECT_EQ(split.num_whole_turns, 3);
  OverlongCounts dropped;
  ASSERT_THAT(FitDocument(document, OverlongPolicy::kDrop, 6, &dropped), IsOk());
  EXPECT_EQ(dropped.num_whole_turns + dropped.num_cut_turns + dropped.num_cut_final_turns, 0);
}

}  // namespace
}  // namespace liquid
