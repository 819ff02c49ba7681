#include "data/shown_tokens.h"

#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;

TEST(ShownTokensTest, SplitsWhereTheMaskChanges) {
  const auto tokenizer = Tokenizer::Load("configs/quickstart/tokenizer");
  ASSERT_THAT(tokenizer, IsOk());
  std::vector<int32_t> tokens;
  for (const char* part : {"a", "b", "c", "d", "e"}) (*tokenizer)->Encode(part, &tokens);
  ASSERT_EQ(tokens.size(), 5u);
  const std::vector<ShownPiece> pieces =
      ShowTokens(**tokenizer, tokens, std::vector<uint8_t>{0, 1, 1, 3, 2}, {0.5F, 4.0F});
  ASSERT_EQ(pieces.size(), 4u);
  EXPECT_EQ(pieces[2].text, "d");
  EXPECT_TRUE(pieces[2].trained);
  EXPECT_EQ(pieces[2].weight, 4);
  EXPECT_EQ(ShownText(pieces), "a[[bc]][[4|d]][[0.5|e]]");
  EXPECT_EQ(ShownText({}), "");
}

}  // namespace
}  // namespace liquid
