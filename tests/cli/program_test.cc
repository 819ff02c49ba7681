// The program `liquid` as people and scripts meet it: exit codes, lines, streams.
#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "checkpoint/fingerprint.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/checkpoint/sample_checkpoint.h"
#include "tests/testing/gzip_file.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::ReadPlainOrGzip;
using ::liquid::testing::SampleModel;
using ::liquid::testing::Save;
using ::liquid::testing::TemporaryDirectory;
using ::liquid::testing::WriteBytes;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

struct Answer {
  int code = -1;
  std::string out;  // stdout and stderr
  std::vector<std::string> lines() const {
    return absl::StrSplit(absl::StripSuffix(out, "\n"), '\n');
  }
};

// What the program answers to `arguments`, as written in a shell.
Answer Ask(const std::string& arguments) {
  Answer answer;
  std::FILE* pipe = popen(absl::StrCat(LIQUID_PROGRAM, " ", arguments, " 2>&1").c_str(), "r");
  EXPECT_NE(pipe, nullptr);
  char buffer[4096];
  while (const size_t count = std::fread(buffer, 1, sizeof(buffer), pipe)) {
    answer.out.append(buffer, count);
  }
  const int status = pclose(pipe);
  answer.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return answer;
}

TEST(Program, PlansAJobForMachinesThatAreNotThere) {
  const Answer text = Ask("plan configs/quickstart.yaml --device h100:8x4");
  EXPECT_EQ(text.code, 0) << text.out;
  EXPECT_THAT(text.out, HasSubstr("quickstart on 4 machines of 8 x h100"));
  EXPECT_THAT(text.out, HasSubstr("options, best first"));
  EXPECT_THAT(text.out, HasSubstr("<- as the job says"));
  const Answer answer = Ask("plan configs/quickstart.yaml --device a100:2 --json");
  EXPECT_EQ(answer.code, 0) << answer.out;
  const auto json = nlohmann::json::parse(answer.out, nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(json.is_object()) << answer.out;
  int64_t sum = 0;
  for (const auto& [name, bytes] : json["plan"]["memory"].items()) {
    if (name != "in all") sum += bytes.get<int64_t>();
  }
  EXPECT_EQ(sum, json["plan"]["memory"]["in all"].get<int64_t>());
  EXPECT_GT(json["plan"]["step_seconds"].get<double>(), 0);
  EXPECT_EQ(json["options"].size(), 4u) << "1 and 2 tensor ranks, with and without recompute";
  // This machine is measured.
  const Answer here = Ask("plan configs/quickstart.yaml --json");
  EXPECT_EQ(here.code, 0) << here.out;
  const auto measured = nlohmann::json::parse(here.out, nullptr, /*allow_exceptions=*/false);
  EXPECT_THAT(measured["model"].get<std::string>(), HasSubstr("measured here"));
  const Answer too_much =
      Ask("plan configs/quickstart.yaml --device h100 --set training.rows_per_slot=40000");
  EXPECT_EQ(too_much.code, 8) << too_much.out;
  EXPECT_THAT(too_much.out, HasSubstr("DOES NOT FIT: "));
  EXPECT_THAT(too_much.out, HasSubstr(" > 80.0 GB; "));
  EXPECT_THAT(too_much.out, HasSubstr(" would fit ("));
}

TEST(Program, MistakesOnTheCommandLineAreOneLineAndCode2) {
  for (const std::string arguments : {"",
                                      "fly",
                                      "train",
                                      "train a b",
                                      "train /nowhere/job.yaml",
                                      "status",
                                      "status /nowhere --coordinator a:1",
                                      "status /nowhere",
                                      "audit",
                                      "audit /nowhere",
                                      "generate /tmp",
                                      "fingerprint",
                                      "tokenize",
                                      "train configs/quickstart.yaml -n 0",
                                      "train configs/quickstart.yaml --set training.epoch=1",
                                      "inspect configs/quickstart.yaml --color pink",
                                      "plan",
                                      "plan /nowhere/job.yaml",
                                      "plan configs/quickstart.yaml --device h1000",
                                      "gangs",
                                      "gangs /nowhere",
                                      "drain",
                                      "drain 2",
                                      "drain x /nowhere",
                                      "drain 2 /nowhere",
                                      "coordinator",
                                      "launch",
                                      "launch /nowhere/job.yaml",
                                      "launch configs/quickstart.yaml --gangs 0",
                                      "launch configs/quickstart.yaml --token-file /nowhere/token",
                                      "replay /nowhere",
                                      "replay /nowhere --from step-00000001 --to-step 2"}) {
    const Answer answer = Ask(arguments);
    EXPECT_EQ(answer.code, 2) << arguments << "\n" << answer.out;
    EXPECT_THAT(answer.lines(), SizeIs(1)) << arguments;
    EXPECT_THAT(answer.out, StartsWith("liquid")) << arguments;
  }
}

TEST(Program, SaysWhatItWouldLaunch) {
  const Answer answer = Ask("launch configs/quickstart.yaml --gangs 3 -n 2 --dry-run");
  if (answer.code == 2 && answer.out.find("is missing; build it") != std::string::npos) {
    GTEST_SKIP() << answer.out;
  }
  EXPECT_EQ(answer.code, 0) << answer.out;
  ASSERT_THAT(answer.lines(), SizeIs(2));
  EXPECT_THAT(answer.lines()[0], HasSubstr("liquid-coordinator configs/quickstart.yaml --listen"));
  EXPECT_THAT(answer.lines()[1], StartsWith("3 times: mpirun"));
  EXPECT_THAT(answer.lines()[1], EndsWith("liquid-worker --coordinator HOST:PORT"));
}

TEST(Program, SuggestsTheVerbThatWasMeant) {
  EXPECT_THAT(Ask("fingerprnt .").out, HasSubstr("did you mean 'fingerprint'?"));
  EXPECT_THAT(Ask("train configs/quickstart.yaml --set training.epoc=1").out,
              HasSubstr("did you mean 'epochs'?"));
}

TEST(Program, EveryVerbExplainsItself) {
  const Answer help = Ask("--help");
  EXPECT_EQ(help.code, 0);
  for (const std::string verb :
       {"train", "launch", "coordinator", "status", "watch", "gangs", "pause", "resume",
        "checkpoint", "stop", "drain", "audit", "replay", "verify", "fingerprint", "prepare",
        "inspect", "tokenize", "generate"}) {
    EXPECT_THAT(help.out, HasSubstr(absl::StrCat("  ", verb, " "))) << verb;
    const Answer own = Ask(verb + " --help");
    EXPECT_EQ(own.code, 0) << verb;
    EXPECT_GT(own.lines().size(), 3u) << verb;
  }
}

TEST(Program, DryRunPrintsTheMpirunCommand) {
  const Answer answer = Ask("train configs/quickstart.yaml -n 3 --set training.epochs=3 --dry-run");
  if (answer.code == 2 && answer.out.find("liquid-worker is missing") != std::string::npos) {
    GTEST_SKIP() << "liquid-worker is not built";
  }
  EXPECT_EQ(answer.code, 0) << answer.out;
  EXPECT_THAT(answer.out, StartsWith("mpirun "));
  EXPECT_THAT(answer.out, HasSubstr("-n 3"));
  EXPECT_THAT(answer.out, HasSubstr("--set training.epochs=3"));
}

TEST(Program, FingerprintStandsAloneOnTheLastLine) {
  const TemporaryDirectory root;
  const SampleModel sample(7);
  ASSERT_THAT(Save(root.path(), 5, sample), ::liquid::testing::IsOk());
  const Answer answer = Ask("fingerprint " + root.path() + "/step-00000005");
  EXPECT_EQ(answer.code, 0);
  EXPECT_EQ(answer.lines().back(), ToHex(sample.Fingerprint()));
}

TEST(Program, VerifyNamesDamageAndEndsWithCode4) {
  const TemporaryDirectory root;
  ASSERT_THAT(Save(root.path(), 5, SampleModel(7)), ::liquid::testing::IsOk());
  const std::string directory = root.path() + "/step-00000005";
  EXPECT_EQ(Ask("verify " + directory).code, 0);
  const std::string path = directory + "/model.safetensors";
  std::string bytes = *ReadFile(path);
  bytes.back() ^= 1;
  WriteBytes(path, bytes);
  const Answer answer = Ask("verify " + directory);
  EXPECT_EQ(answer.code, 4);
  EXPECT_THAT(answer.out, HasSubstr("model.safetensors"));
  const auto json = nlohmann::json::parse(Ask("verify --json " + directory).lines().front(),
                                          nullptr, /*allow_exceptions=*/false);
  EXPECT_EQ(json["sound"], false);
  EXPECT_EQ(Ask("verify " + root.path() + "/nothing").code, 4);
}

TEST(Program, TokenizeAnswersALineForALine) {
  const TemporaryDirectory directory;
  WriteBytes(directory.path() + "/tokenizer.json",
             ReadPlainOrGzip("tests/data/golden/lfm2_surrogate/tokenizer.json"));
  WriteBytes(directory.path() + "/in.jsonl",
             "{\"text\": \"ls -la\"}\n\n{\"text\": \"\"}\nnonsense\n{\"text\": \"no line end\"}");
  const Answer answer =
      Ask(absl::StrCat("tokenize ", directory.path(), " < ", directory.path(), "/in.jsonl"));
  EXPECT_EQ(answer.code, 0);
  const std::vector<std::string> lines = answer.lines();
  ASSERT_EQ(lines.size(), 5u) << answer.out;
  EXPECT_THAT(lines[0], StartsWith("{\"ids\":["));
  EXPECT_THAT(lines[1], StartsWith("{\"error\":"));
  EXPECT_EQ(lines[2], "{\"ids\":[]}");
  EXPECT_THAT(lines[3], StartsWith("{\"error\":"));
  EXPECT_THAT(lines[4], EndsWith("]}"));
  EXPECT_EQ(Ask("tokenize /nowhere < /dev/null").code, 3);
}

TEST(Program, InspectMarksWhatIsTrained) {
  const TemporaryDirectory directory;
  const std::string job =
      absl::StrCat("configs/quickstart.yaml --set output=", directory.path(), "/run");
  const Answer answer = Ask("inspect " + job + " --rows 2");
  EXPECT_EQ(answer.code, 0) << answer.out;
  EXPECT_THAT(answer.out, HasSubstr("quickstart/train.jsonl:"));
  EXPECT_THAT(answer.out, HasSubstr("[["));
  EXPECT_EQ(answer.out.find('\x1b'), std::string::npos);
  EXPECT_THAT(Ask("inspect --color always " + job).out, HasSubstr("\x1b["));
  EXPECT_EQ(Ask("inspect --row 1000000 " + job).code, 2);
}

constexpr const char* kBriefChat =
    R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})";

