#include "data/chat_template.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace liquid {
namespace {

using Json = nlohmann::ordered_json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::string_view kChatMl =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' "
    "}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

ChatTemplate Parse(std::string_view source) {
  auto parsed = ChatTemplate::Parse(source, "chat.jinja");
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return *std::move(parsed);
}

absl::StatusOr<RenderedChat> Render(std::string_view source, const std::string& messages,
                                    const std::string& kwargs = "{}") {
  const Json parsed_messages = Json::parse(messages);
  const Json parsed_kwargs = Json::parse(kwargs);
  ChatTemplate::Inputs inputs;
  inputs.messages = &parsed_messages;
  inputs.kwargs = &parsed_kwargs;
  inputs.special_tokens = {{"eos_token", "<|im_end|>"}};
  inputs.end_of_turn_candidates = {"<|im_start|>", "<|im_end|>"};
  return Parse(source).Render(inputs);
}

std::vector<std::string> Trained(const RenderedChat& chat) {
  std::vector<std::string> texts;
  for (const ByteRange& range : chat.trained) {
    texts.push_back(chat.text.substr(range.begin, range.end - range.begin));
  }
  return texts;
}

TEST(ChatTemplateTest, TrainsTheAnswersWithTheirEndOfTurn) {
  const auto chat = Render(kChatMl, R"([{"role":"user","content":"same"},
      {"role":"assistant","content":"same"},{"role":"user","content":"b"},
      {"role":"assistant","content":""}])");
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_THAT(Trained(*chat), ElementsAre("same<|im_end|>", "<|im_end|>"));
  EXPECT_EQ(chat->trained[0].begin, chat->text.rfind("same"));
}

TEST(ChatTemplateTest, TrainsTheEndOfTurnEvenWhereItIsNoSpecialToken) {
  const Json messages = Json::parse(R"([{"role":"assistant","content":"a"}])");
  ChatTemplate::Inputs inputs;
  inputs.messages = &messages;
  const auto chat = Parse(kChatMl).Render(inputs);
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_THAT(Trained(*chat), ElementsAre("a<|im_end|>"));
}

TEST(ChatTemplateTest, AMessageCanBeKeptOutOfTheTraining) {
  const std::string messages = R"([{"role":"user","content":"q"},
      {"role":"assistant","content":"a","train":false},{"role":"user","content":"q"},
      {"role":"assistant","content":"b","train":true}])";
  const auto chat = Render(kChatMl, messages);
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_THAT(Trained(*chat), ElementsAre("b<|im_end|>"));
  const auto shown = Render("{{ messages | tojson }}", messages);
  ASSERT_TRUE(shown.ok()) << shown.status();
  EXPECT_EQ(shown->text.find("train"), std::string::npos);
}

TEST(ChatTemplateTest, GenerationBlocksSayWhatIsTrained) {
  constexpr std::string_view kMarked =
      "{% for m in messages %}{{ m.role }}: {% if m.role == 'assistant' %}{% generation %}"
      "{{ m.content }};{% endgeneration %}{% else %}{{ m.content }};{% endif %}{% endfor %}";
  const auto chat = Render(kMarked, R"([{"role":"user","content":"q"},
      {"role":"assistant","content":"a"},{"role":"assistant","content":"b","train":false}])");
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_TRUE(chat->has_generation_markers);
  EXPECT_THAT(Trained(*chat), ElementsAre("a;"));
  EXPECT_EQ(chat->generation_spans.size(), 2u);
}

TEST(ChatTemplateTest, OriginsOutliveWhatTemplatesDoToText) {
  constexpr std::string_view kWorked =
      "{% for m in messages %}{% set c = m.content.split('</think>')[-1] | trim %}"
      "<|im_start|>{{ m.role }}\n{{ c[:3] ~ c[3:] | upper | replace('B', '<|im_end|>') "
      "}}<|im_end|>\n"
      "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
  const auto chat = Render(kWorked, R"([{"role":"user","content":"q"},
      {"role":"assistant","content":"<think>x</think>  abcabc "}])");
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_THAT(Trained(*chat), ElementsAre("abcA<|im_end|>C<|im_end|>"));
}

TEST(ChatTemplateTest, ErrorsSayWhereInTheTemplate) {
  const auto refused = Render("a\n{{ raise_exception('no ' + messages[0].role) }}",
                              R"([{"role":"user","content":"q"}])");
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.status().message()),
              testing::AllOf(HasSubstr("chat.jinja:2:4"), HasSubstr("no user")));
  const auto unknown = ChatTemplate::Parse("x\n {% include 'y' %}", "chat.jinja");
  EXPECT_THAT(std::string(unknown.status().message()),
              HasSubstr("chat.jinja:2:5: the tag 'include' is not supported"));
}

TEST(ChatTemplateTest, RefusesInputsOfTheWrongShape) {
  EXPECT_FALSE(Render(kChatMl, R"({"role":"user"})").ok());
  EXPECT_FALSE(Render(kChatMl, R"(["hi"])").ok());
  EXPECT_FALSE(Render(kChatMl, R"([{"role":"user","train":1}])").ok());
  EXPECT_FALSE(Render(kChatMl, R"([{"role":"user","content":18446744073709551615}])").ok());
  EXPECT_FALSE(Render(kChatMl, "[]", "[]").ok());
}

TEST(ChatTemplateTest, KwargsWinOverSpecialTokensAndDefaults) {
  const auto chat = Render("{{ eos_token }}{{ tools is none }}{{ add_generation_prompt }}", "[]",
                           R"({"eos_token":"</s>","add_generation_prompt":true})");
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_EQ(chat->text, "</s>TrueTrue");
  EXPECT_THAT(chat->trained, IsEmpty());
}

}  // namespace
}  // namespace liquid
