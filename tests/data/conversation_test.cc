#include "data/conversation.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::testing::HasSubstr;

TEST(ParseExampleTest, ReadsMessages) {
  const auto example = ParseExample(
      R"({"messages": [{"role": "user", "content": "a"}, {"content": null, "role": "assistant",)"
      R"( "tool_calls": [{"id": 1}]}, {"role": "tool", "content": [{"type": "text", "text": "b"}]}],)"
      R"( "tools": [{"x": 1}], "kwargs": {"enable_thinking": false}, "meta": 3})");
  ASSERT_THAT(example, IsOk());
  EXPECT_EQ(example->kind, Example::Kind::kMessages);
  EXPECT_EQ(example->messages.size(), 3u);
  EXPECT_EQ(example->messages[1].begin().key(), "content");  // the order of keys is kept
  EXPECT_EQ(example->num_prompt_messages, 0u);
  EXPECT_EQ(example->kwargs.dump(), R"({"enable_thinking":false,"tools":[{"x":1}]})");
}

TEST(ParseExampleTest, ReadsPromptAndCompletion) {
  const auto example = ParseExample(R"({"completion": "b", "prompt": "a"})");
  ASSERT_THAT(example, IsOk());
  EXPECT_EQ(example->kind, Example::Kind::kPromptCompletion);
  EXPECT_EQ(example->prompt, "a");
  EXPECT_EQ(example->completion, "b");
}

TEST(ParseExampleTest, ReadsPromptAndCompletionAsMessages) {
  const auto example = ParseExample(
      R"({"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},)"
      R"( {"role": "user", "content": "c"}], "completion": [{"role": "assistant", "content": "d"}]})");
  ASSERT_THAT(example, IsOk());
  EXPECT_EQ(example->kind, Example::Kind::kMessages);
  EXPECT_EQ(example->messages.size(), 4u);
  EXPECT_EQ(example->num_prompt_messages, 3u);
}

TEST(ParseExampleTest, ReadsText) {
  const auto example = ParseExample(R"({"text": "caf\u00e9", "id": 7})");
  ASSERT_THAT(example, IsOk());
  EXPECT_EQ(example->kind, Example::Kind::kText);
  EXPECT_EQ(example->text, "caf\xC3\xA9");
}

struct BadRow {
  std::string line;
  std::string reason;
};