// A job over these lines, as the arguments of a verb.
std::string JobOver(const TemporaryDirectory& directory, const std::string& train,
                    const std::string& eval) {
  WriteBytes(directory.path() + "/train.jsonl", train);
  WriteBytes(directory.path() + "/eval.jsonl", eval);
  return absl::StrCat("configs/quickstart.yaml --set output=", directory.path(),
                      "/run --set data.train=", directory.path(),
                      "/train.jsonl --set data.eval=", directory.path(), "/eval.jsonl");
}

TEST(Program, InspectTellsTemplateLengthsAndDuplicates) {
  const TemporaryDirectory directory;
  std::string words;
  for (int i = 0; i < 400; ++i) absl::StrAppend(&words, "word ");
  const std::string job =
      JobOver(directory,
              absl::StrCat(kBriefChat, "\n", R"({"messages": [{"role": "user", "content": "c"},)",
                           R"( {"role": "assistant", "content": ")", words, "\"}]}\n"),
              absl::StrCat("{\"text\": \"x\"}\n", kBriefChat, "\n"));
  const Answer answer = Ask("inspect --rows 2 " + job);
  EXPECT_EQ(answer.code, 0) << answer.out;
  EXPECT_THAT(answer.out, HasSubstr("quickstart/tokenizer/tokenizer_config.json, with words"));
  EXPECT_THAT(answer.out, HasSubstr("stop token: '<|im_end|>' ("));
  EXPECT_THAT(answer.out, HasSubstr("1 documents without their final turn's end"));
  EXPECT_THAT(answer.out, HasSubstr("longer than a row\n"));
  EXPECT_THAT(answer.out, HasSubstr(" |"));
  EXPECT_THAT(answer.out,
              HasSubstr("duplicates: 1 of the 2 examples of data.eval are in data.train"));
  EXPECT_THAT(answer.out, HasSubstr("/eval.jsonl:2 is /"));
  EXPECT_THAT(answer.out, HasSubstr("/train.jsonl:1\n"));
  EXPECT_THAT(answer.out, HasSubstr("[[b<|im_end|>]]"));
  EXPECT_EQ(answer.out.find('\x1b'), std::string::npos);
  EXPECT_EQ(Ask("inspect --no-duplicates " + job).out.find("duplicates"), std::string::npos);

  const Answer json = Ask("inspect --json --rows 10 " + job);
  EXPECT_EQ(json.code, 0) << json.out;
  const auto row = nlohmann::json::parse(json.lines().front(), nullptr, false);
  EXPECT_EQ(row["row"], 0);
  const auto dataset = nlohmann::json::parse(json.lines().back(), nullptr, false)["dataset"];
  EXPECT_EQ(dataset["chat"]["stop_token"], "<|im_end|>");
  EXPECT_EQ(dataset["cut_final_turns"], 1);
  EXPECT_EQ(dataset["duplicates"]["count"], 1);
  EXPECT_EQ(dataset["lengths"].size(), dataset["length_ends"].size() + 1);

  // The prepared file alone remembers all but the duplicates.
  const auto prepared = nlohmann::json::parse(Ask("prepare --json " + job).out, nullptr, false);
  const Answer alone = Ask(absl::StrCat("inspect --tokenizer configs/quickstart/tokenizer ",
                                        prepared["train"]["path"].get<std::string>()));
  EXPECT_EQ(alone.code, 0) << alone.out;
  EXPECT_THAT(alone.out, HasSubstr("1 documents without their final turn's end"));
  EXPECT_EQ(alone.out.find("duplicates"), std::string::npos);
}

