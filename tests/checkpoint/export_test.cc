#include "checkpoint/export.h"

#include <bit>
#include <cmath>
#include <filesystem>
#include <limits>

#include "checkpoint/fingerprint.h"
#include "checkpoint/hf_directory.h"
#include "checkpoint/weight_names.h"
#include "gmock/gmock.h"
#include "tests/checkpoint/sample_checkpoint.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

namespace fs = std::filesystem;
using ::liquid::testing::ContentsOf;
using ::liquid::testing::IsOk;
using ::liquid::testing::SampleModel;
using ::liquid::testing::Save;
using ::liquid::testing::SaveOptions;
using ::liquid::testing::StatusIs;
using ::liquid::testing::TemporaryDirectory;
using ::liquid::testing::WriteBytes;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Key;

class ExportTest : public ::testing::Test {
 protected:
  ExportTest() {
    WriteBytes(root_.path() + "/tokenizer.json", "{\"a\":1}\r\n");
    SaveOptions options;
    options.max_shard_bytes = 128;
    options.companions = {{"tests/checkpoint/golden/config.json", "config.json"},
                          {root_.path() + "/tokenizer.json", "tokenizer.json"}};
    EXPECT_THAT(Save(root_.path() + "/c", 1, SampleModel(1), options), IsOk());
  }

  const TemporaryDirectory root_;
  const std::string from_ = root_.path() + "/c/step-00000001";
  const std::string out_ = root_.path() + "/x/out";
};

TEST_F(ExportTest, LeavesTheOptimizerAndKeepsTheWeights) {
  const auto report = ExportModel(from_, out_, {.dtype = {}, .max_shard_bytes = 0});
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->num_files, 1);
  EXPECT_EQ(report->num_tensors, 5);
  const auto contents = ContentsOf(out_);
  EXPECT_THAT(contents,
              ElementsAre(Key("config.json"), Key("model.safetensors"), Key("tokenizer.json")));
  EXPECT_EQ(contents.at("tokenizer.json"), "{\"a\":1}\r\n");
  EXPECT_EQ(contents.at("config.json"), *ReadFile(from_ + "/config.json"));
  EXPECT_EQ(*FingerprintDirectory(out_, 1), SampleModel(1).Fingerprint());
  // What the checkpoint's writer would have written as one file.
  EXPECT_THAT(Save(root_.path() + "/one", 1, SampleModel(1)), IsOk());
  EXPECT_EQ(contents.at("model.safetensors"),
            *ReadFile(root_.path() + "/one/step-00000001/model.safetensors"));
}

TEST_F(ExportTest, CastsAndCuts) {
  ASSERT_THAT(ExportModel(from_, out_, {.dtype = DType::kBF16, .max_shard_bytes = 64}), IsOk());
  EXPECT_TRUE(fs::exists(out_ + "/model.safetensors.index.json"));
  EXPECT_THAT(*ReadFile(out_ + "/config.json"), HasSubstr("\"torch_dtype\": \"bfloat16\""));
  const auto before = WeightSource::Open(from_);
  const auto after = WeightSource::Open(out_);
  ASSERT_THAT(after, IsOk());
  EXPECT_GT(after->files().size(), 1);
  for (const TensorRef& tensor : before->tensors()) {
    const auto cast = after->Find(tensor.spec().name);
    ASSERT_THAT(cast, IsOk());
    EXPECT_EQ(cast->spec().dtype, DType::kBF16);
    EXPECT_EQ(cast->spec().shape, tensor.spec().shape);
    const int64_t count = tensor.tensor->num_bytes() / 4;
    std::vector<float> wanted(static_cast<size_t>(count));
    std::vector<float> got(wanted.size());
    ASSERT_THAT(before->ReadF32(tensor.spec().name, wanted.data(), count), IsOk());
    ASSERT_THAT(after->ReadF32(tensor.spec().name, got.data(), count), IsOk());
    for (size_t i = 0; i < wanted.size(); ++i) {
      EXPECT_EQ(std::bit_cast<uint32_t>(got[i]) >> 16, RoundToBf16(wanted[i]));
      EXPECT_LE(std::abs(got[i] - wanted[i]), std::abs(wanted[i]) / 256);
    }
  }
  // And back: exact.
  ASSERT_THAT(ExportModel(out_, out_ + "2", {.dtype = DType::kF32}), IsOk());
  ASSERT_THAT(ExportModel(out_ + "2", out_ + "3", {.dtype = DType::kBF16, .max_shard_bytes = 64}),
              IsOk());
  EXPECT_EQ(ContentsOf(out_ + "3"), ContentsOf(out_));
}

