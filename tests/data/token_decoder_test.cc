#include "data/token_decoder.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::testing::HasSubstr;
using testing::StatusIs;

const std::string kMark = "\xE2\x96\x81";
const std::string kReplacement = "\xEF\xBF\xBD";

std::string Decoded(const std::string& json, std::vector<std::string> tokens) {
  const auto decoder = TokenDecoder::FromJson(nlohmann::json::parse(json));
  EXPECT_TRUE(decoder.ok()) << decoder.status();
  return decoder.ok() ? decoder->Decode(std::move(tokens)) : "";
}

TEST(TokenDecoderTest, NoneJoinsBySpaces) { EXPECT_EQ(Decoded("null", {"a", "b"}), "a b"); }

TEST(TokenDecoderTest, ByteLevelJoinsBytesAcrossTokens) {
  const std::string json = R"({"type":"ByteLevel"})";
  EXPECT_EQ(Decoded(json, {"\xC3\x83", "\xC2\xA9", "\xC4\xA0x"}), "\xC3\xA9 x");
  EXPECT_EQ(Decoded(json, {"\xC3\x83", "a"}), kReplacement + "a");
  EXPECT_EQ(Decoded(json, {"<a b>", kMark}), "<a b>" + kMark);  // not of the alphabet
}

TEST(TokenDecoderTest, SentencePieceSequence) {
  const std::string json = R"({"type":"Sequence","decoders":[
      {"type":"Replace","pattern":{"String":")" +
                           kMark + R"("},"content":" "},
      {"type":"ByteFallback"},{"type":"Fuse"},
      {"type":"Strip","content":" ","start":1,"stop":0}]})";
  EXPECT_EQ(Decoded(json, {kMark, kMark + "a", "b" + kMark}), " ab ");
  EXPECT_EQ(Decoded(json, {"<0xC3>", "<0xA9>", "x"}), "\xC3\xA9x");
  EXPECT_EQ(Decoded(json, {"<0xC3>", "x"}), kReplacement + "x");
  EXPECT_EQ(Decoded(json, {"<0xE2>", "<0x82>"}), kReplacement + kReplacement);
  EXPECT_EQ(Decoded(json, {"<0xZZ>", "<0x4>"}), "<0xZZ><0x4>");
  EXPECT_EQ(Decoded(json, {}), "");
}

TEST(TokenDecoderTest, MetaspaceDropsTheFirstPrefix) {
  const std::string head = R"({"type":"Metaspace","replacement":")" + kMark + "\"";
  EXPECT_EQ(Decoded(head + R"(,"prepend_scheme":"always"})", {kMark + "a", kMark + "b"}), "a b");
  EXPECT_EQ(Decoded(head + R"(,"prepend_scheme":"never"})", {kMark + "a", kMark + "b"}), " a b");
}

TEST(TokenDecoderTest, RefusesWhatItDoesNotImplementByName) {
  for (const auto& [json, words] : std::vector<std::pair<std::string, std::string>>{
           {R"({"type":"WordPiece"})", "decoder.type: the decoder \"WordPiece\""},
           {R"({"type":"Replace","content":""})", "String"},
           {R"({"type":"Replace","pattern":{"Regex":"a"},"content":""})", "Regex"},
           {R"({"type":"Strip","content":" ","start":-1,"stop":0})", "negative"},
           {R"({"type":"Strip","content":"","start":1,"stop":0})", "empty"},
           {R"({"type":"Sequence","decoders":{}})", "decoders: must be a list"}}) {
    EXPECT_THAT(TokenDecoder::FromJson(nlohmann::json::parse(json)),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(words)))
        << json;
  }
}

}  // namespace
}  // namespace liquid
