// Templates in use, against what transformers' way of rendering makes of them.
//
// The files in tests/data/golden/chat/ are a part of what LIQUID_SHARED holds.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "data/chat_template.h"
#include "data/jinja/utf8.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace liquid {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::string SharedTokenizers() {
  const char* shared = std::getenv("LIQUID_SHARED");
  return std::string(shared == nullptr ? "../shared" : shared) + "/golden/tokenizers";
}

// What the tokenizers of these templates have as special tokens.
const std::vector<std::string>& SpecialTokens() {
  static const auto* const tokens = new std::vector<std::string>{"<|im_start|>",
                                                                 "<|im_end|>",
                                                                 "<|endoftext|>",
                                                                 "<|begin_of_text|>",
                                                                 "<|eot_id|>",
                                                                 "<|eom_id|>",
                                                                 "<|start_header_id|>",
                                                                 "<|end_header_id|>",
                                                                 "<|python_tag|>",
                                                                 "<bos>",
                                                                 "<eos>",
                                                                 "<start_of_turn>",
                                                                 "<end_of_turn>",
                                                                 "<|turn>",
                                                                 "<turn|>",
                                                                 "<s>",
                                                                 "</s>",
                                                                 "<|start|>",
                                                                 "<|end|>",
                                                                 "<|message|>",
                                                                 "<|channel|>",
                                                                 "<|return|>",
                                                                 "<|call|>",
                                                                 "<|startoftext|>",
                                                                 "<|tool_call_start|>",
                                                                 "<|tool_call_end|>",
                                                                 "<｜User｜>",
                                                                 "<｜Assistant｜>",
                                                                 "<｜end▁of▁sentence｜>",
                                                                 "<|assistant|>",
                                                                 "<|user|>",
                                                                 "<|system|>"};
  return *tokens;
}

std::vector<Json> ReadJsonLines(const std::string& path) {
  std::vector<Json> rows;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) rows.push_back(Json::parse(line));
  return rows;
}

class Templates {
 public:
  explicit Templates(std::string directory) : directory_(std::move(directory)) {}

  const ChatTemplate& Get(const std::string& name) {
    auto it = parsed_.find(name);
    if (it == parsed_.end()) {
      const auto source = ReadFile(directory_ + "/" + name + ".jinja");
      EXPECT_TRUE(source.ok()) << source.status();
      auto parsed = ChatTemplate::Parse(*source, name);
      EXPECT_TRUE(parsed.ok()) << parsed.status();
      it = parsed_.emplace(name, *std::move(parsed)).first;
    }
    return it->second;
  }

 private:
  const std::string directory_;
  std::map<std::string, ChatTemplate> parsed_;
};

absl::StatusOr<RenderedChat> RenderRow(const ChatTemplate& chat_template, const Json& row) {
  ChatTemplate::Inputs inputs;
  inputs.messages = &row["messages"];
  inputs.kwargs = &row["kwargs"];
  for (const auto& [name, token] : row["special"].items()) {
    if (token.is_string()) inputs.special_tokens[name] = token.get<std::string>();
  }
  inputs.end_of_turn_candidates = SpecialTokens();
  inputs.now = absl::CivilSecond(2026, 1, 15, 12, 0, 0);
  return chat_template.Render(inputs);
}

// Spans of bytes as the golden files have them: in code points.
Json InCodePoints(const RenderedChat& chat) {
  Json spans = Json::array();
  const std::string_view text = chat.text;
  for (const ByteRange& span : chat.generation_spans) {
    spans.push_back({jinja::CountCodePoints(text.substr(0, span.begin)),
                     jinja::CountCodePoints(text.substr(0, span.end))});
  }
  return spans;
}

void ExpectGolden(Templates& templates, const std::string& path, size_t* num_rows) {
  for (const Json& row : ReadJsonLines(path)) {
    SCOPED_TRACE(row["template"].get<std::string>() + " " + row["case"].get<std::string>());
    const auto chat = RenderRow(templates.Get(row["template"]), row);
    ++*num_rows;
    if (row.contains("error")) {
      EXPECT_FALSE(chat.ok()) << chat->text;
      continue;
    }
    ASSERT_TRUE(chat.ok()) << chat.status();
    EXPECT_EQ(chat->text, row["rendered"].get<std::string>());
    if (row.contains("spans")) {
      EXPECT_EQ(InCodePoints(*chat), row["spans"]);
      EXPECT_EQ(chat->trained, chat->generation_spans);
    }
  }
}

TEST(ChatTemplateGoldenTest, RendersTheCommittedRowsByteForByte) {
  Templates templates("tests/data/golden/chat");
  size_t num_rows = 0;
  ExpectGolden(templates, "tests/data/golden/chat/chat.jsonl", &num_rows);
  EXPECT_GE(num_rows, 60u);
}

