#include "proto/job_loader.h"

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::google::protobuf::util::MessageDifferencer;
using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kMinimal[] =
    "output: runs/x\n"
    "model: {from: m}\n"
    "data: {train: [a.jsonl]}\n";

std::string ErrorOf(const std::string& text, const std::vector<std::string>& overrides = {}) {
  const auto job = ParseJob(text, "j.yaml", overrides);
  return job.ok() ? "OK" : std::string(job.status().message());
}

TEST(JobLoaderTest, FillsInEveryDefault) {
  const auto job = ParseJob(kMinimal, "/some/dir/tiny.yaml", {});
  ASSERT_THAT(job, IsOk());
  EXPECT_EQ(job->job(), "tiny");
  EXPECT_EQ(job->output(), AbsolutePath("runs/x"));
  EXPECT_EQ(job->model().from(), "/some/dir/m");
  EXPECT_EQ(job->model().tokenizer(), "/some/dir/m");
  EXPECT_EQ(job->model().tensor_parallel(), 1);
  EXPECT_EQ(job->model().recompute(), "none");
  EXPECT_THAT(job->data().train(), ElementsAre("/some/dir/a.jsonl"));
  EXPECT_TRUE(job->data().eval().empty());
  EXPECT_EQ(job->data().overlong(), "truncate");
  EXPECT_EQ(job->data().loss_on(), "assistant");
  EXPECT_TRUE(job->data().train_on_stop_token());
  EXPECT_TRUE(job->data().packing());
  EXPECT_EQ(job->training().epochs(), 2);
  EXPECT_EQ(job->training().gradient_sum(), "exact");
  EXPECT_EQ(job->training().on_non_finite(), "stop");
  EXPECT_EQ(job->training().seed(), 42u);
  EXPECT_EQ(job->optimizer().learning_rate(), 1e-3);
  EXPECT_EQ(job->optimizer().schedule(), "cosine");
  EXPECT_THAT(job->optimizer().betas(), ElementsAre(0.9, 0.95));
  EXPECT_EQ(job->checkpoint().max_shard_bytes(), 5000000000);
  EXPECT_EQ(job->checkpoint().keep_last(), 2);
  EXPECT_EQ(job->checkpoint().resume(), "auto");
  EXPECT_TRUE(job->coordinator().embedded());
  EXPECT_EQ(job->coordinator().listen(), "127.0.0.1:0");
  EXPECT_EQ(job->coordinator().heartbeat_timeout_seconds(), 5);
}

TEST(JobLoaderTest, ReadsWhatTheFileSays) {
  const auto job = ParseJob(
      "job: n\noutput: /o\nmodel: {config: c.json, tokenizer: ../t, init_seed: "
      "18446744073709551615}\n"
      "data: {train: one.jsonl, eval: [e.jsonl, /f.jsonl], shuffle: false, chat_template: null}\n"
      "training: {epochs: 0.5}\noptimizer: {betas: [0, 0.5]}\ncheckpoint: {max_shard_bytes: "
      "2MiB}\n",
      "/d/j.yaml", {"training.epochs=1.25", "data.train=[x.jsonl, y.jsonl]", "job=other"});
  ASSERT_THAT(job, IsOk());
  EXPECT_EQ(job->job(), "other");
  EXPECT_EQ(job->model().tokenizer(), "/t");
  EXPECT_EQ(job->model().init_seed(), 18446744073709551615u);
  EXPECT_THAT(job->data().train(), ElementsAre("/d/x.jsonl", "/d/y.jsonl"));
  EXPECT_THAT(job->data().eval(), ElementsAre("/d/e.jsonl", "/f.jsonl"));
  EXPECT_FALSE(job->data().shuffle());
  EXPECT_EQ(job->data().chat_template(), "");
  EXPECT_EQ(job->training().epochs(), 1.25);
  EXPECT_THAT(job->optimizer().betas(), ElementsAre(0, 0.5));
  EXPECT_EQ(job->checkpoint().max_shard_bytes(), 2097152);
}