TEST(ParseExampleTest, RefusesBadRowsWithTheReason) {
  const std::vector<BadRow> rows = {
      {"x", "not JSON at byte 1 of the line, near 'x'"},
      {R"({"text": "a"} {"text": "b"})", "not JSON at byte 15"},
      {R"({"text": "a)", "not JSON at byte"},
      {"{\"text\": \"a\xFF\"}", "not UTF-8 from byte 12"},
      {"{\"text\": \"\xED\xA0\x80\"}", "not UTF-8 from byte 11"},
      {R"({"text": "\ud800"})", "not JSON at byte"},
      {"[1]", "a JSON object was expected, not array"},
      {"3", "a JSON object was expected, not number"},
      {"{}", "none of 'messages', 'prompt' with 'completion', 'text'"},
      {R"({"conversations": []})", "rename 'conversations' to 'messages'"},
      {R"({"messages": []})", "'messages' is empty"},
      {R"({"messages": "a"})", "'messages' is string, not a list"},
      {R"({"messages": ["a"]})", "messages[0]: an object was expected, not string"},
      {R"({"messages": [{"content": "a"}]})", "messages[0]: no 'role'"},
      {R"({"messages": [{"from": "human", "value": "a"}]})", "rename 'from'"},
      {R"({"messages": [{"role": 3, "content": "a"}]})", "'role' is number"},
      {R"({"messages": [{"role": "user", "content": "a"}, {"role": "asistant", "content": "a"}]})",
       "messages[1]: unknown role 'asistant'"},
      {R"({"messages": [{"role": "user", "content": "a", "train": 1}]})",
       "messages[0]: 'train' is number, not true or false"},
      {R"({"messages": [{"role": "user", "content": "a", "weight": "1"}]})",
       "messages[0]: 'weight' is string, not a number"},
      {R"({"messages": [{"role": "user", "content": "a", "weight": true}]})",
       "'weight' is boolean"},
      {R"({"messages": [{"role": "user", "content": "a", "weight": -0.5}]})",
       "'weight' is -0.5, neither 0 nor from 1e-6 to 1e6"},
      {R"({"messages": [{"role": "user", "content": "a", "weight": 1e39}]})",
       "neither 0 nor from 1e-6 to 1e6"},
      {R"({"messages": [{"role": "user", "content": "a", "weight": 1e999}]})", "not JSON at byte"},
      {R"({"messages": [{"role": "user", "content": "a", "weight": 1e-50}]})", "neither 0 nor"},
      {R"({"messages": [{"role": "assistant", "content": "a", "train": false, "weight": 2}]})",
       "'train' is false, but 'weight' is 2"},
      {R"({"messages": [{"role": "assistant", "content": "a", "train": true, "weight": 0}]})",
       "'train' is true, but 'weight' is 0"},
      {R"({"messages": [{"role": "user"}]})", "messages[0]: no 'content'"},
      {R"({"messages": [{"role": "user", "content": null}]})", "no 'content'"},
      {R"({"messages": [{"role": "user", "content": null, "tool_calls": null}]})", "no 'content'"},
      {R"({"messages": [{"role": "user", "content": 5}]})", "'content' is number"},
      {R"({"messages": [{"role": "user", "content": ["a"]}]})", "no object with a 'type'"},
      {R"({"messages": [{"role": "user", "content": [{"type": "image"}]}]})", "type 'image'"},
      {R"({"messages": [{"role": "user", "content": [{"type": "text"}]}]})", "has no 'text'"},
      {R"({"messages": [{"role": "assistant", "tool_calls": [1]}]})", "'tool_calls' is no list"},
      {R"({"messages": [{"role": "user", "content": "a"}], "tools": {}})", "'tools' is no list"},
      {R"({"messages": [{"role": "user", "content": "a"}], "kwargs": []})",
       "'kwargs' is no object"},
      {R"({"prompt": "a"})", "no 'completion'"},
      {R"({"completion": "a"})", "no 'prompt'"},
      {R"({"prompt": 1, "completion": "a"})", "'prompt' is number, not text"},
      {R"({"prompt": "a", "completion": ""})", "'completion' is empty"},
      {R"({"prompt": "a", "completion": [{"role": "assistant", "content": "b"}]})",
       "'prompt' is string, not a list"},
      {R"({"prompt": [], "completion": [{"role": "assistant", "content": "b"}]})",
       "'prompt' is empty"},
      {R"({"text": ""})", "'text' is empty"},
      {R"({"text": null})", "'text' is null, not text"},
      {"{\"text\": " + std::string(200, '[') + std::string(200, ']') + "}", "nested more than 100"},
      {std::string(1 << 20, '['), "nested more than 100"},
  };
  for (const BadRow& row : rows) {
    EXPECT_THAT(ParseExample(row.line),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(row.reason)))
        << row.line.substr(0, 200);
  }
}

TEST(ParseExampleTest, BracketsInsideStringsAreNoNesting) {
  EXPECT_THAT(ParseExample("{\"text\": \"\\\"" + std::string(200, '[') + "\"}"), IsOk());
}

Hash128 HashOf(const std::string& line) {
  const auto example = ParseExample(line);
  EXPECT_THAT(example, IsOk()) << line;
  return ContentHash(*example);
}

TEST(ContentHashTest, IsOfWhatIsSaid) {
  const Hash128 hash = HashOf(
      R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})");
  EXPECT_EQ(hash,
            HashOf(R"({"id": 7, "messages": [{"content": "a", "role": "user"},)"
                   R"( {"role": "assistant", "weight": 0.5, "content": "b"}], "tools": []})"));
  EXPECT_EQ(hash, HashOf(R"({"prompt": [{"role": "user", "content": "a"}],)"
                         R"( "completion": [{"role": "assistant", "content": "b"}]})"));
  EXPECT_NE(hash, HashOf(R"({"messages": [{"role": "user", "content": "a"},)"
                         R"( {"role": "assistant", "content": "c"}]})"));
  EXPECT_NE(hash, HashOf(R"({"messages": [{"role": "system", "content": "a"},)"
                         R"( {"role": "assistant", "content": "b"}]})"));
  EXPECT_NE(HashOf(R"({"prompt": "a", "completion": "bc"})"),
            HashOf(R"({"prompt": "ab", "completion": "c"})"));
  EXPECT_NE(HashOf(R"({"text": "a"})"), HashOf(R"({"text": "b"})"));
}

}  // namespace
}  // namespace liquid
