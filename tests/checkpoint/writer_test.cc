#include "checkpoint/writer.h"

#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "checkpoint/checksum.h"
#include "checkpoint/hf_directory.h"
#include "checkpoint/reader.h"
#include "checkpoint/verify.h"
#include "gmock/gmock.h"
#include "tests/checkpoint/sample_checkpoint.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

namespace fs = std::filesystem;
using ::liquid::testing::ContentsOf;
using ::liquid::testing::IsOk;
using ::liquid::testing::SampleModel;
using ::liquid::testing::SampleState;
using ::liquid::testing::Save;
using ::liquid::testing::SaveOptions;
using ::liquid::testing::StatusIs;
using ::liquid::testing::TemporaryDirectory;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Key;

std::vector<std::string> EntriesOf(const std::string& root) { return *ListDirectory(root); }

TEST(CheckpointWriterTest, WritesWhatHuggingFaceOpens) {
  const TemporaryDirectory root;
  const SampleModel sample(1);
  const auto committed = Save(root.path(), 100, sample);
  ASSERT_THAT(committed, IsOk());
  EXPECT_EQ(committed->name, "step-00000100");
  EXPECT_EQ(committed->path, root.path() + "/step-00000100");
  EXPECT_THAT(EntriesOf(root.path()), ElementsAre("latest", "step-00000100"));
  EXPECT_EQ(fs::read_symlink(root.path() + "/latest"), "step-00000100");
  EXPECT_THAT(
      ContentsOf(committed->path),
      ElementsAre(Key("manifest.json"), Key("model.safetensors"), Key("optimizer.safetensors")));
  const auto source = WeightSource::Open(root.path() + "/latest");
  ASSERT_THAT(source, IsOk());
  EXPECT_EQ(source->files()[0].metadata().at("format"), "pt");
  EXPECT_EQ(source->tensors().size(), sample.model.size());
  for (const TensorSpec& spec : sample.model) {
    const auto ref = source->Find(spec.name);
    ASSERT_THAT(ref, IsOk());
    EXPECT_EQ(ref->spec(), spec);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(ref->bytes().data()), ref->bytes().size()),
              sample.bytes.at(spec.name));
  }
}

TEST(CheckpointWriterTest, WritesAnIndexForSeveralFiles) {
  const TemporaryDirectory root;
  const SampleModel sample(1);
  SaveOptions options;
  options.max_shard_bytes = 128;
  const auto committed = Save(root.path(), 3, sample, options);
  ASSERT_THAT(committed, IsOk());
  const auto contents = ContentsOf(committed->path);
  EXPECT_THAT(contents, ElementsAre(Key("manifest.json"), Key("model-00001-of-00002.safetensors"),
                                    Key("model-00002-of-00002.safetensors"),
                                    Key("model.safetensors.index.json"),
                                    Key("optimizer-00001-of-00004.safetensors"),
                                    Key("optimizer-00002-of-00004.safetensors"),
                                    Key("optimizer-00003-of-00004.safetensors"),
                                    Key("optimizer-00004-of-00004.safetensors"),
                                    Key("optimizer.safetensors.index.json")));
  EXPECT_EQ(contents.at("model.safetensors.index.json"),
            R"({
  "metadata": {
    "total_size": 244
  },
  "weight_map": {
    "model.embed_tokens.weight": "model-00001-of-00002.safetensors",
    "model.layers.0.mlp.weight": "model-00002-of-00002.safetensors",
    "model.layers.0.norm.weight": "model-00002-of-00002.safetensors",
    "model.nothing": "model-00002-of-00002.safetensors",
    "model.scale": "model-00002-of-00002.safetensors"
  }
}
)");
  EXPECT_THAT(WeightSource::Open(committed->path), IsOk());
  EXPECT_THAT(WeightSource::Open(committed->path, "optimizer"), IsOk());
}

// tests/checkpoint/golden/step-00000003 is what docs/formats/checkpoint.md says, byte for byte.
TEST(CheckpointWriterTest, WritesTheGoldenBytes) {
  const TemporaryDirectory root;
  SaveOptions options;
  options.max_shard_bytes = 128;
  options.companions = {{"tests/checkpoint/golden/config.json", "config.json"}};
  const auto committed = Save(root.path(), 3, SampleModel(1), options);
  ASSERT_THAT(committed, IsOk());
  EXPECT_EQ(ContentsOf(committed->path), ContentsOf("tests/checkpoint/golden/step-00000003"));
}

TEST(CheckpointWriterTest, AnyNumberOfRanksWritesTheSameBytes) {
  const TemporaryDirectory root;
  const SampleModel sample(1, 16 * (kPieceBytes / 256) + 5);  // the embedding has three pieces
  SaveOptions options;
  options.max_shard_bytes = 3 * kPieceBytes;
  std::map<std::string, std::string> of_one;
  for (int num_ranks = 1; num_ranks <= 4; ++num_ranks) {
    options.num_ranks = num_ranks;
    const std::string path = root.path() + "/" + std::to_string(num_ranks);
    const auto committed = Save(path, 7, sample, options);
    ASSERT_THAT(committed, IsOk());
    if (num_ranks == 1) of_one = ContentsOf(committed->path);
    EXPECT_TRUE(ContentsOf(committed->path) == of_one) << num_ranks << " ranks";
    EXPECT_THAT(RemoveRecursively(path), IsOk());
  }
}

