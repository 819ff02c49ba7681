#include "data/bpe.h"

#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "data/unicode.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::testing::ElementsAre;

using Pairs = std::vector<std::pair<std::string, std::string>>;

// A model of the letters a to d, and of merges that join what is given.
struct Letters {
  Vocabulary vocabulary;
  std::vector<BpeMerge> merges;

  explicit Letters(const Pairs& pairs = {}) {
    for (const char* letter : {"a", "b", "c", "d"}) Add(letter);
    for (const auto& [left, right] : pairs) {
      if (vocabulary.IdOf(left + right) == Vocabulary::kNone) Add(left + right);
      merges.push_back(
          {vocabulary.IdOf(left), vocabulary.IdOf(right), vocabulary.IdOf(left + right)});
    }
  }
  void Add(const std::string& token) {
    ASSERT_TRUE(vocabulary.Add(token, static_cast<int64_t>(vocabulary.num_tokens())).ok());
  }
};

std::vector<std::string> Tokens(const Vocabulary& vocabulary, const BpeModel& model,
                                const std::string& word) {
  BpeScratch scratch;
  std::vector<int32_t> ids;
  std::vector<uint32_t> begins;
  model.EncodeWord(word, &scratch, &ids, &begins);
  std::vector<std::string> tokens;
  for (const int32_t id : ids) tokens.emplace_back(vocabulary.TokenOf(id));
  EXPECT_EQ(ids.size(), begins.size());
  return tokens;
}

// The definition: the pair of the lowest rank, the leftmost of those, until there is none.
std::vector<int32_t> MergeByDefinition(std::vector<int32_t> ids,
                                       const std::vector<BpeMerge>& merges) {
  for (;;) {
    size_t best_rank = merges.size();
    size_t best = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      for (size_t rank = 0; rank < best_rank; ++rank) {
        if (merges[rank].left == ids[i] && merges[rank].right == ids[i + 1]) {
          best_rank = rank;
          best = i;
        }
      }
    }
    if (best_rank == merges.size()) return ids;
    ids[best] = merges[best_rank].merged;
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
}

TEST(BpeTest, MergesByRankThenFromTheLeft) {
  const Letters letters(Pairs{{"b", "c"}, {"a", "b"}, {"a", "a"}});
  const auto model = BpeModel::Create(letters.vocabulary, letters.merges, {});
  ASSERT_TRUE(model.ok());
  EXPECT_THAT(Tokens(letters.vocabulary, *model, "abc"), ElementsAre("a", "bc"));
  EXPECT_THAT(Tokens(letters.vocabulary, *model, "abab"), ElementsAre("ab", "ab"));
  EXPECT_THAT(Tokens(letters.vocabulary, *model, "aaa"), ElementsAre("aa", "a"));
}

TEST(BpeTest, WordsOfAnyLengthFollowTheDefinition) {
  const Letters letters(Pairs{{"a", "b"},
                              {"b", "b"},
                              {"ab", "ab"},
                              {"c", "a"},
                              {"bb", "a"},
                              {"a", "a"},
                              {"aa", "aa"},
                              {"abab", "c"},
                              {"d", "ca"},
                              {"ca", "ca"}});
  const auto model = BpeModel::Create(letters.vocabulary, letters.merges, {});
  ASSERT_TRUE(model.ok());
  std::mt19937 random(7);
  BpeScratch scratch;
  for (int round = 0; round < 2000; ++round) {
    std::string word;
    std::vector<int32_t> symbols;
    const size_t length = 1 + random() % 60;  // both sides of the switch to a heap
    while (word.size() < length) {
      symbols.push_back(static_cast<int32_t>(random() % 4));
      word.push_back(static_cast<char>('a' + symbols.back()));
    }
    std::vector<int32_t> ids;
    std::vector<uint32_t> begins;
    model->EncodeWord(word, &scratch, &ids, &begins);
    ASSERT_EQ(ids, MergeByDefinition(symbols, letters.merges)) << word;
    std::vector<int32_t> cached;
    for (int repeat = 0; repeat < 2; ++repeat) {  // the second from the cache
      cached.clear();
      model->EncodeWord(word, &scratch, &cached, nullptr);
      ASSERT_EQ(cached, ids) << word;
    }
    std::string joined;
    for (size_t i = 0; i < ids.size(); ++i) {
      ASSERT_EQ(begins[i], joined.size()) << word;
      joined += letters.vocabulary.TokenOf(ids[i]);
    }
    ASSERT_EQ(joined, word);
  }
}