TEST(ChatTemplateGoldenTest, RendersEveryRowByteForByte) {
  if (!fs::exists(SharedTokenizers())) {
    GTEST_SKIP() << "no golden files in " << SharedTokenizers() << ": set LIQUID_SHARED";
  }
  Templates templates(SharedTokenizers() + "/templates");
  size_t num_rows = 0;
  for (const auto& entry : fs::directory_iterator(SharedTokenizers())) {
    const std::string path = entry.path().string() + "/chat.jsonl";
    if (fs::exists(path)) ExpectGolden(templates, path, &num_rows);
  }
  EXPECT_GE(num_rows, 500u);
}

// The trained bytes without the newline that some templates put behind the end of a turn, inside
// of their generation blocks.
std::vector<std::string> TrainedTexts(const RenderedChat& chat) {
  std::vector<std::string> texts;
  for (const ByteRange& range : chat.trained) {
    std::string text = chat.text.substr(range.begin, range.end - range.begin);
    if (text.ends_with(">\n")) text.pop_back();
    texts.push_back(text);
  }
  return texts;
}

// Templates that exist with and without generation blocks: where both render the same text, the
// origins of the plain one must find the very bytes that the author marked in the other.
void ExpectSameTraining(const std::string& plain, const std::string& marked,
                        const std::set<std::string>& except, size_t min_compared) {
  if (!fs::exists(SharedTokenizers())) {
    GTEST_SKIP() << "no golden files in " << SharedTokenizers() << ": set LIQUID_SHARED";
  }
  Templates templates(SharedTokenizers() + "/templates");
  size_t num_compared = 0;
  for (const auto& entry : fs::directory_iterator(SharedTokenizers())) {
    const std::string path = entry.path().string() + "/chat.jsonl";
    if (!fs::exists(path)) continue;
    for (const Json& row : ReadJsonLines(path)) {
      if (row["template"] != plain || except.contains(row["case"])) continue;
      SCOPED_TRACE(plain + " " + row["case"].get<std::string>());
      const auto by_origin = RenderRow(templates.Get(plain), row);
      const auto by_marks = RenderRow(templates.Get(marked), row);
      if (!by_origin.ok() || !by_marks.ok() || by_origin->text != by_marks->text) continue;
      ++num_compared;
      EXPECT_EQ(TrainedTexts(*by_origin), TrainedTexts(*by_marks));
    }
  }
  EXPECT_GE(num_compared, min_compared);
}

TEST(ChatTemplateGoldenTest, FindsTheTurnsThatLlama3Marks) {
  ExpectSameTraining("trl_llama3", "trl_llama3_training", {}, 20);
}

TEST(ChatTemplateGoldenTest, FindsTheTurnsThatQwen3Marks) {
  ExpectSameTraining("trl_qwen3", "trl_qwen3_training", {}, 10);
  // "parts": this template drops content that is a list, so nothing of the answer is there to find;
  // its marked form would train a lone end of turn.
  ExpectSameTraining("trl_qwen3_instruct_2507", "trl_qwen3_instruct_2507_training", {"parts"}, 20);
}

// The marks of trl_qwen2_5_training begin before the newline of the header, which the generation
// prompt gives.
TEST(ChatTemplateGoldenTest, FindsTheTurnsThatQwen25MarksWithoutTheHeadersNewline) {
  if (!fs::exists(SharedTokenizers())) GTEST_SKIP() << "set LIQUID_SHARED";
  Templates templates(SharedTokenizers() + "/templates");
  for (const Json& row : ReadJsonLines(SharedTokenizers() + "/qwen3/chat.jsonl")) {
    if (row["template"] != "trl_qwen2_5") continue;
    SCOPED_TRACE(row["case"].get<std::string>());
    const auto by_origin = RenderRow(templates.Get("trl_qwen2_5"), row);
    const auto by_marks = RenderRow(templates.Get("trl_qwen2_5_training"), row);
    if (!by_origin.ok() || !by_marks.ok()) continue;
    std::vector<std::string> marked = TrainedTexts(*by_marks);
    for (std::string& text : marked) text.erase(0, text.starts_with('\n') ? 1 : 0);
    EXPECT_EQ(TrainedTexts(*by_origin), marked);
  }
}

TEST(ChatTemplateGoldenTest, FindsTheTurnsThatLfm2Marks) {
  ExpectSameTraining("trl_lfm2", "trl_lfm2_training", {}, 18);
}

TEST(ChatTemplateGoldenTest, FindsTheTurnsThatGemmaMarks) {
  ExpectSameTraining("trl_gemma", "trl_gemma_training", {}, 8);
  ExpectSameTraining("trl_gemma3", "trl_gemma3_training", {}, 12);
}

}  // namespace
}  // namespace liquid
