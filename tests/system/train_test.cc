// The promise, seen from outside: the same job gives the same bits on any number of ranks, however
// often it is stopped and whatever is broken on the way; and the ledger proves it.
#include <signal.h>
#include <sys/mount.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>
#include <tuple>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "base/file.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/system/liquid_process.h"

namespace liquid::testing {
namespace {

using ::testing::HasSubstr;

// A job small enough to be run dozens of times: 30 conversations, 2.5 epochs that end inside a
// step.
class TrainTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::ifstream all("configs/quickstart/train.jsonl");
    std::vector<std::string> lines;
    for (std::string line; lines.size() < 30 && std::getline(all, line);) lines.push_back(line);
    std::ofstream(directory_ / "train.jsonl") << absl::StrJoin(lines, "\n") << "\n";
    const std::string root = std::filesystem::current_path().string();
    std::ofstream(JobFile()) << absl::StrCat(
        "job: tiny\noutput: ", directory_ / "run", "\nmodel: {config: ", root,
        "/tests/system/tiny_model.json, tokenizer: ", root,
        "/configs/quickstart/tokenizer, init_seed: 7}\n"
        "data: {train: [train.jsonl], eval: [train.jsonl], sequence_length: 128}\n"
        "training: {epochs: 2.5, slots_per_step: 4, rows_per_slot: 1, seed: 5}\n"
        "optimizer: {learning_rate: 1.0e-2, warmup_steps: 2}\n"
        "checkpoint: {every_steps: 3, keep_last: 3}\n");
  }

  std::string JobFile() const { return directory_ / "job.yaml"; }
  std::string Output(const std::string& name) const { return directory_ / name; }

  std::vector<std::string> TrainCommand(int ranks, const std::string& output,
                                        std::vector<std::string> more = {}) const {
    std::vector<std::string> command = {"liquid",
                                        "train",
                                        JobFile(),
                                        "-n",
                                        absl::StrCat(ranks),
                                        "--set",
                                        absl::StrCat("output=", Output(output))};
    command.insert(command.end(), more.begin(), more.end());
    return command;
  }

  std::string Fingerprint(const std::string& output) const {
    const Finished run =
        RunToEnd({"liquid", "fingerprint", Output(output) + "/checkpoints/latest"});
    EXPECT_EQ(run.exit_code, 0) << run.output;
    return LastLine(run.output);
  }

  void ExpectAuditPasses(const std::string& output) const {
    const Finished audit = RunToEnd({"liquid", "audit", Output(output)});
    EXPECT_EQ(audit.exit_code, 0) << audit.output;
  }

  // Trains undisturbed on one rank; the fingerprint.
  std::string Reference() {
    const Finished run = RunToEnd(TrainCommand(1, "reference"));
    EXPECT_EQ(run.exit_code, 0) << run.output;
    return Fingerprint("reference");
  }

  TemporaryDirectory directory_;
};

TEST_F(TrainTest, OneToFourRanksGiveTheSameBits) {
  const std::string reference = Reference();
  EXPECT_EQ(reference.size(), 32u);
  ExpectAuditPasses("reference");
  for (int ranks = 2; ranks <= 4; ++ranks) {
    const std::string output = absl::StrCat("ranks", ranks);
    const Finished run = RunToEnd(TrainCommand(ranks, output));
    ASSERT_EQ(run.exit_code, 0) << run.output;
    EXPECT_EQ(Fingerprint(output), reference) << ranks << " ranks";
    ExpectAuditPasses(output);
  }
}

