// Errors that let a fine-tuning run to its end and spoil the model: each is refused, or told.
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "data/dataset.h"
#include "data/prepare.h"
#include "data/prepare_report.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kTokenizer = "configs/quickstart/tokenizer";
constexpr const char* kChatMl =
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{{ '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

std::string Chat(const std::string& question, const std::string& answer,
                 const std::string& keys = "") {
  return absl::StrCat(R"({"messages": [{"role": "user", "content": ")", question,
                      R"("}, {"role": "assistant", "content": ")", answer, "\"", keys, "}]}\n");
}

std::string Words(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) absl::StrAppend(&text, "word", i, " ");
  return text;
}

class SilentErrorsTest : public ::testing::Test {
 protected:
  SilentErrorsTest() {
    folder_ = absl::StrCat(::testing::TempDir(), "silent_errors_",
                           ::testing::UnitTest::GetInstance()->current_test_info()->name());
    EXPECT_THAT(RemoveRecursively(folder_), IsOk());
    EXPECT_THAT(MakeDirectories(folder_), IsOk());
    options_.sequence_length = 64;
    options_.tokenizer = kTokenizer;
    options_.cache = JoinPath(folder_, "cache");
  }

  std::string Write(const std::string& name, const std::string& content) {
    std::string path = JoinPath(folder_, name);
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }
  absl::StatusOr<PrepareReport> Prepare(const std::string& lines) {
    options_.files = {Write("data.jsonl", lines)};
    return PrepareDataset(options_);
  }
  void SetTemplate(const std::string& text) { options_.chat_template = Write("t.jinja", text); }
  // A copy of the tokenizer whose configuration lacks `key`.
  void LeaveOut(const std::string& key) {
    auto config = nlohmann::ordered_json::parse(
        *ReadFile(JoinPath(kTokenizer, "tokenizer_config.json")), nullptr, false);
    config.erase(key);
    Write("tokenizer_config.json", config.dump());
    Write("tokenizer.json", *ReadFile(JoinPath(kTokenizer, "tokenizer.json")));
    options_.tokenizer = folder_;
  }

  std::string folder_;
  PrepareOptions options_;
};

// 17, 23
TEST_F(SilentErrorsTest, RowsThatAreAllIgnoredAreNamed) {
  const std::string ignored = Chat("a", "b", ", \"train\": false");
  EXPECT_THAT(Prepare(ignored + ignored),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("data.jsonl:1: nothing in it is trained"),
                             HasSubstr("data.max_bad_rows tolerates 0"))));
  // However many are tolerated, a dataset without any target is none.
  options_.max_bad_rows = 100;
  EXPECT_THAT(Prepare(ignored + ignored),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("nothing to train on: 0 examples, 2 bad rows"),
                             HasSubstr("data.jsonl:1: nothing"), HasSubstr("data.jsonl:2: not"))));
  const auto report = Prepare(ignored + Chat("a", "b"));
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->num_bad_rows, 1);
  EXPECT_THAT(PrepareReportText(*report), HasSubstr("data.jsonl:1: nothing in it is trained"));
}

// 17: the mask of every row in the file has a target, whatever is asked for.
TEST_F(SilentErrorsTest, NoRowIsWithoutATarget) {
  std::string lines;
  for (int i = 1; i < 60; ++i) {
    absl::StrAppend(&lines, Chat(Words(i), Words(60 - i)), "{\"text\": \"", Words(i), "\"}\n");
  }
  for (const LossOn loss_on : {LossOn::kAssistant, LossOn::kLast, LossOn::kAll}) {
    for (const bool stop_token : {true, false}) {
      for (const OverlongPolicy overlong :
           {OverlongPolicy::kTruncate, OverlongPolicy::kSplit, OverlongPolicy::kDrop}) {
        options_.loss = {loss_on, stop_token};
        options_.overlong = overlong;
        const auto report = Prepare(lines);
        ASSERT_THAT(report, IsOk());
        const auto dataset = Dataset::Open(report->path);
        ASSERT_THAT(dataset, IsOk());
        for (int64_t row = 0; row < dataset->num_rows(); ++row) {
          EXPECT_GT(dataset->TargetTokens(row), 0);
        }
      }
    }
  }
}

