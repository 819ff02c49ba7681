// The training templates in configs/templates/: they write what the models' own templates write,
// and mark what the assistant says with the token that it stops at.
//
// A part of the golden rows is in tests/data/golden/chat/, the rest in LIQUID_SHARED (default
// ../shared).
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "data/chat_template.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace liquid {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Case {
  std::string ours;               // configs/templates/<ours>.jinja
  std::string reference;          // the model's own template, whose golden rows are compared
  std::set<std::string> refused;  // rows that ours refuses, and the reference writes
  std::set<std::string> stops;    // what trained text may end with
  // Rows whose trained text is not what the origins of the reference's text say.
  std::set<std::string> other_origins;
  bool committed = false;  // rows are in tests/data/golden/chat/
  int min_rows = 0;        // that both write
};

const std::vector<Case>& Cases() {
  static const auto* const cases = new std::vector<Case>{
      {"chatml", "axolotl_chatml", {"tools", "tools2"}, {"<|im_end|>"}, {}, true, 19},
      {"llama3", "trl_llama3", {"tools", "tools2", "parts"}, {"<|eot_id|>"}, {}, false, 19},
      {"llama3_1", "trl_llama3_1", {"parts"}, {"<|eot_id|>"}, {}, false, 20},
      {"qwen3", "trl_qwen3", {"parts"}, {"<|im_end|>"}, {}, true, 21},
      {"gemma3", "trl_gemma3", {}, {"<end_of_turn>"}, {}, false, 18},
      // The model stops at <|tool_response> to wait for a tool, which origins do not tell.
      {"gemma4",
       "axolotl_gemma4",
       {},
       {"<turn|>", "<|tool_response>"},
       {"tools", "tools2"},
       false,
       22},
      // A content that is a list is written as one piece, of no message's origin.
      {"lfm2", "trl_lfm2", {"tools", "tools2"}, {"<|im_end|>"}, {"parts"}, true, 20},
      {"lfm2_5", "trl_lfm2_2_5", {}, {"<|im_end|>"}, {}, true, 22},
      // The space before an answer is the model's to say; origins leave it out.
      {"mistral", "axolotl_mistral_v1", {}, {"</s>"}, {"*"}, false, 18},
      {"deepseek_v3", "trl_deepseekv3", {}, {"<｜end▁of▁sentence｜>"}, {}, false, 18},
  };
  return *cases;
}

std::string SharedTokenizers() {
  const char* shared = std::getenv("LIQUID_SHARED");
  return std::string(shared == nullptr ? "../shared" : shared) + "/golden/tokenizers";
}

std::vector<Json> RowsOf(const std::string& path, const std::string& reference) {
  std::vector<Json> rows;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    Json row = Json::parse(line);
    if (row["template"] == reference) rows.push_back(std::move(row));
  }
  return rows;
}

absl::StatusOr<RenderedChat> Render(const std::string& path, const Json& row) {
  const auto source = ReadFile(path);
  if (!source.ok()) return source.status();
  const auto parsed = ChatTemplate::Parse(*source, path);
  if (!parsed.ok()) return parsed.status();
  ChatTemplate::Inputs inputs;
  inputs.messages = &row["messages"];
  inputs.kwargs = &row["kwargs"];
  for (const auto& [name, token] : row["special"].items()) {
    if (token.is_string()) inputs.special_tokens[name] = token.get<std::string>();
  }
  inputs.end_of_turn_candidates = {"<|im_start|>",
                                   "<|im_end|>",
                                   "<|eot_id|>",
                                   "<|start_header_id|>",
                                   "<|end_header_id|>",
                                   "<bos>",
                                   "<start_of_turn>",
                                   "<turn|>",
                                   "<end_of_turn>",
                                   "<|turn>",
                                   "</s>",
                                   "<|startoftext|>",
                                   "<｜User｜>",
                                   "<｜Assistant｜>",
                                   "<｜end▁of▁sentence｜>"};
  inputs.now = absl::CivilSecond(2026, 1, 15, 12, 0, 0);
  return parsed->Render(inputs);
}

// Without the newline that some references mark behind the end of a turn.
std::vector<std::string> TrainedTexts(const RenderedChat& chat) {
  std::vector<std::string> texts;
  for (const ByteRange& range : chat.trained) {
    texts.push_back(chat.text.substr(range.begin, range.end - range.begin));
    if (texts.back().ends_with(">\n")) texts.back().pop_back();
  }
  return texts;
}

// All that is trained belongs to assistants and ends with a stop; every assistant is trained.
void ExpectTrainsAssistants(const Case& test, const Json& row, const RenderedChat& chat) {
  size_t num_assistants = 0;
  for (const Json& message : row["messages"]) num_assistants += message["role"] == "assistant";
  const std::vector<std::string> texts = TrainedTexts(chat);
  EXPECT_GE(texts.size(), num_assistants);
  for (const ByteRange& range : chat.trained) {
    EXPECT_FALSE(chat.text.substr(range.begin, range.end - range.begin).ends_with("\n"));
  }
  for (const std::string& text : texts) {
    const bool stops = std::any_of(test.stops.begin(), test.stops.end(),
                                   [&](const std::string& stop) { return text.ends_with(stop); });
    EXPECT_TRUE(stops) << text;
  }
  for (const Json& message : row["messages"]) {
    if (message["role"] == "assistant" || !message["content"].is_string()) continue;
    const std::string said = message["content"];
    if (said.size() < 4) continue;  // may well be part of what the assistant says
    for (const std::string& text : texts) EXPECT_EQ(text.find(said), std::string::npos) << text;
  }
}