// A degree has bits of its own; replicas, and stops and resumes on other numbers of them, change
// none.
TEST_F(TrainTest, TensorParallelGangsGiveTheBitsOfTheirDegree) {
  const std::string reference = Reference();
  const std::vector<std::string> spread = {"--set", "model.tensor_parallel=2"};
  const Finished run = RunToEnd(TrainCommand(2, "spread", spread));
  ASSERT_EQ(run.exit_code, 0) << run.output;
  EXPECT_THAT(run.output, HasSubstr("memory of a rank, as planned: weights"));
  EXPECT_THAT(run.output, HasSubstr("a step, as planned: "));
  EXPECT_THAT(run.output, HasSubstr("planned and actual: "));
  EXPECT_NE(Fingerprint("spread"), reference);
  ExpectAuditPasses("spread");
  std::vector<std::string> stopped = spread;
  stopped.insert(stopped.end(), {"--max-steps", "2"});
  int starts = 0;
  Finished next{75, ""};
  for (; next.exit_code == 75 && starts < 20; ++starts) {
    next = RunToEnd(TrainCommand(starts % 2 == 0 ? 4 : 2, "stopped", stopped));
  }
  EXPECT_EQ(next.exit_code, 0) << next.output;
  EXPECT_GT(starts, 2);
  EXPECT_EQ(Fingerprint("stopped"), Fingerprint("spread"));

  // Each layout goes on from the other's checkpoint, and the ledger says so.
  std::vector<std::string> few_steps = spread;
  few_steps.insert(few_steps.end(), {"--max-steps", "1"});
  EXPECT_EQ(RunToEnd(TrainCommand(2, "changed", few_steps)).exit_code, 75);
  EXPECT_EQ(RunToEnd(TrainCommand(2, "changed", {"--max-steps", "1"})).exit_code, 75);
  const Finished last = RunToEnd(TrainCommand(4, "changed", spread));
  EXPECT_EQ(last.exit_code, 0) << last.output;
  ExpectAuditPasses("changed");

  const Finished uneven = RunToEnd(TrainCommand(3, "bad", spread));
  EXPECT_NE(uneven.exit_code, 0);
  EXPECT_THAT(uneven.output, HasSubstr("model.tensor_parallel is 2, but the gang has 3 ranks"));
  const Finished heads = RunToEnd(TrainCommand(4, "bad", {"--set", "model.tensor_parallel=4"}));
  EXPECT_NE(heads.exit_code, 0);
  EXPECT_THAT(heads.output, HasSubstr("2 attention heads cannot be spread over 4"));
}

// With fewer key/value heads than ranks.
TEST_F(TrainTest, DegreesFourAndEightGoOnFromEachOther) {
  std::ofstream(directory_ / "wide.json")
      << R"({"model_type": "llama", "vocab_size": 8192, "hidden_size": 64, "intermediate_size": 64,
             "num_hidden_layers": 1, "num_attention_heads": 8, "num_key_value_heads": 2,
             "max_position_embeddings": 256, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
             "hidden_act": "silu", "tie_word_embeddings": true})";
  const auto train = [this](int degree, int ranks, const std::string& output,
                            const std::vector<std::string>& more = {}) {
    std::vector<std::string> options = {
        "--set", absl::StrCat("model.config=", directory_ / "wide.json"),
        "--set", "training.epochs=1",
        "--set", absl::StrCat("model.tensor_parallel=", degree)};
    options.insert(options.end(), more.begin(), more.end());
    return RunToEnd(TrainCommand(ranks, output, options));
  };
  for (const auto& [ranks, output] : {std::pair(4, "four"), std::pair(8, "two_of_four")}) {
    const Finished run = train(4, ranks, output);
    ASSERT_EQ(run.exit_code, 0) << run.output;
  }
  EXPECT_EQ(Fingerprint("two_of_four"), Fingerprint("four"));
  const Finished eight = train(8, 8, "changed", {"--max-steps", "1"});
  EXPECT_EQ(eight.exit_code, 75) << eight.output;
  const Finished four = train(4, 4, "changed", {"--max-steps", "1"});
  EXPECT_EQ(four.exit_code, 75) << four.output;
  const Finished rest = train(8, 8, "changed");
  EXPECT_EQ(rest.exit_code, 0) << rest.output;
  ExpectAuditPasses("changed");
}