// The golden directory stands for a model with more than what was trained: 0-d tensors too.
TEST_F(ExportTest, CarriesThroughWhatOnlyTheBaseHas) {
  const std::string base = "tests/model/golden/gemma4";
  ASSERT_THAT(ExportModel(from_, out_, {.dtype = DType::kBF16, .base = base}), IsOk());
  const auto trained = WeightSource::Open(from_);
  const auto carried = WeightSource::Open(base);
  const auto after = WeightSource::Open(out_);
  ASSERT_THAT(after, IsOk());
  EXPECT_EQ(after->tensors().size(), trained->tensors().size() + carried->tensors().size());
  bool has_scalar = false;
  for (const TensorRef& tensor : carried->tensors()) {
    const auto found = after->Find(tensor.spec().name);
    ASSERT_THAT(found, IsOk());
    EXPECT_EQ(found->spec().shape, tensor.spec().shape);
    has_scalar |= tensor.spec().shape.empty();
  }
  EXPECT_TRUE(has_scalar);
  // Exported over itself: nothing is taken from the base that is there already.
  const std::string again = root_.path() + "/again";
  ASSERT_THAT(ExportModel(from_, again, {.base = from_}), IsOk());
  EXPECT_EQ(*FingerprintDirectory(again, 1), SampleModel(1).Fingerprint());
}

TEST(WeightNamesTest, OtherFilesSpellThemInAnotherWay) {
  EXPECT_THAT(OtherSpellings("model.language_model.norm.weight"),
              Contains("language_model.model.norm.weight"));
  EXPECT_THAT(OtherSpellings("language_model.model.norm.weight"),
              Contains("model.language_model.norm.weight"));
  EXPECT_THAT(OtherSpellings("transformer.wte.weight"), Contains("wte.weight"));
  EXPECT_THAT(OtherSpellings("wte.weight"), Contains("transformer.wte.weight"));
}

TEST_F(ExportTest, RoundsToTheNearestTiesToEven) {
  const auto of = [](uint32_t bits) { return RoundToBf16(std::bit_cast<float>(bits)); };
  EXPECT_EQ(of(0x3f808000), 0x3f80);  // a tie, even below
  EXPECT_EQ(of(0x3f818000), 0x3f82);  // a tie, even above
  EXPECT_EQ(of(0x3f808001), 0x3f81);
  EXPECT_EQ(of(0x3f807fff), 0x3f80);
  EXPECT_EQ(of(0x7f7fffff), 0x7f80);  // beyond the largest: infinity
  EXPECT_EQ(of(0xff800000), 0xff80);
  EXPECT_EQ(RoundToBf16(std::numeric_limits<float>::quiet_NaN()) & 0x7fff, 0x7fc0);
  EXPECT_NE(of(0x7f800001) & 0x7f, 0);  // a NaN does not become infinity
}

TEST_F(ExportTest, RefusesToOverwrite) {
  fs::create_directories(out_);
  EXPECT_THAT(ExportModel(from_, out_, {}),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("is there already")));
  EXPECT_TRUE(fs::is_empty(out_));
}

TEST_F(ExportTest, ADamagedCheckpointIsNamedAndLeavesNothing) {
  const std::string path = from_ + "/model-00002-of-00002.safetensors";
  std::string content = *ReadFile(path);
  content.back() ^= 1;
  WriteBytes(path, content);
  EXPECT_THAT(
      ExportModel(from_, out_, {}),
      StatusIs(absl::StatusCode::kDataLoss, AllOf(HasSubstr("model-00002-of-00002.safetensors"),
                                                  HasSubstr("tensor"), HasSubstr("bytes ["))));
  EXPECT_FALSE(fs::exists(root_.path() + "/x"));
}

}  // namespace
}  // namespace liquid