// 23
TEST_F(SilentErrorsTest, RowsWhoseAnswersAreCutOffAreNamed) {
  const auto report = Prepare(Chat("a", "b") + Chat(Words(80), "b"));
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->overlong.num_untrained, 1);
  EXPECT_THAT(report->untrained_rows, ElementsAre(HasSubstr("data.jsonl:2")));
  EXPECT_THAT(PrepareReportText(*report),
              HasSubstr("nothing trained fits into a row: 1 (" + options_.files[0] + ":2)"));
  EXPECT_THAT(Prepare(Chat(Words(80), "b") + Chat(Words(90), "b")),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("2 left out as too long"), HasSubstr("data.jsonl:2"),
                             HasSubstr("nothing trained fits into a row of 64"))));
}

// 23
TEST_F(SilentErrorsTest, BadLossKeysAreNamedByLine) {
  for (const auto& [keys, reason] : std::vector<std::pair<std::string, std::string>>{
           {", \"weight\": -1", "'weight' is -1"},
           {", \"weight\": \"1\"", "'weight' is string"},
           {", \"train\": \"no\"", "'train' is string"},
           {", \"trian\": false", "the key 'trian', which means nothing; is 'train' meant?"},
           {", \"weights\": 2", "is 'weight' meant?"},
           {", \"train\": true, \"weight\": 0", "'train' is true, but 'weight' is 0"}}) {
    EXPECT_THAT(Prepare(Chat("a", "b") + Chat("a", "b", keys)),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("data.jsonl:2: messages[1]: "), HasSubstr(reason))));
  }
}

// What a template may ask for is not taken for a misspelling.
TEST_F(SilentErrorsTest, OtherKeysOfMessagesAreNot) {
  EXPECT_THAT(Prepare(Chat("a", "b", ", \"height\": 3, \"trained\": 1, \"name\": \"x\"")), IsOk());
}

// Too many weights are no bad row, which some might tolerate.
TEST_F(SilentErrorsTest, TheSeventeenthWeightIsRefused) {
  std::string lines;
  for (int i = 2; i < 19; ++i) lines += Chat("a", "b", absl::StrCat(", \"weight\": ", i));
  options_.max_bad_rows = 100;
  EXPECT_THAT(Prepare(lines), StatusIs(absl::StatusCode::kFailedPrecondition,
                                       AllOf(HasSubstr("data.jsonl:17: "),
                                             HasSubstr("16 weights besides 0 and 1"))));
}

TEST_F(SilentErrorsTest, WeightsReachTheRows) {
  const auto report = Prepare(Chat("a", "b", ", \"weight\": 0.5") + Chat("a", "c") +
                              Chat("a", "d", ", \"weight\": 3"));
  ASSERT_THAT(report, IsOk());
  const auto dataset = Dataset::Open(report->path);
  ASSERT_THAT(dataset, IsOk());
  EXPECT_THAT(dataset->other_weights(), ElementsAre(0.5F, 3.0F));
  ASSERT_EQ(dataset->num_rows(), 1);
  EXPECT_EQ(dataset->TargetTokens(0), 6);  // three answers of one token, and their ends
  EXPECT_EQ(dataset->TargetWeight(0), 2 * 0.5 + 2 + 2 * 3);
  EXPECT_THAT(report->first_sample, HasSubstr("[[0.5|b<|im_end|>]]"));
}

// 24
TEST_F(SilentErrorsTest, ATemplateThatNeverEmitsTheStopTokenIsRefused) {
  SetTemplate(
      "{% for m in messages %}{% if m.role == 'user' %}<|im_start|>user\n{{ m.content }}"
      "<|im_end|>{{ '\n' }}{% else %}<|im_start|>assistant\n{{ m.content }}{{ '\n' }}{% endif %}"
      "{% endfor %}");
  EXPECT_THAT(Prepare(Chat("a", "b")),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("data.jsonl:1: "), HasSubstr("t.jinja"),
                             HasSubstr("would never learn to stop"),
                             HasSubstr("data.train_on_stop_token: false"))));
  options_.loss.stop_token = false;
  EXPECT_THAT(Prepare(Chat("a", "b")), IsOk());
}

