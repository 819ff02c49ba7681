#include "checkpoint/verify.h"

#include <filesystem>

#include "checkpoint/checksum.h"
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
using ::testing::IsEmpty;
using ::testing::SizeIs;

// A checkpoint whose model has three files.
class VerifyTest : public ::testing::Test {
 protected:
  VerifyTest() { EXPECT_THAT(Save(root_.path(), 1, SampleModel(1), ThreeFiles()), IsOk()); }
  std::vector<VerifyProblem> Problems() {
    const auto report = VerifyDirectory(directory_, 2);
    EXPECT_THAT(report, IsOk());
    return report->problems;
  }
  void Flip(const std::string& name, int64_t byte) {
    std::string content = *ReadFile(directory_ + "/" + name);
    content[static_cast<size_t>(byte)] ^= 0x10;
    WriteBytes(directory_ + "/" + name, content);
  }

  const TemporaryDirectory root_;
  const std::string directory_ = root_.path() + "/step-00000001";
};

TEST_F(VerifyTest, FindsNothingWrongWithASoundCheckpoint) {
  const auto report = VerifyDirectory(directory_, 2);
  ASSERT_THAT(report, IsOk());
  EXPECT_THAT(report->problems, IsEmpty());
  EXPECT_TRUE(report->has_manifest);
  EXPECT_EQ(report->num_tensors, 15);
  EXPECT_GT(report->num_bytes, 3 * 244);
  EXPECT_THAT(VerifyDirectory(directory_ + "/nowhere", 1),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("nowhere")));
}

TEST_F(VerifyTest, NamesFileTensorAndRangeOfADamagedTensor) {
  const std::string name = "model-00003-of-00003.safetensors";
  const auto file = SafetensorsFile::Open(directory_ + "/" + name);
  const StoredTensor* tensor = file->Find("model.layers.0.mlp.weight");
  ASSERT_NE(tensor, nullptr);
  Flip(name, tensor->end - 1);
  const auto problems = Problems();
  ASSERT_THAT(problems, SizeIs(1));
  EXPECT_EQ(problems[0].file, name);
  EXPECT_EQ(problems[0].tensor, "model.layers.0.mlp.weight");
  EXPECT_EQ(problems[0].begin, tensor->begin);
  EXPECT_EQ(problems[0].end, tensor->end);
  EXPECT_EQ(problems[0].ToString(),
            absl::StrCat(name, ": tensor \"model.layers.0.mlp.weight\": bytes [", tensor->begin,
                         ",", tensor->end, "): wrong checksum"));
}

TEST_F(VerifyTest, NamesADamagedHeaderAndGoesOn) {
  Flip("model-00001-of-00003.safetensors", 20);
  const auto size =
      static_cast<int64_t>(fs::file_size(directory_ + "/model-00003-of-00003.safetensors"));
  Flip("model-00003-of-00003.safetensors", size - 1);
  const auto problems = Problems();
  ASSERT_THAT(problems, SizeIs(2));
  EXPECT_EQ(problems[0].file, "model-00001-of-00003.safetensors");
  EXPECT_EQ(problems[0].begin, 0);
  EXPECT_THAT(problems[0].what, HasSubstr("the header"));
  EXPECT_GT(problems[0].end, 20);
  EXPECT_EQ(problems[1].end, size);
}

TEST_F(VerifyTest, NamesEveryFlippedByteOfEveryFile) {
  for (const auto& entry : fs::directory_iterator(directory_)) {
    const std::string name = entry.path().filename();
    const std::string content = *ReadFile(entry.path().string());
    for (size_t byte = 0; byte < content.size(); byte += 11) {
      Flip(name, static_cast<int64_t>(byte));
      const auto problems = Problems();
      ASSERT_THAT(problems, Not(IsEmpty())) << name << " " << byte;
      EXPECT_EQ(problems[0].file, name);
      WriteBytes(entry.path().string(), content);
    }
  }
  EXPECT_THAT(Problems(), IsEmpty());
}

TEST_F(VerifyTest, NamesMissingTruncatedAndStrangeFiles) {
  const std::string name = "optimizer-00001-of-00006.safetensors";
  const auto size = static_cast<int64_t>(fs::file_size(directory_ + "/" + name));
  fs::resize_file(directory_ + "/" + name, static_cast<uintmax_t>(size - 3));
  fs::remove(directory_ + "/config.json");
  fs::copy(directory_ + "/model-00001-of-00003.safetensors", directory_ + "/model.safetensors");
  const auto problems = Problems();
  ASSERT_THAT(problems, SizeIs(3));
  EXPECT_THAT(problems[0].ToString(), HasSubstr("config.json: cannot open"));
  EXPECT_EQ(problems[1].ToString(), "model.safetensors: is not in the manifest");
  EXPECT_EQ(problems[2].file, name);
  EXPECT_EQ(problems[2].begin, size - 3);
  EXPECT_EQ(problems[2].end, size);
}

TEST_F(VerifyTest, HoldsTheWeightsAgainstTheFingerprint) {
  auto manifest = ReadManifest(directory_);
  manifest->state.weights_fingerprint.low ^= 1;
  WriteBytes(directory_ + "/manifest.json", WriteManifest(*manifest));
  const auto problems = Problems();
  ASSERT_THAT(problems, SizeIs(1));
  EXPECT_THAT(problems[0].what, HasSubstr("fingerprint"));
}

TEST_F(VerifyTest, ChecksTheStructureOfPlainModels) {
  fs::remove(directory_ + "/manifest.json");
  const auto report = VerifyDirectory(directory_, 1);
  ASSERT_THAT(report, IsOk());
  EXPECT_FALSE(report->has_manifest);
  EXPECT_THAT(report->problems, IsEmpty());
  EXPECT_EQ(report->num_files, 3);
  EXPECT_EQ(report->num_tensors, 5);
  fs::remove(directory_ + "/model-00003-of-00003.safetensors");
  EXPECT_THAT(Problems()[0].what, HasSubstr("model-00003-of-00003.safetensors"));
}

TEST_F(VerifyTest, NamesTensorsThatThePlainIndexForgets) {
  fs::remove(directory_ + "/manifest.json");
  WriteBytes(directory_ + "/model.safetensors.index.json",
             R"({"weight_map":{"model.scale":"model-00003-of-00003.safetensors"}})");
  const auto problems = Problems();
  ASSERT_THAT(problems, SizeIs(2));
  EXPECT_EQ(problems[0].what, "is not in the index");
  EXPECT_EQ(problems[0].file, "model-00003-of-00003.safetensors");
}

}  // namespace
}  // namespace liquid
