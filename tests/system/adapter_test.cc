// Adapters from outside: trained, stopped, gone on with, used, merged.
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "gmock/gmock.h"
#include "tests/system/liquid_process.h"

namespace liquid::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class AdapterTest : public ::testing::Test {
 protected:
  // A base model, trained for a few steps.
  void SetUp() override {
    std::ifstream all("configs/quickstart/train.jsonl");
    std::vector<std::string> lines;
    for (std::string line; lines.size() < 24 && std::getline(all, line);) lines.push_back(line);
    std::ofstream(directory_ / "train.jsonl") << absl::StrJoin(lines, "\n") << "\n";
    const std::string root = std::filesystem::current_path().string();
    WriteJob("base.yaml",
             absl::StrCat("{config: ", root, "/tests/system/tiny_model.json, ", "tokenizer: ", root,
                          "/configs/quickstart/tokenizer, init_seed: 7}"));
    const Finished run = RunToEnd({"liquid", "train", directory_ / "base.yaml", "-n", "1"});
    ASSERT_EQ(run.exit_code, 0) << run.output;
    const std::string trained = Path("base/checkpoints/latest");
    ASSERT_EQ(RunToEnd({"liquid", "export", trained, Path("model")}).exit_code, 0);
    WriteJob("adapter.yaml", absl::StrCat("{from: ", Path("model"), "}"),
             "adapter: {rank: 4, alpha: 16, target_modules: [q_proj, '*mlp.*'], dropout: 0.1}\n");
  }

  void WriteJob(const std::string& name, const std::string& model, const std::string& more = "") {
    std::ofstream(directory_ / name) << absl::StrCat(
        "output: ", directory_ / std::filesystem::path(name).stem().string(), "\nmodel: ", model,
        "\ndata: {train: [train.jsonl], sequence_length: 128}\n"
        "training: {epochs: 2, slots_per_step: 4, rows_per_slot: 1, seed: 5}\n"
        "optimizer: {learning_rate: 1.0e-2, weight_decay: 0}\n"
        "checkpoint: {every_steps: 2}\n",
        more);
  }

  std::string Path(const std::string& name) const { return directory_ / name; }

  Finished Train(int ranks, const std::string& output, std::vector<std::string> more = {}) const {
    std::vector<std::string> command = {"liquid",
                                        "train",
                                        Path("adapter.yaml"),
                                        "-n",
                                        absl::StrCat(ranks),
                                        "--set",
                                        absl::StrCat("output=", Path(output))};
    command.insert(command.end(), more.begin(), more.end());
    return RunToEnd(command);
  }

  std::string Latest(const std::string& output) const {
    return Path(output) + "/checkpoints/latest";
  }

  std::string Fingerprint(const std::string& directory) const {
    const Finished run = RunToEnd({"liquid", "fingerprint", directory});
    EXPECT_EQ(run.exit_code, 0) << run.output;
    return LastLine(run.output);
  }

  static Finished Ask(const std::string& directory, const std::string& base = "") {
    std::vector<std::string> command = {
        "liquid", "generate", directory, "--prompt", "How do I list files?", "--max-tokens", "12"};
    if (!base.empty()) command.insert(command.end(), {"--base", base});
    return RunToEnd(command);
  }

  static std::string Answer(const std::string& directory, const std::string& base = "") {
    const Finished run = Ask(directory, base);
    EXPECT_EQ(run.exit_code, 0) << run.output;
    return run.output.substr(0, run.output.find("\n("));
  }

  TemporaryDirectory directory_;
};

TEST_F(AdapterTest, AnyRanksAndStopsComeToTheSameAdapters) {
  const Finished run = Train(1, "one");
  ASSERT_EQ(run.exit_code, 0) << run.output;
  const std::string reference = Fingerprint(Latest("one"));
  ASSERT_EQ(Train(3, "three").exit_code, 0);
  EXPECT_EQ(Fingerprint(Latest("three")), reference);
  int starts = 0;
  Finished next{75, ""};
  for (; next.exit_code == 75 && starts < 20; ++starts) {
    next = Train(starts % 2 + 1, "stopped", {"--max-steps", "2"});
  }
  EXPECT_EQ(next.exit_code, 0) << next.output;
  EXPECT_GT(starts, 2);
  EXPECT_EQ(Fingerprint(Latest("stopped")), reference);
  for (const char* output : {"one", "three", "stopped"}) {
    EXPECT_EQ(RunToEnd({"liquid", "audit", Path(output)}).exit_code, 0) << output;
    EXPECT_EQ(RunToEnd({"liquid", "verify", Latest(output)}).exit_code, 0) << output;
  }
  const Finished replay =
      RunToEnd({"liquid", "replay", Path("one"), "--from", Latest("stopped"), "--to-step", "4"});
  EXPECT_NE(replay.exit_code, 0) << "the newest checkpoint is behind step 4";
}

