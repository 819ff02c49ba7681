// Every rendered chat as tokens, held against those of transformers, and the masks over them for
// every template that marks what is to be trained. The tokenizers are too large to be kept here:
// LIQUID_SHARED (default ../shared).
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "data/example_encoder.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/testing/gzip_file.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;

std::string Shared() {
  const char* shared = std::getenv("LIQUID_SHARED");
  return shared == nullptr ? "../shared" : shared;
}

class ChatMaskGoldenTest : public ::testing::TestWithParam<const char*> {};

TEST_P(ChatMaskGoldenTest, GivesTheTokensAndMasksThatTransformersGives) {
  const std::string golden = Shared() + "/golden/tokenizers/";
  const std::string source = absl::StrCat(golden, GetParam(), "/");
  std::ifstream chats(source + "chat.jsonl");
  if (!chats) GTEST_SKIP() << "no " << source << "chat.jsonl: set LIQUID_SHARED";
  const std::string folder = absl::StrCat(::testing::TempDir(), "chat_mask_golden_", GetParam());
  ASSERT_THAT(MakeDirectories(folder), IsOk());
  std::ofstream(folder + "/tokenizer.json") << testing::ReadPlainOrGzip(source + "tokenizer.json");

  std::unique_ptr<ExampleEncoder> encoder;
  std::string loaded;
  int num_compared = 0;
  for (std::string line; std::getline(chats, line);) {
    const auto row = nlohmann::ordered_json::parse(line, nullptr, false);
    if (row.contains("error")) continue;
    const std::string name = row["template"];
    // The special tokens of the row, as the tokenizer's own configuration would name them.
    if (const std::string config = name + row["special"].dump(); config != loaded) {
      std::ofstream(folder + "/tokenizer_config.json") << row["special"].dump();
      auto encoder_or =
          ExampleEncoder::Load(folder, absl::StrCat(golden, "templates/", name, ".jinja"),
                               absl::CivilSecond(2026, 1, 15, 12, 0, 0));
      ASSERT_THAT(encoder_or, IsOk());
      encoder = *std::move(encoder_or);
      loaded = config;
    }
    const auto chat = encoder->EncodeChat(row["messages"], row["kwargs"]);
    const std::string place = absl::StrCat(name, " ", std::string(row["case"]));
    ASSERT_THAT(chat, IsOk()) << place;
    EXPECT_EQ(chat->rendered, row["rendered"]) << place;
    EXPECT_EQ(chat->ids, row["ids"].get<std::vector<int32_t>>()) << place;
    ++num_compared;
    if (!row.contains("mask")) continue;
    std::string mask;
    for (const uint8_t trained : chat->mask) mask += trained != 0 ? '1' : '0';
    EXPECT_EQ(mask, row["mask"]) << place;
  }
  EXPECT_GT(num_compared, 10);
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, ChatMaskGoldenTest,
                         ::testing::Values("qwen3", "llama3_1", "lfm2_surrogate", "gemma3", "gpt2",
                                           "gptoss", "deepseek_v3", "mistral_v01"));

}  // namespace
}  // namespace liquid
