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

}  // namespace
}  // namespace liquid
