// Whatever happens to the bytes of a checkpoint, verifying and loading say what is damaged, and the
// one before it is still found.
#include <filesystem>
#include <random>

#include "checkpoint/catalog.h"
#include "checkpoint/reader.h"
#include "checkpoint/verify.h"
#include "gmock/gmock.h"
#include "tests/checkpoint/sample_checkpoint.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

namespace fs = std::filesystem;
using ::liquid::testing::IsOk;
using ::liquid::testing::SampleModel;
using ::liquid::testing::Save;
using ::liquid::testing::StatusIs;
using ::liquid::testing::TemporaryDirectory;
using ::liquid::testing::ThreeFiles;
using ::liquid::testing::WriteBytes;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// Steps 1 and 2; the model of each has three files.
class DamageTest : public ::testing::Test {
 protected:
  DamageTest() {
    for (const int64_t step : {1, 2}) {
      EXPECT_THAT(Save(root_.path(), step, sample_, ThreeFiles()), IsOk());
    }
  }

  absl::Status Load() {
    const auto reader = CheckpointReader::Open(newest_);
    if (!reader.ok()) return reader.status();
    SampleModel out(2);
    return reader->ReadParts(out.WholeParts(), 1);
  }

  const TemporaryDirectory root_;
  SampleModel sample_{1};
  const std::string newest_ = root_.path() + "/step-00000002";
};

TEST_F(DamageTest, AnyFlippedBitIsNamedWithFileTensorAndRange) {
  std::mt19937 random(5);
  for (const auto& entry : fs::directory_iterator(newest_)) {
    const std::string name = entry.path().filename();
    const std::string sound = *ReadFile(entry.path().string());
    std::vector<StoredTensor> tensors;
    if (name.ends_with(".safetensors")) {
      const auto file = SafetensorsFile::Open(entry.path().string());
      ASSERT_THAT(file, IsOk());
      tensors.assign(file->tensors().begin(), file->tensors().end());
    }
    // Each region of the file, densely: length, header, every tensor, the end.
    for (size_t offset = 0; offset < sound.size(); offset += 1 + random() % 13) {
      std::string tensor;  // empty: not in a tensor's bytes
      for (const StoredTensor& stored : tensors) {
        const auto at = static_cast<int64_t>(offset);
        if (stored.begin <= at && at < stored.end) tensor = stored.spec.name;
      }
      std::string damaged = sound;
      damaged[offset] ^= static_cast<char>(1 << random() % 8);
      WriteBytes(entry.path().string(), damaged);
      SCOPED_TRACE(absl::StrCat(name, " byte ", offset, " ", tensor));

      const auto report = VerifyDirectory(newest_, 1);
      ASSERT_THAT(report, IsOk());
      ASSERT_FALSE(report->problems.empty());
      const VerifyProblem& problem = report->problems.front();
      EXPECT_EQ(problem.file, name);
      EXPECT_EQ(problem.tensor, tensor);
      // A length that cannot be believed leaves only itself to name.
      EXPECT_LE(problem.begin, static_cast<int64_t>(offset));
      EXPECT_GT(problem.end, static_cast<int64_t>(offset));

      const absl::Status loaded = Load();
      EXPECT_THAT(loaded, StatusIs(absl::StatusCode::kDataLoss, HasSubstr(name)));
      EXPECT_THAT(loaded.message(), HasSubstr("bytes"));
      EXPECT_THAT(loaded.message(), HasSubstr(tensor));
    }
    WriteBytes(entry.path().string(), sound);
  }
  EXPECT_THAT(Load(), IsOk());
}

TEST_F(DamageTest, AFileCutAnywhereIsPassedOverForTheOneBefore) {
  std::mt19937 random(6);
  for (const auto& entry : fs::directory_iterator(newest_)) {
    const std::string name = entry.path().filename();
    const std::string sound = *ReadFile(entry.path().string());
    for (int i = 0; i < 100; ++i) {
      fs::resize_file(entry.path(), random() % sound.size());
      const auto newest = FindLatestCheckpoint(root_.path());
      ASSERT_THAT(newest, IsOk());
      ASSERT_EQ(newest->step, 1) << name;
      const auto catalog = ListCheckpoints(root_.path());
      ASSERT_THAT(catalog->skipped, SizeIs(1));
      EXPECT_THAT(catalog->skipped[0], HasSubstr(name));
      EXPECT_THAT(Load(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr(name)));
      const auto report = VerifyDirectory(newest_, 1);
      ASSERT_FALSE(report->problems.empty());
      EXPECT_EQ(report->problems.front().file, name);
      WriteBytes(entry.path().string(), sound);
    }
  }
  EXPECT_EQ(FindLatestCheckpoint(root_.path())->step, 2);
}

}  // namespace
}  // namespace liquid
