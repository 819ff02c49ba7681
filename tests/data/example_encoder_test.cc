#include "data/example_encoder.h"

#include <algorithm>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "data/shown_tokens.h"
#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::testing::HasSubstr;

constexpr const char* kTokenizer = "configs/quickstart/tokenizer";
constexpr const char* kBos = "<|startoftext|>";

std::unique_ptr<ExampleEncoder> LoadEncoder(const std::string& chat_template = "",
                                            const LossChoice& loss = {}) {
  auto encoder = ExampleEncoder::Load(kTokenizer, chat_template, kTrainingDate, loss);
  EXPECT_THAT(encoder, IsOk());
  return *std::move(encoder);
}

std::string WriteTemplate(const std::string& text) {
  const std::string path = absl::StrCat(::testing::TempDir(), "example_encoder_test.jinja");
  std::ofstream(path) << text;
  return path;
}

// The document of a line, trained parts in [[ ]]; or the reason why there is none.
std::string Shown(const ExampleEncoder& encoder, const std::string& line) {
  const auto example = ParseExample(line);
  if (!example.ok()) return std::string(example.status().message());
  LossWeights weights;
  const auto document = encoder.Encode(*example, &weights);
  if (!document.ok()) return std::string(document.status().message());
  EXPECT_EQ(document->tokens.size(), document->trained.size());
  return ShownText(
      ShowTokens(encoder.tokenizer(), document->tokens, document->trained, weights.others()));
}

TEST(ExampleEncoderTest, TrainsWhatTheAssistantSaysAndItsEnd) {
  const auto encoder = LoadEncoder();
  EXPECT_EQ(Shown(*encoder,
                  R"({"messages": [{"role": "system", "content": "Be brief."},)"
                  R"({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},)"
                  R"({"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]})"),
            "<|startoftext|><|im_start|>system\nBe brief.<|im_end|>\n"
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[[b<|im_end|>]]\n"
            "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[[d<|im_end|>]]\n");
}

TEST(ExampleEncoderTest, AMessageMayBeKeptOutOfTheTraining) {
  const auto encoder = LoadEncoder();
  EXPECT_EQ(Shown(*encoder,
                  R"({"messages": [{"role": "user", "content": "a"},)"
                  R"({"role": "assistant", "content": "b", "train": false},)"
                  R"({"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]})"),
            "<|startoftext|><|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
            "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[[d<|im_end|>]]\n");
}

TEST(ExampleEncoderTest, APromptOfMessagesIsNotTrained) {
  const auto encoder = LoadEncoder();
  EXPECT_EQ(
      Shown(
          *encoder,
          R"({"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},)"
          R"({"role": "user", "content": "c"}], "completion": [{"role": "assistant", "content": "d"}]})"),
      "<|startoftext|><|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
      "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[[d<|im_end|>]]\n");
}

TEST(ExampleEncoderTest, TrainsTheCompletionAndItsEnd) {
  const auto encoder = LoadEncoder();
  EXPECT_EQ(Shown(*encoder, R"({"prompt": "list files:", "completion": " ls"})"),
            "<|startoftext|>list files:[[ ls<|im_end|>]]");
  EXPECT_EQ(Shown(*encoder, R"({"prompt": "list files:", "completion": " ls<|im_end|>"})"),
            "<|startoftext|>list files:[[ ls<|im_end|>]]");
}

TEST(ExampleEncoderTest, TrainsTextButItsBegin) {
  const auto encoder = LoadEncoder();
  EXPECT_EQ(Shown(*encoder, R"({"text": "one two"})"), "<|startoftext|>[[one two<|im_end|>]]");
  EXPECT_EQ(Shown(*encoder, R"({"text": "<|startoftext|>one two<|im_end|>"})"),
            "<|startoftext|>[[one two<|im_end|>]]");
}

TEST(ExampleEncoderTest, NoDocumentHasTwoBegins) {
  const auto encoder = LoadEncoder();
  const int32_t bos = *encoder->tokenizer().TokenToId(kBos);
  for (
      const char* line :
      {R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})",
       R"({"prompt": "<|startoftext|>a", "completion": "b"})",
       R"({"prompt": "", "completion": "b"})", R"({"text": "<|startoftext|>a"})",
       R"({"text": "a"})"}) {
    LossWeights weights;
    const auto document = encoder->Encode(*ParseExample(line), &weights);
    ASSERT_THAT(document, IsOk());
    EXPECT_EQ(document->tokens.front(), bos) << line;
    EXPECT_EQ(std::count(document->tokens.begin(), document->tokens.end(), bos), 1) << line;
  }
}