// So has bf16, with its master weights.
TEST_F(TrainTest, Bf16GivesTheSameBitsOnAnyRanksStoppedAnywhere) {
  const std::string fp32 = Reference();
  const std::vector<std::string> bf16 = {"--set", "training.precision=bf16"};
  const Finished run = RunToEnd(TrainCommand(1, "bf16", bf16));
  ASSERT_EQ(run.exit_code, 0) << run.output;
  EXPECT_NE(Fingerprint("bf16"), fp32);
  ExpectAuditPasses("bf16");
  for (const char* degree : {"1", "2"}) {
    std::vector<std::string> spread = bf16;
    spread.insert(spread.end(), {"--set", absl::StrCat("model.tensor_parallel=", degree)});
    const int tensor_ranks = degree[0] - '0';
    const std::string whole = absl::StrCat("bf16_whole", degree);
    ASSERT_EQ(RunToEnd(TrainCommand(tensor_ranks, whole, spread)).exit_code, 0);
    spread.insert(spread.end(), {"--max-steps", "2"});
    const std::string stopped = absl::StrCat("bf16_stopped", degree);
    Finished next{75, ""};
    for (int starts = 0; next.exit_code == 75 && starts < 20; ++starts) {
      const int ranks = starts % 2 == 0 ? 2 * tensor_ranks : tensor_ranks;
      next = RunToEnd(TrainCommand(ranks, stopped, spread));
    }
    EXPECT_EQ(next.exit_code, 0) << next.output;
    EXPECT_EQ(Fingerprint(stopped), Fingerprint(whole)) << "degree " << degree;
    ExpectAuditPasses(stopped);
  }
  EXPECT_EQ(Fingerprint("bf16_whole1"), Fingerprint("bf16"));

  const std::string checkpoint = Output("bf16") + "/checkpoints/latest";
  EXPECT_EQ(RunToEnd({"liquid", "verify", checkpoint}).exit_code, 0);
  const Finished exported =
      RunToEnd({"liquid", "export", checkpoint, Output("exported"), "--dtype", "f32"});
  EXPECT_EQ(exported.exit_code, 0) << exported.output;
  for (const std::string& from :
       {std::string("start"), Output("bf16") + "/checkpoints/step-00000003"}) {
    const Finished replayed =
        RunToEnd({"liquid", "replay", Output("bf16"), "--from", from, "--to-step", "5", "-n", "2"});
    EXPECT_EQ(replayed.exit_code, 0) << replayed.output;
  }
  const Finished answer =
      RunToEnd({"liquid", "generate", checkpoint, "--prompt", "hello", "--max-tokens", "3"});
  EXPECT_EQ(answer.exit_code, 0) << answer.output;
  const Finished other = RunToEnd(TrainCommand(1, "bf16", {"--set", "training.precision=fp32"}));
  EXPECT_THAT(other.output, HasSubstr("training.precision"));
  EXPECT_NE(other.exit_code, 0);
  const Finished wrong = RunToEnd(TrainCommand(1, "bad", {"--set", "training.precision=fp8"}));
  EXPECT_NE(wrong.exit_code, 0);
  EXPECT_THAT(wrong.output, HasSubstr("training.precision"));
}

// Two sources, one of them drawn from 1.5 times in an epoch: the same bits on any number of ranks
// and over a stop; the audit proves it source by source, and a replay needs nothing but the ledger.
TEST_F(TrainTest, MixedDataIsTrainedExactlyOnceInTheEpochsOfEachSource) {
  std::ifstream all("configs/quickstart/train.jsonl");
  std::vector<std::string> lines;
  for (std::string line; lines.size() < 12 && std::getline(all, line);) lines.push_back(line);
  std::ofstream(directory_ / "more.jsonl") << absl::StrJoin(lines, "\n") << "\n";
  const std::vector<std::string> mix = {
      "--set", "data.train=null", "--set",
      absl::StrCat("data.mix=[{name: chat, files: [", directory_ / "train.jsonl",
                   "], epochs: 1}, {name: extra, files: [", directory_ / "more.jsonl",
                   "], epochs: 1.5}]")};
  const Finished run = RunToEnd(TrainCommand(1, "mix1", mix));
  ASSERT_EQ(run.exit_code, 0) << run.output;
  EXPECT_THAT(run.output, HasSubstr("source chat: 30 documents in "));
  EXPECT_THAT(run.output, HasSubstr("source extra: "));
  EXPECT_THAT(run.output, HasSubstr("rows of an epoch of "));
  EXPECT_EQ(RunToEnd(TrainCommand(2, "mix2", mix)).exit_code, 0);
  EXPECT_EQ(Fingerprint("mix2"), Fingerprint("mix1"));
  std::vector<std::string> stopped = mix;
  stopped.insert(stopped.end(), {"--max-steps", "4"});
  int starts = 0;
  for (Finished next{75, ""}; next.exit_code == 75 && starts < 20; ++starts) {
    next = RunToEnd(TrainCommand(1 + starts % 2, "mix_stopped", stopped));
  }
  EXPECT_GT(starts, 1);
  EXPECT_EQ(Fingerprint("mix_stopped"), Fingerprint("mix1"));
  for (const std::string output : {"mix1", "mix2", "mix_stopped"}) {
    const Finished audit = RunToEnd({"liquid", "audit", Output(output)});
    EXPECT_EQ(audit.exit_code, 0) << audit.output;
    EXPECT_THAT(audit.output, HasSubstr("epoch 0 of source chat: "));
    EXPECT_THAT(audit.output, HasSubstr("epoch 2 of source extra: "));
  }
  const Finished replay = RunToEnd(
      {"liquid", "replay", Output("mix2"), "--from", "start", "--to-step", "3", "-n", "2"});
  EXPECT_EQ(replay.exit_code, 0) << replay.output;
  const Finished other = RunToEnd(TrainCommand(1, "mix1"));
  EXPECT_NE(other.exit_code, 0);
  EXPECT_THAT(other.output, HasSubstr("data.mix was chat epochs 1, extra epochs 1.5, is "));
}