// 24: a template that refuses the conversation that it is tried with is judged by the rows.
TEST_F(SilentErrorsTest, ATemplateThatWantsASystemMessageIsJudgedByTheRows) {
  const std::string wants_system =
      "{% if messages[0].role != 'system' %}{{ raise_exception('no system') }}{% endif %}";
  const std::string lines =
      R"({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"},)"
      R"( {"role": "assistant", "content": "b"}]})";
  SetTemplate(wants_system + kChatMl);
  const auto report = Prepare(lines);
  ASSERT_THAT(report, IsOk());
  EXPECT_THAT(PrepareReportText(*report), HasSubstr("stop token: as in the rows"));
  SetTemplate(wants_system +
              "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ '\n' }}"
              "{% endfor %}");
  EXPECT_THAT(Prepare(lines), StatusIs(absl::StatusCode::kInvalidArgument,
                                       AllOf(HasSubstr("would never learn to stop"),
                                             HasSubstr("no trained turn of its conversations"))));
  // Another that ends the turns of short conversations alone.
  SetTemplate(
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
      "{% if messages|length == 2 %}<|im_end|>{% endif %}{{ '\n' }}{% endfor %}");
  EXPECT_THAT(Prepare(lines), StatusIs(absl::StatusCode::kInvalidArgument,
                                       HasSubstr("no trained turn of its conversations")));
  EXPECT_THAT(Prepare(lines + "\n" + Chat("a", "b")), IsOk());
}

// 24: the template trains it, but no row has it.
TEST_F(SilentErrorsTest, DataThatNeverTrainsTheStopTokenIsRefused) {
  const std::string lines = Chat("a", Words(80)) + Chat("b", Words(90));
  EXPECT_THAT(Prepare(lines), StatusIs(absl::StatusCode::kInvalidArgument,
                                       AllOf(HasSubstr("would never learn to stop"),
                                             HasSubstr("each of the 2 final turns"))));
  options_.overlong = OverlongPolicy::kSplit;
  EXPECT_THAT(Prepare(lines), IsOk());
  options_.overlong = OverlongPolicy::kTruncate;
  EXPECT_THAT(Prepare(lines + Chat("a", "b")), IsOk());
  options_.loss.stop_token = false;
  EXPECT_THAT(Prepare(lines), IsOk());
}

// 24, 27
TEST_F(SilentErrorsTest, TruncatedFinalTurnsAreCounted) {
  const auto report = Prepare(Chat("a", "b") + Chat("a", Words(80)) + Chat(Words(80), "b"));
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->overlong.num_whole_turns, 1);
  EXPECT_EQ(report->overlong.num_cut_turns, 1);
  EXPECT_EQ(report->overlong.num_lost_turns, 1);
  EXPECT_EQ(report->overlong.num_cut_final_turns, 2);
  EXPECT_THAT(PrepareReportText(*report),
              HasSubstr("truncated turns: 1 cut in the middle, 1 left out; 2 documents without "
                        "their final turn's end"));
  // The dataset remembers it.
  const auto dataset = Dataset::Open(report->path);
  ASSERT_THAT(dataset, IsOk());
  const auto remembered = ReportOf(*dataset);
  ASSERT_THAT(remembered, IsOk());
  EXPECT_EQ(PrepareReportJson(*remembered), PrepareReportJson(*report));
}