TEST(Program, InspectNamesTheSourcesOfAMixture) {
  const TemporaryDirectory directory;
  WriteBytes(directory.path() + "/a.jsonl", absl::StrCat(kBriefChat, "\n"));
  WriteBytes(directory.path() + "/b.jsonl", absl::StrCat(kBriefChat, "\n", kBriefChat, "\n"));
  const std::string job = directory.path() + "/job.yaml";
  const std::string root = std::filesystem::current_path().string();
  WriteBytes(job, absl::StrCat("job: mixed\noutput: ", directory.path(),
                               "/run\nmodel: {config: model.json, tokenizer: ", root,
                               "/configs/quickstart/tokenizer, init_seed: 1}\n"
                               "data:\n  sequence_length: 64\n  mix:\n"
                               "    - {name: few, files: [a.jsonl], epochs: 2}\n"
                               "    - {name: more, files: [b.jsonl], epochs: 1}\n"));
  const Answer answer = Ask("inspect " + job);
  EXPECT_EQ(answer.code, 0) << answer.out;
  EXPECT_THAT(answer.out, HasSubstr("\n  source few: 1 documents in 1 rows; "));
  EXPECT_THAT(answer.out, HasSubstr("\n  source more: 2 documents in 1 rows; "));
  const Answer json = Ask("inspect --json " + job);
  const auto dataset = nlohmann::json::parse(json.lines().back(), nullptr, false)["dataset"];
  EXPECT_EQ(dataset["mixture"].size(), 2u) << json.out;
}

