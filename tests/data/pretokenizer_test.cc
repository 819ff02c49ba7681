#include "data/pretokenizer.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::StatusIs;

std::vector<std::string> Words(const std::string& json, const std::string& text) {
  const auto pretokenizer = PreTokenizer::FromJson(nlohmann::json::parse(json));
  EXPECT_TRUE(pretokenizer.ok()) << pretokenizer.status();
  std::vector<std::string> words;
  if (!pretokenizer.ok()) return words;
  pretokenizer->Split({text}, true, [&](const TextSpan& word) { words.emplace_back(word.text); });
  return words;
}

std::string Split(const std::string& behavior, const std::string& more = "") {
  return R"({"type":"Split","pattern":{"String":"-"},"behavior":")" + behavior + "\"" + more + "}";
}

TEST(PreTokenizerTest, NoneLeavesTheTextWhole) {
  EXPECT_THAT(Words("null", "a b"), ElementsAre("a b"));
  EXPECT_THAT(Words("null", ""), IsEmpty());
}

TEST(PreTokenizerTest, SplitsByEveryBehavior) {
  const std::string text = "the-final--countdown";
  EXPECT_THAT(Words(Split("Isolated"), text),
              ElementsAre("the", "-", "final", "-", "-", "countdown"));
  EXPECT_THAT(Words(Split("Removed"), text), ElementsAre("the", "final", "countdown"));
  EXPECT_THAT(Words(Split("MergedWithPrevious"), text),
              ElementsAre("the-", "final-", "-", "countdown"));
  EXPECT_THAT(Words(Split("MergedWithNext"), text),
              ElementsAre("the", "-final", "-", "-countdown"));
  EXPECT_THAT(Words(Split("Contiguous"), text),
              ElementsAre("the", "-", "final", "--", "countdown"));
}

TEST(PreTokenizerTest, InvertSwapsMatchesAndTheRest) {
  EXPECT_THAT(Words(Split("Removed", R"(,"invert":true)"), "a-b"), ElementsAre("-"));
  EXPECT_THAT(
      Words(R"({"type":"Split","pattern":{"Regex":"\\p{L}+"},"behavior":"Removed","invert":true})",
            "ab 12 cd"),
      ElementsAre("ab", "cd"));
}

TEST(PreTokenizerTest, ByteLevelSplitsAsGpt2Did) {
  EXPECT_THAT(Words(R"({"type":"ByteLevel","add_prefix_space":false})", "it's  42 ok!"),
              ElementsAre("it", "'s", " ", " 42", " ok", "!"));
  EXPECT_THAT(Words(R"({"type":"ByteLevel","add_prefix_space":true})", "a b"),
              ElementsAre(" a", " b"));
  EXPECT_THAT(Words(R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":false})", "a b"),
              ElementsAre("a b"));
}

TEST(PreTokenizerTest, DigitsComeInRunsOrOneByOne) {
  EXPECT_THAT(Words(R"({"type":"Digits","individual_digits":false})", "a12b3"),
              ElementsAre("a", "12", "b", "3"));
  EXPECT_THAT(Words(R"({"type":"Digits","individual_digits":true})", "a12b"),
              ElementsAre("a", "1", "2", "b"));
}

TEST(PreTokenizerTest, MetaspaceMarksAndPrefixes) {
  const std::string mark = "\xE2\x96\x81";
  const std::string head = R"({"type":"Metaspace","replacement":")" + mark + "\"";
  EXPECT_THAT(Words(head + R"(,"prepend_scheme":"always","split":true})", "a b"),
              ElementsAre(mark + "a", mark + "b"));
  EXPECT_THAT(Words(head + R"(,"prepend_scheme":"never","split":false})", "a b"),
              ElementsAre("a" + mark + "b"));
  const std::string sequence = R"({"type":"Sequence","pretokenizers":[)" + Split("Isolated") + "," +
                               head + R"(,"prepend_scheme":"first"}]})";
  EXPECT_THAT(Words(sequence, "a-b"), ElementsAre(mark + "a", "-", "b"));
}

TEST(PreTokenizerTest, WordsKnowTheirOrigin) {
  const auto pretokenizer = PreTokenizer::FromJson(nlohmann::json::parse(
      R"({"type":"Metaspace","replacement":"_","prepend_scheme":"always","split":true})"));
  ASSERT_TRUE(pretokenizer.ok());
  std::vector<ByteRange> ranges;
  pretokenizer->Split({"ab c", 100}, true, [&](const TextSpan& word) {
    ranges.push_back(word.OriginOf(0, word.text.size()));
  });
  EXPECT_THAT(ranges, ElementsAre(ByteRange{100, 102}, ByteRange{102, 104}));
}

TEST(PreTokenizerTest, RefusesWhatItDoesNotImplementByName) {
  const std::pair<std::string, std::string> kCases[] = {
      {R"({"type":"BertPreTokenizer"})", "pre_tokenizer.type: the pre-tokenizer \"BertPreTok"},
      {R"({"type":"Sequence","pretokenizers":[{"type":"Whitespace"}]})", "pretokenizers[0].type"},
      {R"({"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},{"type":"Digits"}]})",
       "after \"ByteLevel\""},
      {R"({"type":"Split","pattern":{"Regex":"\\w"},"behavior":"Isolated"})", R"(\w)"},
      {R"({"type":"Split","pattern":{"String":"a"},"behavior":"Odd"})", "Odd"},
      {R"({"type":"Split","pattern":{"String":3},"behavior":"Removed"})", "pattern.String"},
      {R"({"type":"Split","behavior":"Removed"})", "pattern: is missing"},
      {R"({"type":"Digits","new_option":1})", "new_option"},
      {R"({"type":"Metaspace","replacement":"ab"})", "one character"},
      {R"({"type":7})", "type"},
      {R"([1])", "must be an object"},
  };
  for (const auto& [json, words] : kCases) {
    EXPECT_THAT(PreTokenizer::FromJson(nlohmann::json::parse(json)),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(words)))
        << json;
  }
}

}  // namespace
}  // namespace liquid
