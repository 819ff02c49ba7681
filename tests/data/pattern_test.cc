#include "data/pattern.h"

#include <initializer_list>
#include <random>
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

// The matches in `text` and, in brackets, what lies between them.
std::vector<std::string> Pieces(std::string_view pattern, std::string_view text) {
  const absl::StatusOr<Pattern> compiled = Pattern::Compile(pattern);
  EXPECT_TRUE(compiled.ok()) << compiled.status();
  std::vector<std::string> pieces;
  if (!compiled.ok()) return pieces;
  std::string between;
  for (size_t at = 0; at < text.size();) {
    const size_t length = compiled->MatchAt(text, at);
    EXPECT_EQ(compiled->MatchByBacktracking(text, at), length) << text.substr(at);
    if (length == 0) {
      between += text[at++];
      continue;
    }
    if (!between.empty()) pieces.push_back(Concat("[", between, "]"));
    between.clear();
    pieces.emplace_back(text.substr(at, length));
    at += length;
  }
  if (!between.empty()) pieces.push_back(Concat("[", between, "]"));
  return pieces;
}

TEST(PatternTest, TakesTheFirstAlternativeThatMatches) {
  EXPECT_THAT(Pieces("a|ab|b", "abab"), ElementsAre("a", "b", "a", "b"));
  EXPECT_THAT(Pieces("ab|a|b", "abab"), ElementsAre("ab", "ab"));
}

TEST(PatternTest, GivesBackCharactersUntilTheRestMatches) {
  EXPECT_THAT(Pieces(R"(\s+(?!\S)|\s+)",
                     "  a   b \xE3\x80\x80"
                     "c"),
              ElementsAre(" ", " ", "[a]", "  ", " ", "[b]", " ", "\xE3\x80\x80", "[c]"));
  EXPECT_THAT(Pieces("[a-c]*c", "abcabx"), ElementsAre("abc", "[abx]"));
}

TEST(PatternTest, APossessiveQuantifierGivesNothingBack) {
  EXPECT_THAT(Pieces("a++a", "aaa"), ElementsAre("[aaa]"));
  EXPECT_THAT(Pieces("a?+b", "abb"), ElementsAre("ab", "b"));
}

TEST(PatternTest, BacktracksIntoGroups) {
  EXPECT_THAT(Pieces("(?:a|ab)c", "abc"), ElementsAre("abc"));
  EXPECT_THAT(Pieces("x(?:a+)?ab", "xaaab"), ElementsAre("xaaab"));
}

TEST(PatternTest, CountsCharactersNotBytes) {
  EXPECT_THAT(Pieces(R"(\p{N}{1,3})", "12345\xD9\xA1"), ElementsAre("123", "45\xD9\xA1"));
  EXPECT_THAT(Pieces("[^a]{2}", "\xC3\xA9\xC3\xA9\xC3\xA9"),
              ElementsAre("\xC3\xA9\xC3\xA9", "[\xC3\xA9]"));
}

TEST(PatternTest, IgnoresCaseWithTheLettersThatFoldToAscii) {
  EXPECT_THAT(Pieces("(?i:'s|'k)", "'S's'\xC5\xBF'\xE2\x84\xAA'x"),
              ElementsAre("'S", "'s", "'\xC5\xBF", "'\xE2\x84\xAA", "['x]"));
  EXPECT_THAT(Pieces("'(?i:[sd]|ll)", "'S'LL's"), ElementsAre("'S", "'LL", "'s"));
}

TEST(PatternTest, ReadsClasses) {
  EXPECT_THAT(Pieces(R"([\]\-a-c\\]+)", "]-\\abcd"), ElementsAre("]-\\abc", "[d]"));
  EXPECT_THAT(Pieces(R"([\p{Lu}\p{M}]+)",
                     "A\xCC\x81"
                     "b"),
              ElementsAre("A\xCC\x81", "[b]"));
  EXPECT_THAT(Pieces(R"([^\s\p{L}]+)", "a+-1 b"), ElementsAre("[a]", "+-1", "[ b]"));
  EXPECT_THAT(Pieces(R"(\.)", "a.b"), ElementsAre("[a]", ".", "[b]"));
}

// Of random patterns, on random texts, nearly all in ASCII.
class RandomPattern {
 public:
  explicit RandomPattern(uint32_t seed) : random_(seed) {}

  std::string Alternatives(int depth) {
    std::string text = Sequence(depth);
    for (size_t n = Below(3); n > 0; --n) text += "|" + Sequence(depth);
    return text;
  }
  std::string Text() {
    std::string text;
    for (size_t n = 1 + Below(12); n > 0; --n) {
      text += Of({"a", "b", "A", " ", " ", "\n", "1", "2", ".", "\xC3\xA9"});
    }
    return text;
  }

