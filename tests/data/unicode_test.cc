#include "data/unicode.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace liquid {
namespace {

using ::testing::ElementsAre;

TEST(UnicodeTest, ValidPrefixEndsBeforeTheFirstMalformedByte) {
  EXPECT_TRUE(IsValidUtf8("plain ascii, long enough for a step of eight"));
  EXPECT_TRUE(IsValidUtf8("\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80"));
  EXPECT_EQ(ValidUtf8Prefix("ab\xC0\xAF"), 2u);        // overlong
  EXPECT_EQ(ValidUtf8Prefix("ab\xED\xA0\x80"), 2u);    // surrogate
  EXPECT_EQ(ValidUtf8Prefix("\xF4\x90\x80\x80"), 0u);  // beyond U+10FFFF
  EXPECT_EQ(ValidUtf8Prefix("abc\xE2\x82"), 3u);       // cut off
  EXPECT_EQ(ValidUtf8Prefix("01234567\x80"), 8u);      // no lead byte
}

TEST(UnicodeTest, EveryMaximalSubpartBecomesOneReplacement) {
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(ReplaceInvalidUtf8("a\xF0\x80\x80z"), "a" + r + r + r + "z");
  EXPECT_EQ(ReplaceInvalidUtf8("a\xF0\x9F\x98z"), "a" + r + "z");
  EXPECT_EQ(ReplaceInvalidUtf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), r + r + r + r + "A");
  EXPECT_EQ(ReplaceInvalidUtf8("\xC3"), r);
}

TEST(UnicodeTest, OriginsOfReplacementsPointIntoTheInput) {
  std::vector<size_t> origins;
  EXPECT_EQ(ReplaceInvalidUtf8("a\xFFz", &origins), "a\xEF\xBF\xBDz");
  EXPECT_THAT(origins, ElementsAre(0, 1, 1, 1, 2, 3));
}

TEST(UnicodeTest, TruncatedTellsWhatMightYetBecomeACharacter) {
  bool truncated = false;
  EXPECT_EQ(InvalidUtf8Length("\xF0\x9F\x98", &truncated), 3u);
  EXPECT_TRUE(truncated);
  EXPECT_EQ(InvalidUtf8Length("\xF0\x9F z", &truncated), 2u);
  EXPECT_FALSE(truncated);
  EXPECT_EQ(InvalidUtf8Length("\xFF", &truncated), 1u);
  EXPECT_FALSE(truncated);
}

TEST(UnicodeTest, AppendAndDecodeAreInverse) {
  for (const uint32_t c : {0x41u, 0x7Fu, 0x80u, 0x7FFu, 0x800u, 0xFFFDu, 0x10000u, 0x10FFFFu}) {
    std::string text;
    AppendUtf8(c, &text);
    EXPECT_EQ(DecodeUtf8(text.data()), c);
    EXPECT_EQ(Utf8Length(text[0]), text.size());
  }
}

TEST(UnicodeTest, ClassesAreThoseOfUnicode16) {
  const CharClassTable& table = CharClassTable::Get();
  EXPECT_EQ(table.Of('A'), CharClass::kUpper);
  EXPECT_EQ(table.Of('z'), CharClass::kLower);
  EXPECT_EQ(table.Of(0x1C5), CharClass::kTitle);
  EXPECT_EQ(table.Of(0x2B0), CharClass::kModifierLetter);
  EXPECT_EQ(table.Of(0x4E00), CharClass::kOtherLetter);
  EXPECT_EQ(table.Of(0x301), CharClass::kMark);
  EXPECT_EQ(table.Of('7'), CharClass::kDigit);
  EXPECT_EQ(table.Of(0xBD), CharClass::kOtherNumber);
  EXPECT_EQ(table.Of('_'), CharClass::kConnector);
  EXPECT_EQ(table.Of('!'), CharClass::kOtherPunctuation);
  EXPECT_EQ(table.Of('+'), CharClass::kOtherSymbol);
  EXPECT_EQ(table.Of('\t'), CharClass::kSpace);
  EXPECT_EQ(table.Of(0x3000), CharClass::kSpace);
  EXPECT_EQ(table.Of('\n'), CharClass::kNewline);
  EXPECT_EQ(table.Of(0x200B), CharClass::kOther);         // no white space, for all its name
  EXPECT_EQ(table.Of(0x10D4A), CharClass::kOtherLetter);  // Garay, new in Unicode 16
  EXPECT_EQ(table.Of(0x10FFFF), CharClass::kOther);
}

}  // namespace
}  // namespace liquid