TEST(JobLoaderTest, RefusesWithFileLineAndColumn) {
  struct Case {
    const char* added;  // after the three lines of kMinimal
    const char* error;
  };
  const Case cases[] = {
      {"trainning: {}\n",
       "j.yaml:4:1: unknown key 'trainning' in the job file; did you mean 'training'?"},
      {"training: {epoch: 2}\n",
       "j.yaml:4:12: unknown key 'epoch' in 'training'; did you mean 'epochs'?"},
      {"training:\n  learning_rate: 2\n",
       "j.yaml:5:3: unknown key 'learning_rate' in 'training'; did you mean "
       "'optimizer.learning_rate'?"},
      {"coordinator: {banana: 2}\n",
       "j.yaml:4:15: unknown key 'banana' in 'coordinator'; known are embedded, listen, "
       "heartbeat_timeout_seconds, audit_every, lease_window"},
      {"training: {epochs: two}\n", "j.yaml:4:20: 'training.epochs' wants a number, got \"two\""},
      {"training: {epochs: \"2\"}\n", "j.yaml:4:20: 'training.epochs' wants a number, got \"2\""},
      {"training: {epochs: .nan}\n", "j.yaml:4:20: 'training.epochs' wants a number, got \".nan\""},
      {"training: {epochs: [2]}\n", "j.yaml:4:20: 'training.epochs' wants a number, got a list"},
      {"training: {epochs: 0}\n", "j.yaml:4:20: 'training.epochs' must be in (0, 1e6], got 0"},
      {"training: {slots_per_step: 2.5}\n",
       "j.yaml:4:28: 'training.slots_per_step' wants a whole number, got \"2.5\""},
      {"training: {slots_per_step: 0}\n",
       "j.yaml:4:28: 'training.slots_per_step' must be in [1, 65536], got 0"},
      {"training: {seed: -1}\n", "j.yaml:4:18: 'training.seed' wants a whole number, got \"-1\""},
      {"training: {precision: fp16}\n",
       "j.yaml:4:23: 'training.precision' must be fp32 or bf16, got \"fp16\""},
      {"training: {gradient_sum: exakt}\n",
       "j.yaml:4:26: 'training.gradient_sum' must be exact or fast, got \"exakt\"; did you mean "
       "'exact'?"},
      {"training: 3\n", "j.yaml:4:11: 'training' wants a map of keys, got \"3\""},
      {"optimizer: {betas: 0.9}\n", "j.yaml:4:20: 'optimizer.betas' wants a list, got \"0.9\""},
      {"optimizer: {betas: [0.9]}\n", "j.yaml:4:13: 'optimizer.betas' wants two numbers, got 1"},
      {"optimizer: {betas: [0.9, 1]}\n", "j.yaml:4:26: 'optimizer.betas' must be in [0, 1), got 1"},
      {"optimizer: {learning_rate: 1e400}\n",
       "j.yaml:4:28: 'optimizer.learning_rate' wants a number, got \"1e400\""},
      {"optimizer: {name: sgd}\n",
       "j.yaml:4:19: 'optimizer.name' must be adamw, got \"sgd\" (more are not supported yet)"},
      {"checkpoint: {max_shard_bytes: 5 apples}\n",
       "j.yaml:4:31: 'checkpoint.max_shard_bytes' wants a size such as 500MB or 5GB, got "
       "\"5 apples\""},
      {"checkpoint: {keep_last: 3000000000}\n",
       "j.yaml:4:25: 'checkpoint.keep_last' is too large, got \"3000000000\""},
      {"checkpoint: {every_steps: -5}\n",
       "j.yaml:4:27: 'checkpoint.every_steps' must be in [0, inf), got -5"},
      {"coordinator: {embedded: yes}\n",
       "j.yaml:4:25: 'coordinator.embedded' wants true or false, got \"yes\""},
      {"coordinator: {listen: nowhere}\n",
       "j.yaml:4:23: 'coordinator.listen' must be HOST:PORT, got \"nowhere\""},
      {"coordinator: {listen: \"a:70000\"}\n",
       "j.yaml:4:23: 'coordinator.listen' must be HOST:PORT, got \"a:70000\""},
      {"job: \"\"\n", "j.yaml:4:6: 'job' is empty"},
      {"data: {}\n", "j.yaml:4:1: key 'data' is there twice, first at j.yaml:3:1"},
  };
  for (const Case& c : cases) EXPECT_EQ(ErrorOf(absl::StrCat(kMinimal, c.added)), c.error);
}

