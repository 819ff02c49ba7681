// Every golden case of every tokenizer in LIQUID_SHARED/golden/tokenizers.
#include <cstdlib>
#include <filesystem>
#include <string>

#include "data/tokenizer.h"
#include "gtest/gtest.h"
#include "tests/data/tokenizer_golden.h"
#include "tests/testing/gzip_file.h"

namespace liquid {
namespace {

using testing::ReadPlainOrGzip;

std::string GoldenDirectory(const std::string& name) {
  const char* shared = std::getenv("LIQUID_SHARED");
  return std::string(shared == nullptr ? "../shared" : shared) + "/golden/tokenizers/" + name;
}

class TokenizerGoldenTest : public ::testing::TestWithParam<std::string> {};

TEST_P(TokenizerGoldenTest, IsTheReferenceOnEveryCase) {
  const std::string directory = GoldenDirectory(GetParam());
  if (!std::filesystem::exists(directory)) {
    GTEST_SKIP() << "no golden cases at " << directory << " (LIQUID_SHARED says where to look)";
  }
  const auto tokenizer =
      Tokenizer::FromJson(ReadPlainOrGzip(directory + "/tokenizer.json"), "tokenizer.json");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_GT(CheckEncodeCases(**tokenizer, ReadPlainOrGzip(directory + "/cases.jsonl")), 400);
  EXPECT_GT(CheckDecodeCases(**tokenizer, ReadPlainOrGzip(directory + "/decode.jsonl")), 70);
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerGoldenTest,
                         ::testing::Values("gpt2", "llama3_1", "qwen3", "gptoss", "lfm2_surrogate",
                                           "deepseek_v3", "gemma3", "mistral_v01", "stories260K"),
                         [](const auto& param) { return param.param; });

}  // namespace
}  // namespace liquid