TEST(BpeTest, AWordThatIsATokenStaysWholeIfMergesAreIgnored) {
  Letters letters(Pairs{{"a", "b"}});
  letters.Add("abc");
  const auto merged = BpeModel::Create(letters.vocabulary, letters.merges, {});
  EXPECT_THAT(Tokens(letters.vocabulary, *merged, "abc"), ElementsAre("ab", "c"));
  const auto whole = BpeModel::Create(letters.vocabulary, letters.merges, {.ignore_merges = true});
  EXPECT_THAT(Tokens(letters.vocabulary, *whole, "abc"), ElementsAre("abc"));
}

TEST(BpeTest, UnknownCharactersFuseFallBackOrGoMissing) {
  Letters letters;
  letters.Add("?");
  const int32_t unknown = letters.vocabulary.IdOf("?");
  const auto one = BpeModel::Create(letters.vocabulary, {}, {.unknown_id = unknown});
  EXPECT_THAT(Tokens(letters.vocabulary, *one, "axyb"), ElementsAre("a", "?", "?", "b"));
  const auto fused =
      BpeModel::Create(letters.vocabulary, {}, {.fuse_unknown = true, .unknown_id = unknown});
  EXPECT_THAT(Tokens(letters.vocabulary, *fused, "axyb"), ElementsAre("a", "?", "b"));
  const auto missing = BpeModel::Create(letters.vocabulary, {}, {});
  EXPECT_THAT(Tokens(letters.vocabulary, *missing, "axyb"), ElementsAre("a", "b"));
  letters.Add("<0xC3>");
  letters.Add("<0xA9>");
  const auto bytes =
      BpeModel::Create(letters.vocabulary, {}, {.byte_fallback = true, .unknown_id = unknown});
  EXPECT_THAT(Tokens(letters.vocabulary, *bytes,
                     "a\xC3\xA9"
                     "b\xC3\xA8"),
              ElementsAre("a", "<0xC3>", "<0xA9>", "b", "?"));
}

TEST(BpeTest, CuttingATextChangesNothing) {
  const std::string space = "\xE2\x96\x81";
  Letters letters;
  letters.Add(space);
  const Pairs pairs = {{"a", "b"},         {space, "a"},   {"d", space},
                       {space + "a", "b"}, {space, space}, {"c", "d"}};
  for (const auto& [left, right] : pairs) {
    letters.Add(left + right);
    letters.merges.push_back({letters.vocabulary.IdOf(left), letters.vocabulary.IdOf(right),
                              letters.vocabulary.IdOf(left + right)});
  }
  const auto model = BpeModel::Create(letters.vocabulary, letters.merges, {});
  ASSERT_TRUE(model.ok());
  std::mt19937 random(11);
  BpeScratch scratch;
  for (int round = 0; round < 1000; ++round) {
    std::string text;
    for (size_t i = 0, n = 1 + random() % 40; i < n; ++i) {
      const size_t letter = random() % 7;
      text += letter < 4 ? std::string(1, static_cast<char>('a' + letter)) : space;
    }
    std::vector<int32_t> cut;
    std::vector<uint32_t> cut_begins;
    model->EncodeText(text, &scratch, &cut, &cut_begins);
    std::vector<int32_t> whole;
    std::vector<uint32_t> whole_begins;
    model->EncodeWord(text, &scratch, &whole, &whole_begins);
    ASSERT_EQ(cut, whole) << text;
    ASSERT_EQ(cut_begins, whole_begins) << text;
  }
}