TEST(JobLoaderTest, RefusesWhatDoesNotGoTogether) {
  EXPECT_EQ(ErrorOf(""), "j.yaml:1:1: a job file is a map of keys, got null");
  EXPECT_EQ(ErrorOf("model: {from: m}\ndata: {train: [a]}\n"),
            "j.yaml:1:1: 'output' is missing: the directory for ledger and checkpoints");
  EXPECT_EQ(ErrorOf("output: o\ndata: {train: [a]}\n"),
            "j.yaml:1:1: 'model' wants exactly one of 'from' (a model directory) and 'config' (a "
            "config.json, for random weights)");
  EXPECT_EQ(ErrorOf("output: o\nmodel: {from: m, config: c}\ndata: {train: [a]}\n"),
            "j.yaml:2:1: 'model' wants exactly one of 'from' (a model directory) and 'config' (a "
            "config.json, for random weights)");
  EXPECT_EQ(ErrorOf("output: o\nmodel: {config: c, init_seed: 1}\ndata: {train: [a]}\n"),
            "j.yaml:2:17: 'model.tokenizer' is missing: 'model.config' needs it");
  EXPECT_EQ(ErrorOf("output: o\nmodel: {config: c, tokenizer: t}\ndata: {train: [a]}\n"),
            "j.yaml:2:17: 'model.init_seed' is missing: 'model.config' needs it");
  EXPECT_EQ(ErrorOf("output: o\nmodel: {from: m, init_seed: 1}\ndata: {train: [a]}\n"),
            "j.yaml:2:29: 'model.init_seed' goes with 'model.config' only");
  EXPECT_EQ(ErrorOf("output: o\nmodel: {from: m}\ndata: {train: []}\n"),
            "j.yaml:3:8: 'data.train' is missing: the files to train on");
  EXPECT_EQ(ErrorOf("output: o\nmodel: {from: m}\n"),
            "j.yaml:1:1: 'data.train' is missing: the files to train on");
  EXPECT_EQ(ErrorOf("output: o\nmodel: {from: m, tensor_parallel: 16}\ndata: {train: [a]}\n"),
            "j.yaml:2:35: 'model.tensor_parallel' must be in [1, 8], got 16");
  EXPECT_EQ(ErrorOf("output: o\nmodel: {from: m, tensor_parallel: 6}\ndata: {train: [a]}\n"),
            "j.yaml:2:35: 'model.tensor_parallel' must be 1, 2, 4 or 8, got 6");
}

constexpr char kMixed[] =
    "output: o\nmodel: {from: m}\n"
    "data:\n"
    "  mix:\n"
    "    - {name: chat, files: [a.jsonl, /b.jsonl], epochs: 1.5}\n"
    "    - {name: code, files: c.jsonl, epochs: 2}\n";