TEST_F(TrainTest, EvaluationTellsLossPerplexityAndAccuracyBeforeAndAfter) {
  const Finished run = RunToEnd(TrainCommand(2, "evaluated", {"--set", "training.epochs=20"}));
  ASSERT_EQ(run.exit_code, 0) << run.output;
  EXPECT_THAT(run.output, HasSubstr("eval at step 0: loss "));
  std::ifstream metrics(Output("evaluated") + "/metrics.jsonl");
  std::vector<nlohmann::json> evals;
  for (std::string line; std::getline(metrics, line);) {
    const auto json = nlohmann::json::parse(line);
    if (json["event"] == "eval") evals.push_back(json);
  }
  ASSERT_GE(evals.size(), 2u);
  EXPECT_EQ(evals[0]["step"], 0);
  EXPECT_LT(evals.back()["loss"], evals[0]["loss"]);
  EXPECT_GT(evals.back()["accuracy"], evals[0]["accuracy"]);
  EXPECT_EQ(
      evals.back()["accuracy"].get<double>(),
      evals.back()["correct_tokens"].get<double>() / evals.back()["target_tokens"].get<double>());
  EXPECT_NEAR(evals[0]["perplexity"].get<double>(), std::exp(evals[0]["loss"].get<double>()), 1e-6);
  const Finished status = RunToEnd({"liquid", "status", Output("evaluated")});
  EXPECT_THAT(status.output, HasSubstr("perplexity"));
  EXPECT_THAT(status.output, HasSubstr("accuracy"));
  std::ifstream manifest(Output("evaluated") + "/checkpoints/latest/manifest.json");
  const auto state = nlohmann::json::parse(manifest)["state"];
  EXPECT_EQ(state["eval_accuracy"], evals.back()["accuracy"]);
}

// On one rank, on replicas and on tensor-parallel ranks; they change no bit.
TEST_F(TrainTest, SampleAnswersAreGivenAtEachEvaluation) {
  const std::vector<std::string> samples = {"--set", "training.eval_samples=2", "--set",
                                            "training.eval_sample_tokens=5"};
  const std::string reference = Reference();
  std::vector<std::string> spread = samples;
  spread.insert(spread.end(), {"--set", "model.tensor_parallel=2"});
  for (const auto& [output, ranks, options] : {std::tuple("sampled1", 1, &samples),
                                               {"sampled2", 2, &samples},
                                               {"sampled_tp", 4, &spread}}) {
    const Finished run = RunToEnd(TrainCommand(ranks, output, *options));
    ASSERT_EQ(run.exit_code, 0) << run.output;
    EXPECT_THAT(run.output, HasSubstr("sample at step 0: \"<|startoftext|>"));
    EXPECT_EQ(Fingerprint(output) == reference, options == &samples);
    std::ifstream file(Output(output) + "/samples.jsonl");
    std::vector<nlohmann::json> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(nlohmann::json::parse(line));
    ASSERT_EQ(lines.size(), 4u);  // at the start and at the end
    EXPECT_EQ(lines[0]["step"], 0);
    EXPECT_GT(lines[3]["step"], 0);
    EXPECT_NE(lines[0]["prompt"], lines[1]["prompt"]);
    EXPECT_EQ(lines[0]["prompt"], lines[2]["prompt"]);
    EXPECT_NE(lines[0]["reference"], "");
  }
}

TEST_F(TrainTest, FastSumsDependOnTheRanksSoThatTheTestAboveWouldNotice) {
  const std::vector<std::string> fast = {"--set", "training.gradient_sum=fast"};
  ASSERT_EQ(RunToEnd(TrainCommand(1, "fast1", fast)).exit_code, 0);
  ASSERT_EQ(RunToEnd(TrainCommand(3, "fast3", fast)).exit_code, 0);
  EXPECT_NE(Fingerprint("fast1"), Fingerprint("fast3"));
}