TEST(BpeTest, CuttingATextWithBytesOfUnknownCharactersChangesNothing) {
  const std::string space = "\xE2\x96\x81";
  Letters letters;
  letters.Add(space);
  for (int byte = 0; byte < 256; ++byte) letters.Add(absl::StrFormat("<0x%02X>", byte));
  for (const auto& [left, right] : Pairs{{"a", "b"}, {space, "a"}, {"ab", "c"}}) {
    letters.Add(left + right);
    letters.merges.push_back({letters.vocabulary.IdOf(left), letters.vocabulary.IdOf(right),
                              letters.vocabulary.IdOf(left + right)});
  }
  const std::vector<std::string> characters = {"a", "b", "c", "x", "\n", "\xC3\xA9", space};
  // Without merges of bytes, and with one of "\n", which no cut may part then.
  for (const bool bytes_merge : {false, true}) {
    if (bytes_merge) {
      letters.Add("<0x0A><0x0A>");
      letters.merges.push_back({letters.vocabulary.IdOf("<0x0A>"),
                                letters.vocabulary.IdOf("<0x0A>"),
                                letters.vocabulary.IdOf("<0x0A><0x0A>")});
    }
    const auto model =
        BpeModel::Create(letters.vocabulary, letters.merges, {.byte_fallback = true});
    ASSERT_TRUE(model.ok());
    std::mt19937 random(13);
    BpeScratch scratch;
    for (int round = 0; round < 1000; ++round) {
      std::string text;
      for (size_t i = 0, n = 1 + random() % 60; i < n; ++i) {
        text += characters[random() % characters.size()];
      }
      std::vector<int32_t> cut;
      std::vector<int32_t> soon;
      std::vector<int32_t> whole;
      std::vector<uint32_t> cut_begins;
      std::vector<uint32_t> whole_begins;
      model->EncodeText(text, &scratch, &cut, &cut_begins);
      model->EncodeText(text, &scratch, &soon, nullptr);
      model->EncodeWord(text, &scratch, &whole, &whole_begins);
      ASSERT_EQ(cut, whole) << text;
      ASSERT_EQ(soon, whole) << text;
      ASSERT_EQ(cut_begins, whole_begins) << text;
    }
  }
}

TEST(BpeTest, ByteFallbackAtByteLevelNeedsEveryByte) {
  const Letters letters;
  EXPECT_FALSE(
      BpeModel::Create(letters.vocabulary, {}, {.byte_level = true, .byte_fallback = true}).ok());
}

TEST(BpeTest, TheByteAlphabetIsThatOfGpt2) {
  std::string bytes;
  EXPECT_TRUE(ByteLevelToBytes("\xC4\xA0hi\xC4\x8A", &bytes));
  EXPECT_EQ(bytes, " hi\n");
  EXPECT_TRUE(ByteLevelToBytes("\xC3\x83\xC2\xA9", &bytes));
  EXPECT_EQ(bytes, "\xC3\xA9");
  EXPECT_FALSE(ByteLevelToBytes("a b", &bytes));
  EXPECT_FALSE(ByteLevelToBytes("\xE2\x96\x81", &bytes));
}

TEST(VocabularyTest, FindsWhatWasAddedAndRefusesTheRest) {
  Vocabulary vocabulary;
  EXPECT_EQ(vocabulary.IdOf("a"), Vocabulary::kNone);
  for (int64_t id = 0; id < 1000; ++id) {
    ASSERT_TRUE(vocabulary.Add("token" + std::to_string(id), id * 3).ok());
  }
  EXPECT_EQ(vocabulary.IdOf("token999"), 2997);
  EXPECT_EQ(vocabulary.TokenOf(2997), "token999");
  EXPECT_EQ(vocabulary.TokenOf(2996), "");
  EXPECT_EQ(vocabulary.TokenOf(-1), "");
  EXPECT_EQ(vocabulary.id_limit(), 2998);
  EXPECT_FALSE(vocabulary.Add("token7", 4000).ok());  // the token again
  EXPECT_FALSE(vocabulary.Add("other", 2997).ok());   // the id again
  EXPECT_FALSE(vocabulary.Add("other", -1).ok());
  EXPECT_FALSE(vocabulary.Add("other", int64_t{1} << 40).ok());
  EXPECT_EQ(vocabulary.num_tokens(), 1000u);
}

}  // namespace
}  // namespace liquid