TEST(ExampleEncoderTest, SaysWhyNothingIsTrained) {
  const auto encoder = LoadEncoder();
  EXPECT_THAT(Shown(*encoder, R"({"messages": [{"role": "user", "content": "a"}]})"),
              HasSubstr("it has no assistant message"));
  EXPECT_THAT(Shown(*encoder, R"({"messages": [{"role": "user", "content": "a"},)"
                              R"( {"role": "assistant", "content": "b", "train": false}]})"),
              HasSubstr("the mask of its assistant messages is empty"));
}

TEST(ExampleEncoderTest, RefusesATemplateThatNeverTrainsTheStopToken) {
  EXPECT_THAT(LoadEncoder()->CheckTemplate(), IsOk());
  const std::string untrained = WriteTemplate(
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
      "{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}"
      "<|im_end|>\n{% endfor %}");
  EXPECT_THAT(LoadEncoder(untrained)->CheckTemplate(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("the token '<|im_end|>' behind an assistant's message is not")));
  const std::string trained = WriteTemplate(
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
      "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}"
      "<|im_end|>{% endif %}\n{% endfor %}");
  EXPECT_THAT(LoadEncoder(trained)->CheckTemplate(), IsOk());
  const std::string endless = WriteTemplate(
      "{% for m in messages %}### {{ m.role }}\n{{ m.content }}\n{% endfor %}"
      "{% if add_generation_prompt %}### assistant\n{% endif %}");
  EXPECT_THAT(LoadEncoder(endless)->CheckTemplate(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("would never learn to stop")));
  const std::string deaf = WriteTemplate("{{ messages[0].content }}<|im_end|>");
  EXPECT_THAT(LoadEncoder(deaf)->CheckTemplate(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("leaves out")));
}

TEST(ExampleEncoderTest, NeedsATemplateForMessagesAndAnEndForCompletions) {
  const std::string folder = absl::StrCat(::testing::TempDir(), "example_encoder_bare");
  ASSERT_THAT(RemoveRecursively(folder), IsOk());
  ASSERT_THAT(MakeDirectories(folder), IsOk());
  const std::string tokenizer = *ReadFile(JoinPath(kTokenizer, "tokenizer.json"));
  ASSERT_THAT(WriteFileAtomically(JoinPath(folder, "tokenizer.json"), tokenizer), IsOk());
  const auto encoder = ExampleEncoder::Load(folder, "");
  ASSERT_THAT(encoder, IsOk());
  EXPECT_FALSE((*encoder)->has_chat_template());
  LossWeights weights;
  EXPECT_THAT((*encoder)->Encode(
                  *ParseExample(R"({"messages": [{"role": "user", "content": "a"}]})"), &weights),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("need a chat template")));
  const auto completion = ParseExample(R"({"prompt": "a", "completion": "b"})");
  EXPECT_THAT((*encoder)->Encode(*completion, &weights),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("no eos_token")));
  // The model's configuration names one.
  ASSERT_THAT(WriteFileAtomically(JoinPath(folder, "config.json"), R"({"eos_token_id": [7, 2]})"),
              IsOk());
  const auto with_end = ExampleEncoder::Load(folder, "");
  ASSERT_THAT(with_end, IsOk());
  EXPECT_EQ((*with_end)->eos_token(), 7);
  EXPECT_THAT((*with_end)->Encode(*completion, &weights), IsOk());
}

constexpr const char* kTwoTurns =
    R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},)"
    R"( {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]})";

