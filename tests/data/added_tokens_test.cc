#include "data/added_tokens.h"

#include <string>
#include <vector>

#include "data/concat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::StatusIs;

// Text as it is, tokens in brackets.
std::vector<std::string> Pieces(const std::vector<AddedToken>& tokens, const std::string& text) {
  AddedTokenFinder finder;
  for (const AddedToken& token : tokens) finder.Add(token.content, &token);
  std::vector<std::string> pieces;
  finder.Split(
      {text}, [&](const TextSpan& span) { pieces.emplace_back(span.text); },
      [&](const AddedToken&, const TextSpan& span) {
        pieces.push_back(Concat("[", span.text, "]"));
      });
  return pieces;
}

TEST(AddedTokenFinderTest, FindsTheLeftmostAndOfThoseTheLongest) {
  const std::vector<AddedToken> tokens = {{"<a>", 1}, {"<a><b>", 2}, {"b><", 3}};
  EXPECT_THAT(Pieces(tokens, "x<a>y<a><b><c"), ElementsAre("x", "[<a>]", "y", "[<a><b>]", "<c"));
  EXPECT_THAT(Pieces(tokens, "<b><a>"), ElementsAre("<", "[b><]", "a>"));
  EXPECT_THAT(Pieces(tokens, "<a><b"), ElementsAre("[<a>]", "<b"));
  EXPECT_THAT(Pieces({}, "<a>"), ElementsAre("<a>"));
}

TEST(AddedTokenFinderTest, StripsTakeTheSpaceAround) {
  EXPECT_THAT(Pieces({{.content = "M", .strip_left = true}}, "a \n M b"),
              ElementsAre("a", "[ \n M]", " b"));
  EXPECT_THAT(Pieces({{.content = "M", .strip_right = true}},
                     "a M \xE3\x80\x80"
                     "b"),
              ElementsAre("a ", "[M \xE3\x80\x80]", "b"));
  EXPECT_THAT(Pieces({{.content = "M", .strip_left = true, .strip_right = true}}, " M M "),
              ElementsAre("[ M ]", "[M ]"));
}

TEST(AddedTokenFinderTest, ASingleWordStandsAlone) {
  const std::vector<AddedToken> tokens = {{.content = "go", .single_word = true}};
  EXPECT_THAT(Pieces(tokens, "go, gogo ago go_ go"),
              ElementsAre("[go]", ", gogo ago go_ ", "[go]"));
  EXPECT_THAT(Pieces(tokens, "\xC3\xA9go go\xC3\xA9"), ElementsAre("\xC3\xA9go go\xC3\xA9"));
}

TEST(ReadAddedTokensTest, RefusesContradictions) {
  Vocabulary vocabulary;
  ASSERT_TRUE(vocabulary.Add("a", 0).ok());
  ASSERT_TRUE(vocabulary.Add("b", 1).ok());
  for (const auto& [json, words] : std::vector<std::pair<std::string, std::string>>{
           {R"([{"id":1,"content":"a"}])", "the vocabulary says 0"},
           {R"([{"id":1,"content":"c"}])", "that of the vocabulary's \"b\""},
           {R"([{"id":5,"content":"c"},{"id":6,"content":"c"}])", "listed twice"},
           {R"([{"id":5,"content":"c"},{"id":5,"content":"d"}])", "used twice"},
           {R"([{"id":-1,"content":"c"}])", "added_tokens[0].id: -1"},
           {R"([{"id":99999999999,"content":"c"}])", "not in [0"},
           {R"([{"id":18446744073709551615,"content":"c"}])", "too large"},
           {R"([{"id":1.5,"content":"c"}])", "whole number"},
           {R"([{"id":5,"content":5}])", "content: must be a string"},
           {R"([{"id":5,"content":"c","special":1}])", "special: must be true or false"},
           {R"([{"id":5,"content":"c","fuzzy":true}])", "fuzzy"},
           {R"([5])", "must be an object"},
           {R"({})", "must be a list"}}) {
    EXPECT_THAT(ReadAddedTokens(nlohmann::json::parse(json), vocabulary),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(words)))
        << json;
  }
}

}  // namespace
}  // namespace liquid