// 25: the template writes BOS and the tokenizer would too.
TEST_F(SilentErrorsTest, NoDocumentBeginsTwice) {
  const auto report = Prepare(Chat("a", "b"));
  ASSERT_THAT(report, IsOk());
  EXPECT_TRUE(report->chat->tokenizer_adds_bos);
  EXPECT_THAT(PrepareReportText(*report),
              AllOf(HasSubstr("begin: one '<|startoftext|>' by the template"),
                    HasSubstr("the tokenizer's own is not added")));
  const auto dataset = Dataset::Open(report->path);
  ASSERT_THAT(dataset, IsOk());
  EXPECT_NE(dataset->row(0).tokens[0], dataset->row(0).tokens[1]);

  SetTemplate(absl::StrCat("{{ bos_token }}{{ bos_token }}", kChatMl));
  EXPECT_THAT(
      Prepare(Chat("a", "b")),
      StatusIs(absl::StatusCode::kInvalidArgument,
               HasSubstr("t.jinja: the chat template begins with '<|startoftext|>' twice")));
  SetTemplate(
      absl::StrCat("{{ bos_token }}{% if messages[0].role == 'system' %}"
                   "{{ messages[0].content }}{% endif %}",
                   kChatMl));
  EXPECT_THAT(Prepare(Chat("a", "b") +
                      R"({"messages": [{"role": "system", "content": "<|startoftext|>hi"},)"
                      R"( {"role": "assistant", "content": "b"}]})"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("data.jsonl:2: it begins with '<|startoftext|>' twice"))));
  SetTemplate(kChatMl);
  const auto without = Prepare(Chat("a", "b"));
  ASSERT_THAT(without, IsOk());
  EXPECT_THAT(PrepareReportText(*without),
              HasSubstr("begin: without BOS, as the template writes none"));
}

// 25
TEST_F(SilentErrorsTest, AMissingEndIsToldOrRefused) {
  LeaveOut("eos_token");
  EXPECT_THAT(Prepare(R"({"prompt": "a", "completion": "b"})"),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("data.jsonl:1: "), HasSubstr("names no eos_token"))));
  const auto report = Prepare("{\"text\": \"one two three\"}\n");
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->num_without_end, 1);
  EXPECT_THAT(PrepareReportText(*report), HasSubstr("without EOS: 1 texts"));
  options_.tokenizer = kTokenizer;
  EXPECT_THAT(PrepareReportText(*Prepare("{\"text\": \"one two three\"}\n")),
              Not(HasSubstr("without EOS")));
}

// 23: a template may drop an answer, or mark some only.
TEST_F(SilentErrorsTest, AnswersThatTheTemplateLeavesOutAreNamed) {
  const std::string two =
      R"({"messages": [{"role": "assistant", "content": "b"}, {"role": "user", "content": "c"},)"
      R"( {"role": "assistant", "content": "d"}]})";
  SetTemplate(
      "{% for m in messages %}{% if not (loop.first and m.role == 'assistant') %}"
      "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{{ '\n' }}{% endif %}{% endfor %}");
  const auto dropped = Prepare(Chat("a", "b") + two);
  ASSERT_THAT(dropped, IsOk());
  EXPECT_EQ(dropped->num_left_out, 1);
  EXPECT_THAT(PrepareReportText(*dropped),
              HasSubstr("not trained: 1 (" + options_.files[0] + ":2)"));
  SetTemplate(
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if loop.last %}{% generation %}"
      "{{ m.content }}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}"
      "{{ '\n' }}{% endfor %}");
  EXPECT_EQ(Prepare(Chat("a", "b") + two)->num_left_out, 1);
  EXPECT_EQ(Prepare(Chat("a", "b"))->num_left_out, 0);
}

// 22, 24
TEST_F(SilentErrorsTest, TheTemplateAndTheStopTokenAreTold) {
  const auto own = Prepare(Chat("a", "b"));
  ASSERT_THAT(own, IsOk());
  EXPECT_THAT(PrepareReportText(*own),
              AllOf(HasSubstr("trained: what the assistant says\n"),
                    HasSubstr("template: configs/quickstart/tokenizer/tokenizer_config.json, with "
                              "words known by their origin\n"),
                    HasSubstr("stop token: '<|im_end|>' (7, eos_token), trained\n")));
  SetTemplate(kChatMl);
  options_.loss = {LossOn::kLast, false};
  const auto other = Prepare(Chat("a", "b"));
  ASSERT_THAT(other, IsOk());
  EXPECT_THAT(PrepareReportText(*other), AllOf(HasSubstr("what the assistant says last\n"),
                                               HasSubstr("template: " + options_.chat_template),
                                               HasSubstr("(7, eos_token), not trained\n")));
}

}  // namespace
}  // namespace liquid