TEST(JobLoaderTest, ReadsMixtures) {
  const auto job = ParseJob(kMixed, "/d/j.yaml", {});
  ASSERT_THAT(job, IsOk());
  ASSERT_EQ(job->data().mix_size(), 2);
  EXPECT_EQ(job->data().mix(0).name(), "chat");
  EXPECT_EQ(job->data().mix(0).files(0), "/d/a.jsonl");
  EXPECT_EQ(job->data().mix(0).files(1), "/b.jsonl");
  EXPECT_EQ(job->data().mix(0).epochs(), 1.5);
  EXPECT_EQ(job->data().mix(1).files(0), "/d/c.jsonl");
  const auto weights =
      ParseJob(kMixed, "/d/j.yaml", {"data.mix=[{name: x, files: [y], weight: 0.25}]"});
  ASSERT_THAT(weights, IsOk());
  ASSERT_EQ(weights->data().mix_size(), 1);
  EXPECT_EQ(weights->data().mix(0).weight(), 0.25);
  for (const Job& mixed : {*job, *weights}) {
    const auto again = ParseJob(EffectiveYaml(mixed), "/elsewhere/k.yaml", {});
    ASSERT_THAT(again, IsOk()) << EffectiveYaml(mixed);
    EXPECT_TRUE(MessageDifferencer::Equals(mixed, *again)) << EffectiveYaml(mixed);
  }
  EXPECT_NE(JobDigest(*job), JobDigest(*weights));
  EXPECT_EQ(DescribeDifference(*job, *weights),
            "data.mix was chat epochs 1.5, code epochs 2, is x weight 0.25");
  Job moved = *job;
  moved.mutable_data()->mutable_mix(0)->set_files(0, "/elsewhere");
  EXPECT_EQ(JobDigest(moved), JobDigest(*job));
}

TEST(JobLoaderTest, SaysWhatIsWrongWithAMixture) {
  const auto with = [](const std::string& mix) {
    return ErrorOf(absl::StrCat("output: o\nmodel: {from: m}\ndata: {mix: ", mix, "}\n"));
  };
  EXPECT_EQ(with("[]"), "j.yaml:3:1: 'data.train' is missing: the files to train on");
  EXPECT_THAT(with("[{name: a, files: [f], epochs: 1}], train: [x]"),
              HasSubstr("'data.mix' stands in place of 'data.train': give one of them"));
  EXPECT_THAT(with("{name: a}"), HasSubstr("'data.mix' wants a list, got a map of keys"));
  EXPECT_THAT(with("[a]"), HasSubstr("'data.mix' wants a list of maps, got \"a\""));
  EXPECT_THAT(with("[{nam: a}]"),
              HasSubstr("unknown key 'nam' in 'data.mix'; did you mean 'name'?"));
  EXPECT_THAT(with("[{files: [f], epochs: 1}]"), HasSubstr("'data.mix' source 1 has no 'name'"));
  EXPECT_THAT(with("[{name: a, epochs: 1}]"), HasSubstr("source 1, a, has no 'files'"));
  EXPECT_THAT(with("[{name: a, files: [f]}]"),
              HasSubstr("source 1, a, wants either 'epochs' or 'weight'"));
  EXPECT_THAT(with("[{name: a, files: [f], epochs: 1, weight: 1}]"),
              HasSubstr("source 1, a, wants either 'epochs' or 'weight'"));
  EXPECT_THAT(with("[{name: a, files: [f], epochs: 0}]"),
              HasSubstr("'data.mix.epochs' must be in (0, 1e6], got 0"));
  EXPECT_THAT(with("[{name: a, files: [f], epochs: 1}, {name: b, files: [f], weight: 1}]"),
              HasSubstr("source 2, b: give all sources epochs, or all weights"));
  EXPECT_THAT(with("[{name: a, files: [f], epochs: 1}, {name: a, files: [g], epochs: 1}]"),
              HasSubstr("source 2 has the name of another, 'a'"));
}

TEST(JobLoaderTest, SamplesAreAnswersToEvalData) {
  EXPECT_THAT(ErrorOf(kMinimal, {"training.eval_samples=2"}),
              HasSubstr("'training.eval_samples' needs 'data.eval'"));
  EXPECT_THAT(ParseJob(kMinimal, "/d/j.yaml", {"training.eval_samples=2", "data.eval=[e]"}),
              IsOk());
}

