#include "data/tokenizer_config.h"

#include <string>

#include "base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::IsOk;
using ::testing::Pair;
using testing::StatusIs;

// A directory of its own for each test.
std::string TestDirectory() {
  const std::string directory = JoinPath(
      ::testing::TempDir(), std::string("tokenizer_config_") +
                                ::testing::UnitTest::GetInstance()->current_test_info()->name());
  EXPECT_THAT(RemoveRecursively(directory), IsOk());
  EXPECT_THAT(MakeDirectories(directory), IsOk());
  return directory;
}

TEST(TokenizerConfigTest, ReadsTokensAsStringsAndObjects) {
  const auto config = TokenizerConfig::FromJson(R"({
    "bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false}, "pad_token": null,
    "add_bos_token": true, "add_eos_token": null, "additional_special_tokens": ["<a>",
    {"content": "<b>"}], "extra_special_tokens": {"image_token": "<image>"},
    "model_max_length": 100})",
                                                "config");
  ASSERT_THAT(config, IsOk());
  EXPECT_THAT(config->special_tokens,
              ElementsAre(Pair("bos_token", "<s>"), Pair("eos_token", "</s>"),
                          Pair("image_token", "<image>")));
  EXPECT_THAT(config->additional_special_tokens, ElementsAre("<a>", "<b>"));
  EXPECT_EQ(config->add_bos_token, true);
  EXPECT_EQ(config->add_eos_token, std::nullopt);
  EXPECT_EQ(config->SpecialToken("eos_token"), "</s>");
  EXPECT_EQ(config->SpecialToken("pad_token"), std::nullopt);
  EXPECT_EQ(config->ChatTemplate(), std::nullopt);
}

TEST(TokenizerConfigTest, ReadsOneTemplateOrSeveral) {
  const auto one = TokenizerConfig::FromJson(R"({"chat_template": "T"})", "config");
  ASSERT_THAT(one, IsOk());
  EXPECT_EQ(one->ChatTemplate(), "T");
  const auto several = TokenizerConfig::FromJson(
      R"({"chat_template": [{"name":"default","template":"D"},{"name":"rag","template":"R"}]})",
      "config");
  ASSERT_THAT(several, IsOk());
  EXPECT_EQ(several->ChatTemplate(), "D");
  EXPECT_EQ(several->ChatTemplate("rag"), "R");
  EXPECT_EQ(several->ChatTemplate("tool_use"), std::nullopt);
}

TEST(TokenizerConfigTest, TemplateFilesWin) {
  const std::string directory = TestDirectory();
  const auto write = [&](const std::string& name, const std::string& content) {
    EXPECT_THAT(WriteFileAtomically(JoinPath(directory, name), content), IsOk());
  };
  write("tokenizer_config.json", R"({"chat_template": "from json", "bos_token": "<s>"})");
  EXPECT_EQ(TokenizerConfig::Load(directory)->ChatTemplate(), "from json");
  write("chat_template.jinja", "from file\n");
  EXPECT_THAT(MakeDirectories(JoinPath(directory, "additional_chat_templates")), IsOk());
  write("additional_chat_templates/rag.jinja", "rag");
  write("additional_chat_templates/notes.txt", "no template");
  const auto config = TokenizerConfig::Load(directory);
  ASSERT_THAT(config, IsOk());
  EXPECT_THAT(config->chat_templates,
              ElementsAre(Pair("default", "from file\n"), Pair("rag", "rag")));
  EXPECT_EQ(config->SpecialToken("bos_token"), "<s>");
}

TEST(TokenizerConfigTest, FilesThatAreNotThereSayNothing) {
  const auto config = TokenizerConfig::Load(TestDirectory());
  ASSERT_THAT(config, IsOk());
  EXPECT_TRUE(config->special_tokens.empty());
  EXPECT_TRUE(config->chat_templates.empty());
}

TEST(TokenizerConfigTest, RefusesWrongTypesByKey) {
  for (const auto& [json, words] : std::vector<std::pair<std::string, std::string>>{
           {"{", "config: is not valid JSON"},
           {"[]", "config: must be an object"},
           {R"({"eos_token": 3})", "config: eos_token: must be a string or"},
           {R"({"eos_token": {"text": "a"}})", "eos_token"},
           {R"({"add_bos_token": "yes"})", "add_bos_token"},
           {R"({"additional_special_tokens": "a"})", "must be a list"},
           {R"({"chat_template": 1})", "chat_template: must be a string or a list"},
           {R"({"chat_template": [{"name": "a"}]})", "chat_template[0]"},
           {R"({"chat_template": [{"name":"a","template":""},{"name":"a","template":""}]})",
            "\"a\" is there twice"}}) {
    EXPECT_THAT(TokenizerConfig::FromJson(json, "config"),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(words)))
        << json;
  }
}

}  // namespace
}  // namespace liquid
