// What configs/quickstart promises: conversations in order, commands that parse, no question twice.
#include <sys/wait.h>
#include <unistd.h>

#include <cctype>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace liquid {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing::IsEmpty;

constexpr std::string_view kFolder = "configs/quickstart/";
constexpr std::string_view kFence = "```";

struct Message {
  std::string role;
  std::string content;
};

struct Conversation {
  std::string where;  // file:line
  std::vector<Message> messages;

  std::vector<std::string> Of(std::string_view role) const {
    std::vector<std::string> contents;
    for (const Message& message : messages) {
      if (message.role == role) contents.push_back(message.content);
    }
    return contents;
  }
};

Json ParseJson(const std::string& text) {
  return Json::parse(text, /*cb=*/nullptr, /*allow_exceptions=*/false);
}

// The value of a string field; empty where `object` has none.
std::string Text(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : "";
}

std::vector<std::string> LinesOf(std::string_view name) {
  std::ifstream file{std::string(kFolder) + std::string(name)};
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

std::vector<Conversation> ReadConversations(const std::string& name) {
  std::vector<Conversation> conversations;
  int line_number = 0;
  for (const std::string& line : LinesOf(name)) {
    Conversation conversation{absl::StrCat(name, ":", ++line_number), {}};
    const Json row = ParseJson(line);
    const bool is_conversation = row.is_object() && row.contains("messages");
    EXPECT_TRUE(is_conversation) << conversation.where << ": no object with messages";
    if (is_conversation) {
      for (const Json& message : row["messages"]) {
        conversation.messages.push_back({Text(message, "role"), Text(message, "content")});
      }
    }
    conversations.push_back(std::move(conversation));
  }
  return conversations;
}

// An answer is commands alone, or one ```bash fence and a sentence; anything else gives "".
std::string CommandsOf(const std::string& answer) {
  constexpr std::string_view kOpen = "```bash\n";
  if (answer.find(kFence) == std::string::npos) return answer;
  const size_t close = answer.find("\n```\n", kOpen.size());
  if (!answer.starts_with(kOpen) || close == std::string::npos) return "";
  const std::string sentence = answer.substr(close + 5);
  if (sentence.empty() || sentence.find('\n') != std::string::npos) return "";
  return answer.substr(kOpen.size(), close - kOpen.size());
}

// Two questions with the same key are the same question.
std::string KeyOf(std::string_view question) {
  std::string key;
  for (const char c : question) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      key += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!key.empty() && key.back() != ' ') {
      key += ' ';
    }
  }
  while (!key.empty() && key.back() == ' ') key.pop_back();
  return key;
}

struct Outcome {
  int status;
  std::string output;  // stdout and stderr
};

Outcome RunShell(const std::string& command) {
  FILE* const pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return {-1, "popen failed"};
  std::string output;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) output += static_cast<char>(c);
  const int status = pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, output};
}

// A script that defines one function per text, so that one bash parses them all.
class FunctionsScript {
 public:
  FunctionsScript() : path_(fs::temp_directory_path() / absl::StrCat("quickstart.", getpid())) {}
  ~FunctionsScript() { fs::remove(path_); }
  FunctionsScript(const FunctionsScript&) = delete;
  FunctionsScript& operator=(const FunctionsScript&) = delete;

  void Add(const std::string& commands) {
    text_ += absl::StrCat("f", num_functions_++, "() {\n", commands, "\n}\n");
  }

  // What bash says against the script; empty if nothing. Runs none of the commands.
  std::string Complaint() const {
    std::ofstream(path_) << text_ << "compgen -A function\n";
    const std::string file = absl::StrCat("'", path_.string(), "'");
    const Outcome parse = RunShell("bash -n " + file);
    if (parse.status != 0 || !parse.output.empty()) return absl::StrCat("bash -n: ", parse.output);
    // A quote left open in one text and closed in a later one parses, but swallows functions. Only
    // definitions are executed; should one end early, a restricted shell without PATH is harmless.
    const Outcome names = RunShell("env -i PATH=/nonexistent /bin/bash --restricted < " + file);
    std::istringstream lines(names.output);
    int num_defined = 0;
    for (std::string line; std::getline(lines, line); ++num_defined) {
      if (line.empty() || line[0] != 'f') return absl::StrCat("bash: ", names.output);
    }
    if (num_defined == num_functions_) return "";
    return absl::StrCat(num_functions_ - num_defined, " commands are not closed");
  }

 private:
  fs::path path_;
  std::string text_;
  int num_functions_ = 0;
};