TEST_F(TrainTest, StoppedAtEveryStepAndResumedOnOtherRanksGivesTheSameBits) {
  const std::string reference = Reference();
  int starts = 0;
  Finished run{75, ""};
  while (run.exit_code == 75 && starts < 40) {
    run = RunToEnd(TrainCommand(1 + starts % 4, "stopped", {"--max-steps", "1"}));
    ++starts;
  }
  EXPECT_EQ(run.exit_code, 0) << run.output;
  EXPECT_THAT(run.output, HasSubstr("resuming from checkpoint step-"));
  EXPECT_GT(starts, 5);
  EXPECT_EQ(Fingerprint("stopped"), reference);
  ExpectAuditPasses("stopped");
}

TEST_F(TrainTest, ADoneJobSaysSo) {
  Reference();
  const Finished again = RunToEnd(TrainCommand(2, "reference"));
  EXPECT_EQ(again.exit_code, 0) << again.output;
  EXPECT_THAT(again.output, HasSubstr("done"));
}

TEST_F(TrainTest, SignalsInEveryPhaseLoseNothing) {
  const std::string reference = Reference();
  // Moments spread over start, training, evaluation and saving; all must end well and go on.
  std::mt19937 random(11);
  for (const int signal : {SIGTERM, SIGINT}) {
    const std::string output = absl::StrCat("signal", signal);
    Finished run{75, ""};
    for (int start = 0; run.exit_code != 0 && start < 8; ++start) {
      Process process(
          TrainCommand(1 + start % 3, output, {"--set", "training.eval_every_steps=1"}));
      const bool early = start % 3 == 0;
      if (!early) process.WaitForOutput("  loss ", absl::Seconds(60));
      absl::SleepFor(absl::Milliseconds(random() % (early ? 900 : 40)));
      process.Signal(signal);
      run = process.Wait();
      // Before it has said anything, the signal may still end it as it ends any program.
      const bool began = !run.output.empty();
      if (began || run.exit_code != 128 + signal) {
        EXPECT_THAT(run.exit_code, ::testing::AnyOf(0, 75)) << run.output;
      }
    }
    run = RunToEnd(TrainCommand(2, output));
    EXPECT_EQ(run.exit_code, 0) << run.output;
    EXPECT_EQ(Fingerprint(output), reference);
    ExpectAuditPasses(output);
  }
}

TEST_F(TrainTest, KilledAtAnyMomentItGoesOnByItselfToTheSameBits) {
  const std::string reference = Reference();
  std::mt19937 random(3);
  for (int start = 0; start < 6; ++start) {
    Process process(TrainCommand(2, "killed", {"--set", "checkpoint.every_steps=1"}));
    process.WaitForOutput("  loss ", absl::Seconds(60));
    absl::SleepFor(absl::Milliseconds(random() % 60));
    // A rank by kill -9, as the kernel's out-of-memory killer does; mpirun takes the others along.
    const std::vector<pid_t> ranks = FindProcesses("output=" + Output("killed"));
    for (const pid_t pid : ranks) {
      if (pid != process.pid()) kill(pid, SIGKILL);
    }
    const Finished run = process.Wait();
    EXPECT_NE(run.exit_code, 124) << "hangs:\n" << run.output;
  }
  const Finished run = RunToEnd(TrainCommand(2, "killed"));
  ASSERT_EQ(run.exit_code, 0) << run.output;
  EXPECT_EQ(Fingerprint("killed"), reference);
  ExpectAuditPasses("killed");
}

TEST_F(TrainTest, ADamagedCheckpointIsPassedOverByName) {
  const std::string reference = Reference();
  for (const bool truncate : {true, false}) {
    const std::string output = absl::StrCat("damaged", truncate);
    ASSERT_EQ(RunToEnd(TrainCommand(1, output, {"--max-steps", "4"})).exit_code, 75);
    const std::string newest = Output(output) + "/checkpoints/step-00000004";
    const std::string weights = newest + "/model.safetensors";
    ASSERT_TRUE(FileExists(weights)) << weights;
    if (truncate) {
      std::filesystem::resize_file(weights, std::filesystem::file_size(weights) / 2);
    } else {
      std::fstream file(weights, std::ios::in | std::ios::out | std::ios::binary);
      file.seekg(-100, std::ios::end);
      const int byte = file.get();
      file.seekp(-100, std::ios::end);
      file.put(static_cast<char>(byte ^ 4));
    }
    const Finished run = RunToEnd(TrainCommand(2, output));
    EXPECT_EQ(run.exit_code, 0) << run.output;
    EXPECT_THAT(run.output, HasSubstr("passed over: "));
    EXPECT_THAT(run.output, HasSubstr("step-00000004"));
    EXPECT_THAT(run.output, HasSubstr("resuming from checkpoint step-00000003"));
    EXPECT_EQ(Fingerprint(output), reference);
    ExpectAuditPasses(output);
  }
}

