#include "data/nfc.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace liquid {
namespace {

using ::testing::ElementsAre;

std::string Utf8(std::initializer_list<uint32_t> code_points) {
  std::string text;
  for (const uint32_t c : code_points) AppendUtf8(c, &text);
  return text;
}

std::string Normalized(const std::string& text) {
  static const Nfc nfc;
  AlignedText out;
  if (!nfc.MayChange(text)) return text;
  nfc.Normalize({text}, false, &out);
  return out.text;
}

TEST(NfcTest, ComposesAndLeavesComposedAlone) {
  EXPECT_EQ(Normalized(Utf8({'e', 0x301})), Utf8({0xE9}));
  EXPECT_EQ(Normalized(Utf8({0xE9})), Utf8({0xE9}));
  EXPECT_EQ(Normalized(Utf8({0x1EA5})), Utf8({0x1EA5}));
  EXPECT_EQ(Normalized(Utf8({'a', 0x302, 0x301})), Utf8({0x1EA5}));
  EXPECT_EQ(Normalized("plain"), "plain");
}

TEST(NfcTest, OrdersMarksByTheirClass) {
  EXPECT_EQ(Normalized(Utf8({'q', 0x307, 0x323})), Utf8({'q', 0x323, 0x307}));
  EXPECT_EQ(Normalized(Utf8({'d', 0x307, 0x323})), Utf8({0x1E0D, 0x307}));
}

TEST(NfcTest, AMarkOfTheSameClassBlocks) {
  EXPECT_EQ(Normalized(Utf8({'a', 0x315, 0x300})), Utf8({0xE0, 0x315}));
  EXPECT_EQ(Normalized(Utf8({'a', 0x305, 0x301})), Utf8({'a', 0x305, 0x301}));
}

TEST(NfcTest, ReplacesSingletonsAndExclusions) {
  EXPECT_EQ(Normalized(Utf8({0x212B})), Utf8({0xC5}));         // Angstrom sign
  EXPECT_EQ(Normalized(Utf8({0x958})), Utf8({0x915, 0x93C}));  // excluded
  EXPECT_EQ(Normalized(Utf8({0x2F800})), Utf8({0x4E3D}));      // compatibility ideograph
}

TEST(NfcTest, HangulComposes) {
  EXPECT_EQ(Normalized(Utf8({0x1100, 0x1161})), Utf8({0xAC00}));
  EXPECT_EQ(Normalized(Utf8({0x1100, 0x1161, 0x11A8})), Utf8({0xAC01}));
  EXPECT_EQ(Normalized(Utf8({0xAC00, 0x11A8})), Utf8({0xAC01}));
  EXPECT_EQ(Normalized(Utf8({0xAC00, 0x11A7})), Utf8({0xAC00, 0x11A7}));
}

TEST(NfcTest, KnowsNothingNewerThanUnicode9) {
  EXPECT_EQ(Normalized(Utf8({0x11935, 0x11930})), Utf8({0x11935, 0x11930}));  // Unicode 13
}

TEST(NfcTest, OriginsFollowTheCharacters) {
  const Nfc nfc;
  const std::string text = Utf8({'x', 'e', 0x301, 'y', 0x958});
  AlignedText out;
  nfc.Normalize({text, 10}, true, &out);
  EXPECT_EQ(out.text, Utf8({'x', 0xE9, 'y', 0x915, 0x93C}));
  const ByteRange e = {11, 12};
  const ByteRange qa = {15, 18};
  EXPECT_THAT(out.origins,
              ElementsAre(ByteRange{10, 11}, e, e, ByteRange{14, 15}, qa, qa, qa, qa, qa, qa));
}

}  // namespace
}  // namespace liquid
