#include "worker/sample_answers.h"

#include <fstream>

#include "absl/strings/str_cat.h"
#include "data/example_encoder.h"
#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::testing::HasSubstr;
using ::testing::Not;

class SampleAnswersTest : public ::testing::Test {
 protected:
  SampleAnswersTest() : encoder_(*ExampleEncoder::Load("configs/quickstart/tokenizer", "")) {
    path_ = absl::StrCat(::testing::TempDir(), "sample_answers_test.jsonl");
  }
  std::vector<SamplePrompt> Read(const std::string& lines, int64_t count, int64_t max_tokens) {
    std::ofstream(path_, std::ios::binary) << lines;
    const auto prompts = ReadSamplePrompts({path_}, *encoder_, count, max_tokens);
    EXPECT_THAT(prompts, IsOk());
    return *prompts;
  }

  std::unique_ptr<ExampleEncoder> encoder_;
  std::string path_;
};

constexpr char kTwoTurns[] =
    R"({"messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"},)"
    R"( {"role": "user", "content": "three"}, {"role": "assistant", "content": "four"}]})"
    "\n";

TEST_F(SampleAnswersTest, AConversationIsAskedUpToItsLastAnswer) {
  const std::vector<SamplePrompt> prompts = Read(kTwoTurns, 5, 500);
  ASSERT_EQ(prompts.size(), 1u);
  EXPECT_THAT(prompts[0].text, HasSubstr("two"));
  EXPECT_THAT(prompts[0].text, HasSubstr("three"));
  EXPECT_THAT(prompts[0].text, Not(HasSubstr("four")));
  EXPECT_TRUE(prompts[0].text.ends_with("<|im_start|>assistant\n")) << prompts[0].text;
  EXPECT_EQ(prompts[0].reference, "four");
  EXPECT_FALSE(prompts[0].ids.empty());
}

TEST_F(SampleAnswersTest, WhatHasNoAnswerIsPassedOverAndOnlySoManyAreTaken) {
  const std::string lines =
      absl::StrCat("not json\n", R"({"text": "only text"})", "\n",
                   R"({"messages": [{"role": "assistant", "content": "nobody asked"}]})", "\n",
                   R"({"messages": [{"role": "user", "content": ")", std::string(4000, 'x'),
                   R"("}, {"role": "assistant", "content": "long"}]})", "\n",
                   R"({"prompt": "2 + 2 =", "completion": " 4"})", "\n", kTwoTurns, kTwoTurns);
  const std::vector<SamplePrompt> prompts = Read(lines, 2, 200);
  ASSERT_EQ(prompts.size(), 2u);
  EXPECT_EQ(prompts[0].text, "2 + 2 =");
  EXPECT_EQ(prompts[0].reference, " 4");
  EXPECT_EQ(prompts[1].reference, "four");
  EXPECT_EQ(Read(lines, 9, 200).size(), 3u);
  EXPECT_EQ(Read(lines, 9, 100000).size(), 4u);
}

}  // namespace
}  // namespace liquid