TEST_F(TrainTest, AFullDiskIsNamedAndTheCheckpointsBeforeStayGood) {
  const std::string mount_point = Output("small");
  std::filesystem::create_directory(mount_point);
  if (mount("tmpfs", mount_point.c_str(), "tmpfs", 0, "size=3m") != 0) {
    GTEST_SKIP() << "mounting a small tmpfs needs root";
  }
  // Room for one or two checkpoints of 1.6 MB beside the ledger, not for three.
  const Finished run = RunToEnd(TrainCommand(
      1, "small", {"--set", "checkpoint.every_steps=1", "--set", "checkpoint.keep_last=0"}));
  EXPECT_EQ(run.exit_code, 6) << run.output;
  EXPECT_THAT(run.output, HasSubstr("FAILED"));
  const Finished verify = RunToEnd({"liquid", "verify", mount_point + "/checkpoints/latest"});
  EXPECT_EQ(verify.exit_code, 0) << verify.output;
  umount(mount_point.c_str());
}

TEST_F(TrainTest, PeopleSteerARunningJob) {
  const std::string output = Output("steered");
  const auto ask = [&](const std::string& verb) { return RunToEnd({"liquid", verb, output}); };
  // Long enough to be met alive.
  Process process(TrainCommand(2, "steered", {"--set", "training.epochs=100000"}));
  ASSERT_TRUE(process.WaitForOutput("  loss ", absl::Seconds(60))) << process.output();
  EXPECT_EQ(ask("pause").exit_code, 0);
  const auto state_is = [&](const std::string& state) {
    const Finished status = RunToEnd({"liquid", "status", output, "--json"});
    return absl::StrContains(status.output, absl::StrCat("\"state\":\"", state, "\""));
  };
  EXPECT_TRUE(state_is("paused"));
  EXPECT_EQ(ask("pause").exit_code, 2);  // it is paused already
  const Finished saved = ask("checkpoint");
  EXPECT_EQ(saved.exit_code, 0) << saved.output;
  EXPECT_TRUE(process.WaitForOutput("checkpoint step-", absl::Seconds(30)));
  EXPECT_EQ(ask("resume").exit_code, 0);
  EXPECT_TRUE(state_is("running"));
  EXPECT_EQ(ask("stop").exit_code, 0);
  const Finished run = process.Wait();
  EXPECT_EQ(run.exit_code, 0) << run.output;
  EXPECT_TRUE(state_is("waiting"));
  const Finished verify = RunToEnd({"liquid", "verify", output + "/checkpoints/latest"});
  EXPECT_EQ(verify.exit_code, 0) << verify.output;
  ExpectAuditPasses("steered");
  EXPECT_EQ(ask("pause").exit_code, 2);  // nobody serves it any more
}

TEST_F(TrainTest, BadInputIsOneLineAndAnExitCodeOfItsOwn) {
  const Finished unknown_key = RunToEnd(TrainCommand(1, "bad", {"--set", "trainning.epochs=1"}));
  EXPECT_EQ(unknown_key.exit_code, 2);
  EXPECT_THAT(unknown_key.output, HasSubstr("did you mean 'training'"));

  std::ofstream(directory_ / "train.jsonl", std::ios::app) << "{\"messages\": 3}\n";
  const Finished bad_row = RunToEnd(TrainCommand(2, "bad"));
  EXPECT_EQ(bad_row.exit_code, 3) << bad_row.output;
  EXPECT_THAT(bad_row.output, HasSubstr("train.jsonl:31"));
  const Finished tolerated = RunToEnd(TrainCommand(2, "bad", {"--set", "data.max_bad_rows=1"}));
  EXPECT_EQ(tolerated.exit_code, 0) << tolerated.output;
}

TEST_F(TrainTest, ADivergingRunStopsAndSaysWhere) {
  // Each step multiplies the weights by -99 until something overflows.
  const Finished run = RunToEnd(
      TrainCommand(2, "diverges",
                   {"--set", "optimizer.learning_rate=100", "--set", "optimizer.weight_decay=1",
                    "--set", "optimizer.warmup_steps=0", "--set", "training.epochs=8"}));
  EXPECT_EQ(run.exit_code, 5) << run.output;
  EXPECT_THAT(run.output, HasSubstr("not finite"));
}

}  // namespace
}  // namespace liquid::testing
