#include "cli/token_line.h"

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/checkpoint/sample_checkpoint.h"
#include "tests/testing/gzip_file.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::ReadPlainOrGzip;
using ::liquid::testing::TemporaryDirectory;
using ::liquid::testing::WriteBytes;
using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

constexpr char kGolden[] = "tests/data/golden/";

// Unpacks the golden tokenizer, with a tokenizer_config.json of these special tokens.
void MakeModelDirectory(const std::string& directory, const Json& special) {
  WriteBytes(directory + "/tokenizer.json",
             ReadPlainOrGzip(absl::StrCat(kGolden, "lfm2_surrogate/tokenizer.json")));
  WriteBytes(directory + "/tokenizer_config.json", special.dump());
}

Json Ask(const LineTokenizer& tokenizer, const std::string& line) {
  std::string out;
  tokenizer.Answer(line, &out);
  EXPECT_TRUE(!out.empty() && out.find('\n') == out.size() - 1) << out;
  return Json::parse(out, nullptr, /*allow_exceptions=*/false);
}

TEST(LineTokenizer, RendersGoldenChatsAndMasksAnswers) {
  const TemporaryDirectory directory;
  std::ifstream rows(absl::StrCat(kGolden, "chat/chat.jsonl"));
  std::string line;
  int num_checked = 0;
  std::string loaded;
  std::unique_ptr<LineTokenizer> tokenizer;
  while (std::getline(rows, line)) {
    const Json row = Json::parse(line);
    if (row["template"] != "trl_lfm2" && row["template"] != "trl_lfm2_training") continue;
    if (loaded != row["template"]) {
      loaded = row["template"];
      MakeModelDirectory(directory.path(), row["special"]);
      auto made = LineTokenizer::Load(directory.path(),
                                      absl::StrCat(kGolden, "chat/", loaded, ".jinja"), false);
      ASSERT_THAT(made, IsOk());
      tokenizer = std::make_unique<LineTokenizer>(*std::move(made));
    }
    const Json answer = Ask(*tokenizer, line);
    if (!row.contains("rendered")) {
      EXPECT_TRUE(answer.contains("error")) << line;
      continue;
    }
    ASSERT_TRUE(answer.contains("rendered")) << line << "\n" << answer;
    EXPECT_EQ(answer["rendered"], row["rendered"]) << row["case"];
    EXPECT_EQ(answer["mask"].size(), answer["ids"].size());
    const Json ids = Ask(*tokenizer, Json({{"text", row["rendered"]}}).dump());
    EXPECT_EQ(answer["ids"], ids["ids"]) << row["case"];
    ++num_checked;
  }
  EXPECT_GT(num_checked, 5);
}

TEST(LineTokenizer, AnswersEveryBadLineWithAnError) {
  const TemporaryDirectory directory;
  MakeModelDirectory(directory.path(), Json::object());
  const auto tokenizer = LineTokenizer::Load(directory.path(), "", false);
  ASSERT_THAT(tokenizer, IsOk());
  for (const std::string line :
       {"", "nonsense", "[1]", "{}", R"({"text": 3})", R"({"text": "cut)", R"({"messages": 3})",
        R"({"messages": [], "kwargs": 1})", R"({"messages": [{"role": "user", "content": "a"}]})",
        "{\"text\": \"\xff\"}"}) {
    EXPECT_TRUE(Ask(*tokenizer, line).contains("error")) << line;
  }
  const std::string deep = "{\"messages\":" + std::string(100000, '[');
  EXPECT_THAT(Ask(*tokenizer, deep)["error"].get<std::string>(), HasSubstr("nesting"));
}

TEST(LineTokenizer, AddsSpecialTokensToTextsOnlyWhenAsked) {
  const TemporaryDirectory directory;
  MakeModelDirectory(directory.path(), Json::object());
  const std::string line = R"({"text": "ls -la"})";
  const auto plain = LineTokenizer::Load(directory.path(), "", false);
  const auto special = LineTokenizer::Load(directory.path(), "", true);
  ASSERT_THAT(plain, IsOk());
  ASSERT_THAT(special, IsOk());
  const Json without = Ask(*plain, line)["ids"];
  Json with = Ask(*special, line)["ids"];
  EXPECT_FALSE(without.empty());
  const auto expected = Tokenizer::Load(directory.path());
  ASSERT_THAT(expected, IsOk());
  std::vector<int32_t> ids;
  (*expected)->Encode("ls -la", {.add_special_tokens = true}, &ids);
  EXPECT_EQ(with, Json(ids));
  ids.clear();
  (*expected)->Encode("ls -la", &ids);
  EXPECT_EQ(without, Json(ids));
}

TEST(LineTokenizer, ABrokenTemplateHindersOnlyMessages) {
  const TemporaryDirectory directory;
  MakeModelDirectory(directory.path(), {{"chat_template", "{% no such thing %}"}});
  const auto tokenizer = LineTokenizer::Load(directory.path(), "", false);
  ASSERT_THAT(tokenizer, IsOk());
  EXPECT_TRUE(Ask(*tokenizer, R"({"text": "a"})").contains("ids"));
  EXPECT_TRUE(
      Ask(*tokenizer, R"({"messages": [{"role": "user", "content": "a"}]})").contains("error"));
}

}  // namespace
}  // namespace liquid