TEST(Program, LossChoicesReachThePreparedData) {
  const TemporaryDirectory directory;
  const std::string job = JobOver(
      directory,
      absl::StrCat(R"({"messages": [{"role": "user", "content": "a"},)",
                   R"( {"role": "assistant", "content": "b", "weight": 0.5},)",
                   R"( {"role": "assistant", "content": "c"}, {"role": "user", "content": "d"}]})"),
      kBriefChat);
  EXPECT_THAT(Ask("inspect " + job).out, HasSubstr("[[0.5|b<|im_end|>]]\n<|im_start|>assistant\n"
                                                   "[[c<|im_end|>]]"));
  EXPECT_THAT(Ask("inspect " + job).out, HasSubstr("weights besides 1: 0.5"));
  EXPECT_THAT(Ask("inspect --set data.train_on_stop_token=false " + job).out,
              HasSubstr("[[c]]<|im_end|>"));
  EXPECT_THAT(Ask("inspect --eval --set data.loss_on=all " + job).out,
              HasSubstr("<|startoftext|>[[<|im_start|>user\na<|im_end|>"));
  const Answer wrong = Ask("prepare --set data.loss_on=lasst " + job);
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.out, HasSubstr("did you mean 'last'?"));
}

TEST(Program, PrepareRefusesWhatWouldSpoilTheModel) {
  const TemporaryDirectory directory;
  const Answer ignored =
      Ask("prepare " + JobOver(directory,
                               absl::StrCat(kBriefChat, "\n",
                                            R"({"messages": [{"role": "user", "content": "a"}]})"),
                               kBriefChat));
  EXPECT_EQ(ignored.code, 3);
  EXPECT_THAT(ignored.out, HasSubstr("train.jsonl:2: nothing in it is trained"));
  WriteBytes(directory.path() + "/t.jinja",
             "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}");
  const Answer endless = Ask(absl::StrCat("prepare --set data.chat_template=", directory.path(),
                                          "/t.jinja ", JobOver(directory, kBriefChat, kBriefChat)));
  EXPECT_EQ(endless.code, 3);
  EXPECT_THAT(endless.out, HasSubstr("would never learn to stop"));
}

}  // namespace
}  // namespace liquid