TEST(CheckpointWriterTest, CopiesConfigurationAndTokenizerByteForByte) {
  const TemporaryDirectory root;
  const std::string model = root.path() + "/model";
  fs::create_directories(model);
  for (const std::string name : {"config.json", "tokenizer.json", "tokenizer_config.json",
                                 "chat_template.jinja", "unrelated.txt"}) {
    ASSERT_THAT(WriteFileAtomically(model + "/" + name, "content of " + name + "\r\n"), IsOk());
  }
  SaveOptions options;
  options.companions = FindCompanionFiles(model + "/config.json", model);
  const auto committed = Save(root.path() + "/c", 1, SampleModel(1), options);
  ASSERT_THAT(committed, IsOk());
  const auto contents = ContentsOf(committed->path);
  EXPECT_EQ(contents.at("config.json"), "content of config.json\r\n");
  EXPECT_EQ(contents.at("chat_template.jinja"), "content of chat_template.jinja\r\n");
  EXPECT_TRUE(contents.contains("tokenizer.json"));
  EXPECT_TRUE(contents.contains("tokenizer_config.json"));
  EXPECT_FALSE(contents.contains("unrelated.txt"));
}

TEST(CheckpointWriterTest, KeepsTheLastAndTheMilestones) {
  const TemporaryDirectory root;
  SaveOptions options;
  options.retention = {2, 4};
  for (int64_t step = 1; step <= 7; ++step) {
    const auto committed = Save(root.path(), step, SampleModel(1), options);
    ASSERT_THAT(committed, IsOk());
    EXPECT_THAT(committed->warnings, IsEmpty());
  }
  EXPECT_THAT(EntriesOf(root.path()),
              ElementsAre("latest", "step-00000004", "step-00000006", "step-00000007"));
}

TEST(CheckpointWriterTest, ReplacesACheckpointOfTheSameStep) {
  const TemporaryDirectory root;
  ASSERT_THAT(Save(root.path(), 5, SampleModel(1)), IsOk());
  const auto first = ContentsOf(root.path() + "/step-00000005");
  ASSERT_THAT(Save(root.path(), 5, SampleModel(2)), IsOk());
  EXPECT_NE(ContentsOf(root.path() + "/step-00000005"), first);
  EXPECT_THAT(EntriesOf(root.path()), ElementsAre("latest", "step-00000005"));
  EXPECT_THAT(VerifyDirectory(root.path() + "/step-00000005", 1)->problems, IsEmpty());
}

// A gang that was cut off may save what another has saved: the ledger's digest holds for both.
TEST(CheckpointWriterTest, TheDigestDoesNotDependOnWhoSaved) {
  const TemporaryDirectory root;
  const std::string path = root.path() + "/step-00000005";
  const auto first = Save(root.path(), 5, SampleModel(1));
  ASSERT_THAT(first, IsOk());
  SaveOptions later;
  later.ledger_head = "33ee";
  const auto second = Save(root.path(), 5, SampleModel(1), later);
  ASSERT_THAT(second, IsOk());
  EXPECT_EQ(ReadManifest(path)->state.ledger_head, "33ee");
  EXPECT_EQ(second->manifest_digest, first->manifest_digest);
  const auto other = Save(root.path(), 5, SampleModel(2), later);
  ASSERT_THAT(other, IsOk());
  EXPECT_NE(other->manifest_digest, first->manifest_digest);
}

TEST(CheckpointWriterTest, RemovesWhatDeadWritersLeft) {
  const TemporaryDirectory root;
  fs::create_directories(root.path() + "/.step-00000001.w.tmp/x");
  fs::create_directories(root.path() + "/.step-00000002.old");
  fs::create_directories(root.path() + "/mine");
  ASSERT_THAT(Save(root.path(), 3, SampleModel(1)), IsOk());
  EXPECT_THAT(EntriesOf(root.path()), ElementsAre("latest", "mine", "step-00000003"));
}

TEST(CheckpointWriterTest, RefusesPiecesThatAreMissingOrTwice) {
  const TemporaryDirectory root;
  const SampleModel sample(1);
  const auto plan = MakeCheckpointPlan(sample.model, sample.optimizer, 0);
  ASSERT_THAT(plan, IsOk());
  CheckpointWriter writer(root.path(), 1, *plan, {}, "w");
  ASSERT_THAT(writer.Prepare(), IsOk());
  auto checksums = ::liquid::testing::WriteByRanks(writer, *plan, sample, 2);
  ASSERT_THAT(checksums, IsOk());
  const TrainingState state = SampleState(sample, 1);
  checksums->push_back(checksums->back());
  EXPECT_THAT(writer.Commit(state, *checksums, {}),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("once")));
  checksums->resize(checksums->size() - 2);
  EXPECT_THAT(writer.Commit(state, *checksums, {}),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("once")));
  EXPECT_THAT(EntriesOf(root.path()), ElementsAre(".step-00000001.w.tmp"));
  EXPECT_THAT(writer.Abandon(), IsOk());
  EXPECT_THAT(EntriesOf(root.path()), IsEmpty());
  EXPECT_THAT(writer.Abandon(), IsOk());
}