TEST(ExampleEncoderTest, LossOnLastTrainsTheLastAnswerAlone) {
  const auto encoder = LoadEncoder("", {.loss_on = LossOn::kLast});
  EXPECT_EQ(Shown(*encoder, kTwoTurns),
            "<|startoftext|><|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
            "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[[d<|im_end|>]]\n");
  // What a message says of itself wins.
  EXPECT_EQ(Shown(*encoder, R"({"messages": [{"role": "user", "content": "a"},)"
                            R"( {"role": "assistant", "content": "b", "train": true},)"
                            R"( {"role": "assistant", "content": "d", "train": false},)"
                            R"( {"role": "user", "content": "c"}]})"),
            "<|startoftext|><|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
            "[[b<|im_end|>]]\n<|im_start|>assistant\nd<|im_end|>\n<|im_start|>user\nc<|im_end|>\n");
  EXPECT_EQ(Shown(*encoder, R"({"prompt": "p", "completion": "c"})"),
            "<|startoftext|>p[[c<|im_end|>]]");
  EXPECT_EQ(Shown(*encoder, R"({"text": "one two"})"), "<|startoftext|>[[one two<|im_end|>]]");
}

TEST(ExampleEncoderTest, LossOnAllTrainsAllButBos) {
  const auto encoder = LoadEncoder("", {.loss_on = LossOn::kAll});
  EXPECT_EQ(Shown(*encoder, kTwoTurns),
            "<|startoftext|>[[<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
            "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\nd<|im_end|>\n]]");
  EXPECT_EQ(Shown(*encoder, R"({"messages": [{"role": "user", "content": "a", "train": false},)"
                            R"( {"role": "assistant", "content": "b", "weight": 0.5}]})"),
            "<|startoftext|>[[<|im_start|>user\n]]a<|im_end|>[[\n<|im_start|>assistant\n]]"
            "[[0.5|b<|im_end|>]][[\n]]");
  EXPECT_EQ(Shown(*encoder, R"({"prompt": "p", "completion": "c"})"),
            "<|startoftext|>[[pc<|im_end|>]]");
}

TEST(ExampleEncoderTest, AMessageMayHaveAWeight) {
  const auto encoder = LoadEncoder();
  EXPECT_EQ(
      Shown(*encoder, R"({"messages": [{"role": "user", "content": "a", "weight": 0},)"
                      R"( {"role": "assistant", "content": "b", "weight": 0},)"
                      R"( {"role": "assistant", "content": "c", "weight": 1},)"
                      R"( {"role": "assistant", "content": "d", "weight": 2.5, "train": true},)"
                      R"( {"role": "user", "content": "e", "train": true}]})"),
      "<|startoftext|><|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
      "<|im_start|>assistant\n[[c<|im_end|>]]\n<|im_start|>assistant\n"
      "[[2.5|d<|im_end|>]]\n<|im_start|>user\n[[e<|im_end|>]]\n");
  EXPECT_THAT(Shown(*encoder, R"({"messages": [{"role": "user", "content": "a", "weight": 1},)"
                              R"( {"role": "assistant", "content": "b"}]})"),
              HasSubstr("messages[0]: it has a 'weight', but is not said by the assistant"));
}

TEST(ExampleEncoderTest, TheSeventeenthWeightIsNoBadRow) {
  const auto encoder = LoadEncoder();
  LossWeights weights;
  for (int i = 0; i < 17; ++i) {
    const auto example = ParseExample(absl::StrCat(
        R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b",)",
        R"( "weight": )", 0.25 * (i + 5), "}]}"));
    ASSERT_THAT(example, IsOk());
    const auto document = encoder->Encode(*example, &weights);
    if (i < 16) {
      EXPECT_THAT(document, IsOk()) << i;
    } else {
      EXPECT_THAT(document, StatusIs(absl::StatusCode::kFailedPrecondition,
                                     HasSubstr("16 weights besides 0 and 1")));
    }
  }
}