class ChatTemplatesTest : public ::testing::TestWithParam<Case> {};

void ExpectRows(const Case& test, const std::string& file, const std::string& templates,
                int* num_equal) {
  for (const Json& row : RowsOf(file, test.reference)) {
    const std::string name = row["case"];
    SCOPED_TRACE(absl::StrCat(test.ours, " ", name));
    const auto chat = Render("configs/templates/" + test.ours + ".jinja", row);
    if (row.contains("error") || test.refused.contains(name)) {
      EXPECT_FALSE(chat.ok()) << chat->text;
      EXPECT_EQ(chat.status().code(), absl::StatusCode::kInvalidArgument) << chat.status();
      continue;
    }
    ASSERT_TRUE(chat.ok()) << chat.status();
    ASSERT_EQ(chat->text, row["rendered"].get<std::string>());
    EXPECT_TRUE(chat->has_generation_markers);
    ++*num_equal;
    ExpectTrainsAssistants(test, row, *chat);
    if (test.other_origins.contains("*") || test.other_origins.contains(name)) continue;
    const auto reference = Render(templates + "/" + test.reference + ".jinja", row);
    ASSERT_TRUE(reference.ok()) << reference.status();
    EXPECT_EQ(TrainedTexts(*chat), TrainedTexts(*reference));
  }
}

TEST_P(ChatTemplatesTest, WritesTheCommittedRowsAsTheModelsOwnTemplate) {
  if (!GetParam().committed) GTEST_SKIP() << "its golden rows are in LIQUID_SHARED";
  int num_equal = 0;
  const std::string golden = "tests/data/golden/chat";
  ExpectRows(GetParam(), golden + "/chat.jsonl", golden, &num_equal);
  EXPECT_GE(num_equal, 8);
}

TEST_P(ChatTemplatesTest, WritesEveryRowAsTheModelsOwnTemplate) {
  if (!fs::exists(SharedTokenizers())) {
    GTEST_SKIP() << "no golden files in " << SharedTokenizers() << ": set LIQUID_SHARED";
  }
  int num_equal = 0;
  for (const auto& entry : fs::directory_iterator(SharedTokenizers())) {
    ExpectRows(GetParam(), entry.path().string() + "/chat.jsonl", SharedTokenizers() + "/templates",
               &num_equal);
  }
  EXPECT_GE(num_equal, GetParam().min_rows);
}

INSTANTIATE_TEST_SUITE_P(Families, ChatTemplatesTest, ::testing::ValuesIn(Cases()),
                         [](const auto& test) { return test.param.ours; });

// Every file in the folder is in the table above.
TEST(ChatTemplates, NoneIsUntested) {
  std::set<std::string> tested;
  for (const Case& test : Cases()) tested.insert(test.ours + ".jinja");
  for (const auto& entry : fs::directory_iterator("configs/templates")) {
    EXPECT_TRUE(tested.contains(entry.path().filename().string())) << entry.path();
  }
}

Json Gemma4Row(const std::string& tools, const std::string& messages) {
  return {{"messages", Json::parse(messages)},
          {"kwargs", {{"tools", Json::parse(tools)}}},
          {"special", {{"bos_token", "<bos>"}}}};
}

TEST(ChatTemplates, Gemma4DeclaresToolsOfEveryKindOfParameterLikeTheReference) {
  const std::string reference = SharedTokenizers() + "/templates/axolotl_gemma4.jinja";
  if (!fs::exists(reference)) GTEST_SKIP() << "no " << reference << ": set LIQUID_SHARED";
  const Json row = Gemma4Row(
      R"([{"function":{"name":"f","description":"d","parameters":{"type":"object","properties":{
        "Mode":{"type":"string","enum":["a","b"],"description":"m","nullable":true},
        "list":{"type":"array","items":{"type":"string"},"description":"l"},
        "inner":{"type":"object","properties":{"x":{"type":"number"}},"required":["x"]}}}}},
        {"function":{"name":"g","description":"no parameters"}}])",
      R"([{"role":"user","content":"u"},
        {"role":"assistant","reasoning":"why","tool_calls":[{"id":"1","function":{"name":"f",
          "arguments":{"b":[1,true,"s"],"a":{"k":"v"},"n":null}}}]}])");
  const auto ours = Render("configs/templates/gemma4.jinja", row);
  const auto theirs = Render(reference, row);
  ASSERT_TRUE(ours.ok()) << ours.status();
  ASSERT_TRUE(theirs.ok()) << theirs.status();
  EXPECT_EQ(ours->text, theirs->text);
}

TEST(ChatTemplates, Gemma4TrainsCallsAndWhereTheyStopButNotWhatToolsReturn) {
  const Json row = Gemma4Row("[]", R"([{"role":"user","content":"u"},
        {"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f","arguments":{}}}]},
        {"role":"tool","tool_call_id":"1","content":"r"},{"role":"assistant","content":"done"}])");
  const auto chat = Render("configs/templates/gemma4.jinja", row);
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_EQ(TrainedTexts(*chat),
            (std::vector<std::string>{"<|tool_call>call:f{}<tool_call|><|tool_response>",
                                      "done<turn|>"}));
}

}  // namespace
}  // namespace liquid