 private:
  size_t Below(size_t n) { return random_() % n; }
  std::string Of(std::initializer_list<std::string> choices) {
    return *(choices.begin() + Below(choices.size()));
  }
  std::string Sequence(int depth) {
    std::string text;
    for (size_t n = 1 + Below(3); n > 0; --n) text += Element(depth);
    return text;
  }
  std::string Element(int depth) {
    const size_t kind = Below(10);
    if (kind == 0) return Of({"(?!\\S)", "(?!a)", "(?![ab])"});
    if (kind == 1 && depth < 2) return "(?:" + Alternatives(depth + 1) + ")" + Of({"", "?"});
    if (kind == 2 && depth < 2) return "(?i:" + Alternatives(depth + 1) + ")" + Of({"", "?"});
    return Of({"a", "b", "[ab]", "\\s", "\\p{L}", "\\p{N}", "[^\\s\\p{L}]", " "}) +
           Of({"", "", "?", "*", "+", "{2}", "{1,3}", "?+", "*+", "++"});
  }

  std::mt19937 random_;
};

TEST(PatternTest, TheTableFindsWhatBacktrackingFinds) {
  int num_compiled = 0;
  for (uint32_t seed = 0; seed < 4000; ++seed) {
    RandomPattern random(seed);
    const std::string source = random.Alternatives(0);
    const absl::StatusOr<Pattern> pattern = Pattern::Compile(source);
    if (!pattern.ok()) continue;  // may match nothing
    ++num_compiled;
    for (int i = 0; i < 20; ++i) {
      const std::string text = random.Text();
      for (size_t at = 0; at < text.size(); at += Utf8Length(text[at])) {
        ASSERT_EQ(pattern->MatchAt(text, at), pattern->MatchByBacktracking(text, at))
            << source << " at \"" << text.substr(at) << "\"";
      }
    }
  }
  EXPECT_GT(num_compiled, 1000);
}

TEST(PatternTest, APatternOfTooManyStatesStillMatches) {
  EXPECT_THAT(Pieces("[ab]{1,900}a[ab]{900}", std::string(1801, 'a')),
              ElementsAre(std::string(1801, 'a')));
  EXPECT_THAT(Pieces("a{0,900}[ab]{0,900}c", "aabc"), ElementsAre("aabc"));
  std::string slow = "!{1,1000}";
  for (int i = 0; i < 700; ++i) slow += "(?!a)";
  EXPECT_THAT(Pieces(slow + "~", "!!~"), ElementsAre("!!~"));
}

TEST(PatternTest, RefusesWhatItDoesNotImplementByName) {
  const std::pair<std::string, std::string> kCases[] = {
      {R"(\w+)", R"(\w)"},
      {R"(\p{Han})", R"(\p{Han})"},
      {"a|", "empty"},
      {"a*", "empty"},
      {"(?:a)+", "quantifier"},
      {"(?=a)b", "group"},
      {"(a)", "group"},
      {"a{1,2}{3}", "quantifier"},
      {"a+?", "quantifier"},
      {"[a", "not closed"},
      {"[[:alpha:]]", "class"},
      {"[z-a]", "backwards"},
      {"a)", "')'"},
      {"^a", "'^'"},
      {"a.", "'.'"},
      {"(?!ab)c", "group"},
      {"(?i:ss)", "ligature"},
      {"a{99999}", "number"},
      {"(?:a", "not closed"},
      {"a\\", "backslash"},
      {"a{3,2}", "quantifier"},
      {"", "1 to"},
      {"[a-\\p{L}]", "range"},
      {"(?!a)", "empty"},
  };
  for (const auto& [pattern, words] : kCases) {
    const absl::StatusOr<Pattern> compiled = Pattern::Compile(pattern);
    ASSERT_FALSE(compiled.ok()) << pattern;
    EXPECT_THAT(std::string(compiled.status().message()), HasSubstr(words)) << pattern;
  }
}

TEST(PatternTest, BoundsNestingAndGroups) {
  std::string deep = "a";
  for (int i = 0; i < 100; ++i) deep = "(?:" + deep + ")";
  EXPECT_FALSE(Pattern::Compile(deep).ok());
  std::string wide = "a";
  for (int i = 0; i < 50; ++i) wide += "(?:a|b)?";
  EXPECT_FALSE(Pattern::Compile(wide).ok());
  EXPECT_FALSE(Pattern::Compile(std::string(10000, 'a')).ok());
}

TEST(PatternTest, EveryPrefixOfARealPatternIsReadOrRefused) {
  const std::string pattern =
      R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{M}]*(?i:'s|'t)?|\p{N}{1,3}| ?[^\s]+[\r\n/]*|\s+(?!\S)|\s+)";
  for (size_t n = 0; n <= pattern.size(); ++n) {
    static_cast<void>(Pattern::Compile(pattern.substr(0, n)).ok());
    static_cast<void>(Pattern::Compile(pattern.substr(n)).ok());
  }
}

}  // namespace
}  // namespace liquid