TEST(ExampleEncoderTest, TheStopTokenMayBeLeftOut) {
  LossChoice loss = {.loss_on = LossOn::kAssistant, .stop_token = false};
  EXPECT_EQ(Shown(*LoadEncoder("", loss), kTwoTurns),
            "<|startoftext|><|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[[b]]<|im_end|>\n"
            "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[[d]]<|im_end|>\n");
  EXPECT_EQ(Shown(*LoadEncoder("", loss), R"({"prompt": "p", "completion": "c"})"),
            "<|startoftext|>p[[c]]<|im_end|>");
  EXPECT_EQ(Shown(*LoadEncoder("", loss), R"({"text": "one two"})"),
            "<|startoftext|>[[one two]]<|im_end|>");
  // Also where the template marks it itself, or everything is trained.
  const std::string marked = WriteTemplate(
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
      "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}"
      "<|im_end|>{% endif %}{{ '\n' }}{% endfor %}{% if add_generation_prompt "
      "%}<|im_start|>assistant\n"
      "{% endif %}");
  EXPECT_EQ(Shown(*LoadEncoder(marked, loss), kTwoTurns),
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[[b]]<|im_end|>\n"
            "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[[d]]<|im_end|>\n");
  loss.loss_on = LossOn::kAll;
  EXPECT_EQ(Shown(*LoadEncoder("", loss), kTwoTurns),
            "<|startoftext|>[[<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb]]<|im_end|>"
            "[[\n<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\nd]]<|im_end|>[[\n]]");
}

TEST(ExampleEncoderTest, GenerationBlocksFollowTheLossOfTheirMessage) {
  const std::string marked = WriteTemplate(
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
      "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}"
      "<|im_end|>{% endif %}{{ '\n' }}{% endfor %}");
  EXPECT_EQ(Shown(*LoadEncoder(marked, {.loss_on = LossOn::kLast}), kTwoTurns),
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
            "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[[d<|im_end|>]]\n");
  EXPECT_EQ(Shown(*LoadEncoder(marked),
                  R"({"messages": [{"role": "assistant", "content": "b", "weight": 3},)"
                  R"( {"role": "assistant", "content": "c", "train": false}]})"),
            "<|im_start|>assistant\n[[3|b<|im_end|>]]\n<|im_start|>assistant\nc<|im_end|>\n");
  EXPECT_THAT(Shown(*LoadEncoder(marked),
                    R"({"messages": [{"role": "user", "content": "b", "train": true},)"
                    R"( {"role": "assistant", "content": "c"}]})"),
              HasSubstr("messages[0] asks to be trained, but no generation block"));
}

// What a template says on its own, in a block of its own, belongs to the message beside it.
TEST(ExampleEncoderTest, GenerationBlocksWithoutWordsFollowTheirNeighbour) {
  const std::string marked = WriteTemplate(
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
      "{% generation %}hm{% endgeneration %}{{ '\n' }}{% generation %}{{ m.content }}"
      "{% endgeneration %}{% generation %}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}"
      "<|im_end|>{% endif %}{{ '\n' }}{% endfor %}");
  EXPECT_EQ(Shown(*LoadEncoder(marked, {.loss_on = LossOn::kLast}), kTwoTurns),
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nhm\nb<|im_end|>\n"
            "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[[hm]]\n[[d<|im_end|>]]\n");
}

TEST(ExampleEncoderTest, RefusesTwoBegins) {
  const std::string twice =
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
      "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
  EXPECT_THAT(LoadEncoder(WriteTemplate("<|startoftext|>{{ bos_token }}" + twice))->CheckTemplate(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("begins with '<|startoftext|>' twice")));
  const auto encoder =
      LoadEncoder(WriteTemplate("{{ bos_token }}{{ messages[0].content }}" + twice));
  EXPECT_THAT(Shown(*encoder, R"({"messages": [{"role": "user", "content": "<|startoftext|>a"},)"
                              R"( {"role": "assistant", "content": "c"}]})"),
              HasSubstr("it begins with '<|startoftext|>' twice: the chat template writes one"));
  EXPECT_THAT(Shown(*encoder, R"({"text": "<|startoftext|><|startoftext|>a"})"),
              HasSubstr("take one out of the text"));
}

TEST(ExampleEncoderTest, TellsHowTheTemplateWrites) {
  const auto facts = LoadEncoder()->CheckTemplate();
  ASSERT_THAT(facts, IsOk());
  EXPECT_EQ(facts->stop_token, "<|im_end|>");
  EXPECT_TRUE(facts->stops_with_eos);
  EXPECT_EQ(facts->bos_token, kBos);
  EXPECT_TRUE(facts->tokenizer_adds_bos);  // and yet there is one BOS: NoDocumentHasTwoBegins
  EXPECT_FALSE(facts->has_generation_markers);
}

}  // namespace
}  // namespace liquid