TEST(QuickstartData, HasConversationsEnough) {
  const std::vector<Conversation> train = ReadConversations("train.jsonl");
  EXPECT_GE(train.size(), 500u);
  EXPECT_GE(ReadConversations("eval.jsonl").size(), 40u);
  size_t num_multi_turn = 0;
  for (const Conversation& conversation : train) {
    if (conversation.Of("user").size() > 1) ++num_multi_turn;
  }
  EXPECT_GE(num_multi_turn, 80u);
}

TEST(QuickstartData, RolesAlternateAfterAnOptionalSystemMessage) {
  for (const char* const name : {"train.jsonl", "eval.jsonl"}) {
    for (const Conversation& conversation : ReadConversations(name)) {
      std::string roles;
      for (const Message& message : conversation.messages) {
        EXPECT_FALSE(message.content.empty()) << conversation.where;
        roles += message.role + " ";
      }
      EXPECT_THAT(roles, testing::MatchesRegex("(system )?(user assistant )+"))
          << conversation.where;
    }
  }
}

TEST(QuickstartData, EveryAnswerIsCommandsThatParse) {
  FunctionsScript script;
  for (const char* const name : {"train.jsonl", "eval.jsonl"}) {
    for (const Conversation& conversation : ReadConversations(name)) {
      for (const std::string& answer : conversation.Of("assistant")) {
        const std::string commands = CommandsOf(answer);
        EXPECT_FALSE(commands.empty()) << conversation.where << ": " << answer;
        script.Add(commands);
      }
    }
  }
  EXPECT_THAT(script.Complaint(), IsEmpty());
}

TEST(QuickstartData, TheParseCheckSeesABrokenCommand) {
  FunctionsScript broken;
  broken.Add("for f in *; do echo");
  EXPECT_THAT(broken.Complaint(), testing::HasSubstr("bash -n"));

  FunctionsScript open_quotes;
  open_quotes.Add("echo 'open");
  open_quotes.Add("echo fine");
  open_quotes.Add("echo closed'");
  EXPECT_THAT(open_quotes.Complaint(), testing::HasSubstr("not closed"));
}

TEST(QuickstartData, NoQuestionIsAskedTwice) {
  std::map<std::string, std::string> where_of;
  for (const char* const name : {"train.jsonl", "eval.jsonl"}) {
    for (const Conversation& conversation : ReadConversations(name)) {
      const std::vector<std::string> questions = conversation.Of("user");
      ASSERT_FALSE(questions.empty()) << conversation.where;
      const auto [it, is_first] = where_of.emplace(KeyOf(questions[0]), conversation.where);
      EXPECT_TRUE(is_first) << conversation.where << " asks what " << it->second
                            << " asks: " << questions[0];
    }
  }
}

TEST(QuickstartData, TheQuestionsAskedAtTheEndAreTrainedOnes) {
  std::map<std::string, std::string> answers;
  for (const Conversation& conversation : ReadConversations("train.jsonl")) {
    const std::vector<Message>& messages = conversation.messages;
    if (messages.size() == 2) answers[messages[0].content] = messages[1].content;
  }
  std::vector<std::string> prompts;
  for (const std::string& line : LinesOf("questions.jsonl")) {
    const Json row = ParseJson(line);
    prompts.push_back(Text(row, "prompt"));
    EXPECT_EQ(answers[prompts.back()], Text(row, "answer")) << prompts.back();
  }
  EXPECT_EQ(prompts.size(), 3u);
  EXPECT_EQ(prompts, LinesOf("questions.txt"));
}

TEST(QuickstartData, TheModelFitsTheTokenizer) {
  const auto parse_file = [](const char* name) {
    std::ifstream file{std::string(kFolder) + name};
    std::ostringstream text;
    text << file.rdbuf();
    return ParseJson(text.str());
  };
  const Json model = parse_file("model.json");
  const Json tokenizer = parse_file("tokenizer/tokenizer.json");
  const Json options = parse_file("tokenizer/tokenizer_config.json");
  ASSERT_TRUE(model.is_object() && tokenizer.is_object() && options.is_object());

  std::map<std::string, int> ids;
  for (const Json& token : tokenizer["added_tokens"]) ids[token["content"]] = token["id"];
  std::set<int> all_ids;
  for (const auto& [content, id] : ids) all_ids.insert(id);
  for (const Json& id : tokenizer["model"]["vocab"]) all_ids.insert(id.get<int>());
  EXPECT_EQ(model["vocab_size"], all_ids.size());
  EXPECT_EQ(*all_ids.rbegin() + 1, static_cast<int>(all_ids.size()));

  for (const char* const name : {"bos_token", "eos_token", "pad_token"}) {
    ASSERT_TRUE(ids.contains(Text(options, name))) << name;
    EXPECT_EQ(model[std::string(name) + "_id"], ids[Text(options, name)]) << name;
  }
}

}  // namespace
}  // namespace liquid