TEST(JobLoaderTest, NamesTheOverrideAtFault) {
  EXPECT_EQ(ErrorOf(kMinimal, {"training.epochs=two"}),
            "--set training.epochs=two: 'training.epochs' wants a number, got \"two\"");
  EXPECT_EQ(ErrorOf(kMinimal, {"trainning.epochs=2"}),
            "--set trainning.epochs=2: unknown key 'trainning' in the job file; did you mean "
            "'training'?");
  EXPECT_EQ(ErrorOf(kMinimal, {"training.epochs"}),
            "--set training.epochs: wants KEY=VALUE, such as training.epochs=3");
  EXPECT_EQ(ErrorOf(kMinimal, {"coordinator.=2"}),
            "--set coordinator.=2: unknown key '' in 'coordinator'; known are embedded, listen, "
            "heartbeat_timeout_seconds, audit_every, lease_window");
  EXPECT_EQ(ErrorOf(kMinimal, {"output.x=2"}),
            "--set output.x=2: 'output' wants a text, got a map of keys");
  EXPECT_EQ(ErrorOf(kMinimal, {"output=null"}),
            "--set output=null: 'output' is missing: the directory for ledger and checkpoints");
}

TEST(JobLoaderTest, SaysWhenThereIsNoFile) {
  EXPECT_THAT(LoadJob("/nowhere/j.yaml", {}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/nowhere/j.yaml")));
}

TEST(JobLoaderTest, TheEffectiveJobLoadsToTheSameJob) {
  const std::vector<std::string> variants[] = {
      {},
      {"model={config: c, tokenizer: \"t \\\" \\\\ x\", init_seed: 7}", "data.eval=[e, f]",
       "optimizer.learning_rate=3.3e-4", "checkpoint.resume=runs/old", "data.chat_template=x"}};
  for (const auto& overrides : variants) {
    const auto job = ParseJob(kMinimal, "/d/j.yaml", overrides);
    ASSERT_THAT(job, IsOk());
    const auto again = ParseJob(EffectiveYaml(*job), "/elsewhere/k.yaml", {});
    ASSERT_THAT(again, IsOk()) << EffectiveYaml(*job);
    EXPECT_TRUE(MessageDifferencer::Equals(*job, *again)) << EffectiveYaml(*job);
    EXPECT_THAT(EffectiveYaml(*job), HasSubstr("betas: [0.9, 0.95]\n"));
  }
}

TEST(JobLoaderTest, TheDigestFollowsWhatDecidesTheResult) {
  const auto digest = [](const std::vector<std::string>& overrides) {
    return JobDigest(ParseJob(kMinimal, "/d/j.yaml", overrides).value());
  };
  const std::string plain = digest({});
  for (const std::string same :
       {"job=n", "output=/elsewhere", "checkpoint.every_steps=7", "coordinator.embedded=false",
        "data.train=[/b]", "data.eval=[/e]", "model.from=/w", "training.eval_every_steps=9",
        "training.eval_at_start=false", "training.eval_sample_tokens=9", "data.max_bad_rows=3",
        "model.recompute=block", "training.epochs=2.0"}) {
    EXPECT_EQ(digest({same}), plain) << same;
  }
  for (const std::string other :
       {"training.seed=43", "training.epochs=3", "training.gradient_sum=fast",
        "training.slots_per_step=4", "optimizer.betas=[0.9, 0.951]", "data.shuffle=false",
        "data.loss_on=last", "data.train_on_stop_token=false", "data.sequence_length=256",
        "optimizer.warmup_steps=1", "model={config: c, tokenizer: t, init_seed: 1}"}) {
    EXPECT_NE(digest({other}), plain) << other;
  }
  EXPECT_NE(digest({"model={config: c, tokenizer: t, init_seed: 1}"}),
            digest({"model={config: c, tokenizer: t, init_seed: 2}"}));
}

TEST(JobLoaderTest, EveryShippedConfigParses) {
  int num_configs = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator("configs")) {
    if (entry.path().extension() != ".yaml") continue;
    EXPECT_THAT(LoadJob(entry.path().string(), {}), IsOk());
    ++num_configs;
  }
  EXPECT_GT(num_configs, 0);
}

}  // namespace
}  // namespace liquid