TEST_F(AdapterTest, TheLayoutIsThatOfPeft) {
  ASSERT_EQ(Train(2, "run").exit_code, 0);
  const std::string config = *ReadFile(Latest("run") + "/adapter_config.json");
  for (const std::string& part :
       {std::string("\"peft_type\": \"LORA\""), std::string("\"r\": 4"),
        std::string("\"lora_alpha\": 16"), absl::StrCat("\"", Path("model"), "\""),
        std::string("\"q_proj\""), std::string("\"down_proj\"")}) {
    EXPECT_THAT(config, HasSubstr(part));
  }
  EXPECT_THAT(config, Not(HasSubstr("\"o_proj\"")));
  const std::string weights = *ReadFile(Latest("run") + "/adapter_model.safetensors");
  EXPECT_THAT(weights, HasSubstr("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"));
  EXPECT_THAT(weights, Not(HasSubstr("embed_tokens")));
  EXPECT_FALSE(FileExists(Latest("run") + "/model.safetensors"));
  EXPECT_FALSE(FileExists(Latest("run") + "/config.json"));
  EXPECT_TRUE(FileExists(Latest("run") + "/tokenizer.json"));
}

TEST_F(AdapterTest, MergedAdaptersAnswerAsAdaptersBesideTheirModel) {
  ASSERT_EQ(Train(1, "run").exit_code, 0);
  const Finished merge = RunToEnd({"liquid", "merge", Latest("run"), Path("merged")});
  ASSERT_EQ(merge.exit_code, 0) << merge.output;
  const std::string answer = Answer(Latest("run"));
  EXPECT_EQ(Answer(Path("merged")), answer);
  std::filesystem::rename(Path("model"), Path("moved"));
  EXPECT_THAT(Ask(Latest("run")).output, HasSubstr("say with --base where it is"));
  EXPECT_EQ(Answer(Latest("run"), Path("moved")), answer);
  EXPECT_NE(Ask(Path("merged"), Path("moved")).exit_code, 0) << "it has no adapters";
  std::filesystem::rename(Path("moved"), Path("model"));
  EXPECT_NE(Fingerprint(Path("merged")), Fingerprint(Path("model")));
  const Finished exported = RunToEnd({"liquid", "export", Latest("run"), Path("exported")});
  EXPECT_EQ(exported.exit_code, 2) << exported.output;
  EXPECT_THAT(exported.output, HasSubstr("`liquid merge` makes a model of them"));
  const Finished again =
      RunToEnd({"liquid", "merge", Latest("run"), Path("again"), "--base", Path("nowhere")});
  EXPECT_NE(again.exit_code, 0);
  EXPECT_THAT(again.output, HasSubstr("say with --base where it is"));
}

// The template that a model was trained by goes with it, into checkpoints and merged models.
TEST_F(AdapterTest, TheChatTemplateOfTheJobGoesWithTheAdapters) {
  const std::string text = *ReadFile("configs/templates/chatml.jinja");
  ASSERT_EQ(Train(1, "run",
                  {"--set",
                   absl::StrCat("data.chat_template=", std::filesystem::current_path().string(),
                                "/configs/templates/chatml.jinja"),
                   "--max-steps", "2"})
                .exit_code,
            75);
  EXPECT_EQ(*ReadFile(Latest("run") + "/chat_template.jinja"), text);
  ASSERT_EQ(RunToEnd({"liquid", "merge", Latest("run"), Path("merged")}).exit_code, 0);
  EXPECT_EQ(*ReadFile(Path("merged") + "/chat_template.jinja"), text);
}

TEST_F(AdapterTest, BadAdaptersAreRefusedBeforeTraining) {
  const auto error = [this](const std::string& setting) {
    const Finished run = Train(1, "refused", {"--set", setting});
    EXPECT_NE(run.exit_code, 0) << setting;
    return run.output;
  };
  EXPECT_THAT(error("adapter.target_modules=[qproj]"),
              HasSubstr("adapter.target_modules: 'qproj' is none of the model's linear layers"));
  EXPECT_THAT(error("training.freeze=['*norm*']"), HasSubstr("training.freeze"));
  EXPECT_THAT(error("adapter.dropout=1"), HasSubstr("must be in [0, 1)"));
  EXPECT_THAT(error(absl::StrCat("model={config: ", Path("model"),
                                 "/config.json, tokenizer: ", Path("model"), ", init_seed: 1}")),
              HasSubstr("'adapter' wants 'model.from'"));
}

}  // namespace
}  // namespace liquid::testing