TEST(CheckpointWriterTest, NamesACompanionThatIsGone) {
  const TemporaryDirectory root;
  SaveOptions options;
  options.companions = {{root.path() + "/gone.json", "config.json"}};
  EXPECT_THAT(Save(root.path() + "/c", 1, SampleModel(1), options),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("gone.json")));
}

// A checkpoint of step 1 is there; saving step 2 fails; all is as before.
void ExpectOnlyStep1(const std::string& root) {
  EXPECT_THAT(EntriesOf(root), ElementsAre("latest", "step-00000001"));
  EXPECT_EQ(fs::read_symlink(root + "/latest"), "step-00000001");
  EXPECT_THAT(VerifyDirectory(root + "/latest", 1)->problems, IsEmpty());
}

TEST(CheckpointWriterTest, AFullDiskFailsTheSaveInOneLineAndKeepsThePreviousOne) {
  const TemporaryDirectory root;
  if (mount("none", root.path().c_str(), "tmpfs", 0, "size=4m") != 0) {
    GTEST_SKIP() << "no right to mount a tmpfs here";
  }
  const SampleModel small(1, 1000);
  const SampleModel large(2, 100'000);  // 1.6 MB, three times
  EXPECT_THAT(Save(root.path(), 1, small), IsOk());
  const absl::Status status = Save(root.path(), 2, large).status();
  EXPECT_THAT(status,
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("no space for checkpoint step-00000002 in " + root.path()),
                             HasSubstr("needs 0.00"), HasSubstr("free 0.00"))));
  EXPECT_EQ(status.message().find('\n'), absl::string_view::npos);
  ExpectOnlyStep1(root.path());
  EXPECT_THAT(Save(root.path(), 3, small), IsOk());
  EXPECT_EQ(umount(root.path().c_str()), 0);
}

TEST(CheckpointWriterTest, AFileSizeLimitFailsTheSaveAndKeepsThePreviousOne) {
  const TemporaryDirectory root;
  ASSERT_THAT(Save(root.path(), 1, SampleModel(1)), IsOk());
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{64 << 10, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const absl::Status status = Save(root.path(), 2, SampleModel(2, 10'000)).status();
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("step-00000002")));
  ExpectOnlyStep1(root.path());
}

TEST(CheckpointWriterTest, AFailureOfOneRankFailsTheSaveAndKeepsThePreviousOne) {
  const TemporaryDirectory root;
  const SampleModel sample(2);
  ASSERT_THAT(Save(root.path(), 1, SampleModel(1)), IsOk());
  const auto plan = MakeCheckpointPlan(sample.model, sample.optimizer, 0);
  CheckpointWriter writer(root.path(), 2, *plan, {}, "w");
  ASSERT_THAT(writer.Prepare(), IsOk());
  fs::remove(root.path() + "/.step-00000002.w.tmp/optimizer.safetensors");
  EXPECT_THAT(::liquid::testing::WriteByRanks(writer, *plan, sample, 2),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("optimizer.safetensors")));
  EXPECT_THAT(writer.Abandon(), IsOk());
  ExpectOnlyStep1(root.path());
}

TEST(CheckpointWriterTest, AnOldCheckpointThatCannotGoOnlyWarns) {
  const TemporaryDirectory root;
  SaveOptions options;
  options.retention = {1, 0};
  ASSERT_THAT(Save(root.path(), 1, SampleModel(1), options), IsOk());
  // Renaming it aside fails: a directory with content is in the way.
  const auto plan = MakeCheckpointPlan(SampleModel(2).model, {}, 0);
  CheckpointWriter writer(root.path(), 2, *plan, {}, "w");
  ASSERT_THAT(writer.Prepare(), IsOk());
  fs::create_directories(root.path() + "/.step-00000001.old/in_the_way");
  const auto checksums =
      ::liquid::testing::WriteByRanks(writer, *plan, SampleModel(2).ModelOnly(), 1);
  ASSERT_THAT(checksums, IsOk());
  const auto committed = writer.Commit(SampleState(SampleModel(2), 2), *checksums, {1, 0});
  ASSERT_THAT(committed, IsOk());
  EXPECT_THAT(committed->warnings, ElementsAre(HasSubstr("step-00000001")));
}

TEST(CheckpointWriterTest, ALinkThatCannotBeSetOnlyWarns) {
  const TemporaryDirectory root;
  fs::create_directories(root.path() + "/latest/in_the_way");
  const auto committed = Save(root.path(), 1, SampleModel(1));
  ASSERT_THAT(committed, IsOk());
  EXPECT_THAT(committed->warnings, ElementsAre(HasSubstr("latest")));
  EXPECT_EQ(FindLatestCheckpoint(root.path())->step, 1);
}

}  // namespace
}  // namespace liquid
