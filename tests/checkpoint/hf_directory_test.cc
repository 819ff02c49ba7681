#include "checkpoint/hf_directory.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "base/file.h"
#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

namespace fs = std::filesystem;
using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

auto Refused(const std::string& why) {
  return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(why));
}
auto Missing(const std::string& what) {
  return StatusIs(absl::StatusCode::kNotFound, HasSubstr(what));
}

class WeightSourceTest : public ::testing::Test {
 protected:
  WeightSourceTest() { fs::create_directories(directory_); }
  ~WeightSourceTest() override { fs::remove_all(directory_); }

  std::string Path(const std::string& name) const { return directory_ + "/" + name; }
  void Write(const std::string& name, const std::string& content) {
    ASSERT_THAT(WriteFileAtomically(Path(name), content), IsOk());
  }
  // One tensor, whose every byte is `fill`.
  void WriteTensor(const std::string& file, const TensorSpec& spec, char fill) {
    const auto layout = MakeSafetensorsLayout({spec}, {});
    ASSERT_THAT(layout, IsOk());
    Write(file,
          layout->header + std::string(static_cast<size_t>(layout->tensors[0].num_bytes()), fill));
  }
  void WriteIndex(const std::string& weight_map) {
    Write("model.safetensors.index.json",
          R"({"metadata":{"total_size":16},"weight_map":{)" + weight_map + "}}");
  }

  const std::string directory_ = ::testing::TempDir() + "/liquid_hf_directory_test_" +
                                 ::testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(WeightSourceTest, ReadsASingleFile) {
  WriteTensor("model.safetensors", {"w", DType::kF32, {2, 2}}, '\0');
  const auto source = WeightSource::Open(directory_);
  ASSERT_THAT(source, IsOk());
  EXPECT_EQ(source->Find("w")->spec(), (TensorSpec{"w", DType::kF32, {2, 2}}));
  EXPECT_THAT(source->Find("v"), Missing("no tensor \"v\" in " + directory_));
  std::vector<float> out(4, 1);
  EXPECT_THAT(source->ReadF32("w", out.data(), 4), IsOk());
  EXPECT_THAT(out, ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(source->ReadF32("w", out.data(), 3), Refused("F32 [2,2], not of 3 elements"));
}

TEST_F(WeightSourceTest, ReadsSeveralFilesThroughTheIndex) {
  WriteTensor("b.safetensors", {"y", DType::kF32, {1}}, '\x40');
  WriteTensor("a.safetensors", {"z", DType::kF32, {1}}, '\0');
  WriteIndex(R"("z":"a.safetensors","y":"b.safetensors")");
  absl::StatusOr<WeightSource> opened = WeightSource::Open(directory_);
  ASSERT_THAT(opened, IsOk());
  const WeightSource source = *std::move(opened);  // references survive the move
  ASSERT_EQ(source.tensors().size(), 2);
  EXPECT_EQ(source.tensors()[0].spec().name, "y");
  EXPECT_EQ(source.tensors()[0].file->path(), Path("b.safetensors"));
  float y = 0;
  EXPECT_THAT(source.ReadF32("y", &y, 1), IsOk());
  EXPECT_FLOAT_EQ(y, 3.0039215f);
}

TEST_F(WeightSourceTest, PrefersTheSingleFileAsTransformersDoes) {
  WriteTensor("model.safetensors", {"w", DType::kF32, {1}}, '\0');
  WriteIndex(R"("gone":"gone.safetensors")");
  EXPECT_THAT(WeightSource::Open(directory_), IsOk());
}

TEST_F(WeightSourceTest, NamesWhatIsMissing) {
  EXPECT_THAT(WeightSource::Open(directory_), Missing("no weights in " + directory_));
  EXPECT_THAT(WeightSource::Open(directory_ + "/nowhere"), Missing("nowhere"));
  WriteTensor("a.safetensors", {"z", DType::kF32, {1}}, '\0');
  WriteIndex(R"("z":"a.safetensors","y":"b.safetensors")");
  EXPECT_THAT(WeightSource::Open(directory_), Missing("b.safetensors"));
  WriteIndex(R"("y":"a.safetensors")");
  EXPECT_THAT(WeightSource::Open(directory_),
              Refused("tensor \"y\" is not in " + Path("a.safetensors")));
}

TEST_F(WeightSourceTest, NamesTheBrokenFile) {
  Write("a.safetensors", "12345678{");
  WriteIndex(R"("z":"a.safetensors")");
  EXPECT_THAT(WeightSource::Open(directory_),
              Refused(Path("a.safetensors") + " is not a sound safetensors file"));
}

TEST_F(WeightSourceTest, RefusesIndexesThatLeaveTheDirectory) {
  for (const std::string name :
       {"../a.safetensors", "/a.safetensors", "s/a.safetensors", "", "..", "a.bin", ".safetensors",
        "..\\\\a.safetensors", "a\\u0000.safetensors"}) {
    WriteIndex("\"z\":\"" + name + "\"");
    EXPECT_THAT(WeightSource::Open(directory_), Refused("must be a plain file name")) << name;
  }
}

TEST_F(WeightSourceTest, RefusesIndexesOfAnotherForm) {
  const auto index = [](const std::string& json) { return ParseSafetensorsIndex(json, "i.json"); };
  EXPECT_THAT(index(R"({"weight_map":{}})"), IsOk());
  EXPECT_THAT(index("[]"), Refused("i.json: no object \"weight_map\""));
  EXPECT_THAT(index("{}"), Refused("no object \"weight_map\""));
  EXPECT_THAT(index(R"({"weight_map":[]})"), Refused("no object \"weight_map\""));
  EXPECT_THAT(index(R"({"weight_map":{"a":1}})"),
              Refused("the file of tensor \"a\" is not a text"));
  EXPECT_THAT(index(R"({"weight_map":{"a":"x.safetensors","a":"y.safetensors"}})"),
              Refused("the key \"a\" twice"));
  EXPECT_THAT(index(R"({"weight_map":{"a":"x.safetensors")"), Refused("not JSON"));
}

TEST_F(WeightSourceTest, ConvertsHalfPrecisionExactly) {
  WriteTensor("model.safetensors", {"b", DType::kBF16, {1}}, '\x40');
  float value = 0;
  EXPECT_THAT(WeightSource::Open(directory_)->ReadF32("b", &value, 1), IsOk());
  EXPECT_EQ(value, 3.0f);  // 0x4040

  const uint16_t halves[] = {0x3c00, 0xc000, 0x0001, 0x7c00, 0x03ff, 0x8000};
  float out[6];
  ConvertToF32(DType::kF16, reinterpret_cast<const std::byte*>(halves), 6, out);
  EXPECT_THAT(
      out, ElementsAre(1.0f, -2.0f, std::ldexp(1.0f, -24), std::numeric_limits<float>::infinity(),
                       std::ldexp(1023.0f, -24), 0.0f));
  EXPECT_TRUE(std::signbit(out[5]));
}

TEST_F(WeightSourceTest, ConvertsFromAnyAlignment) {
  const float values[] = {1.5f, -2.25f};
  std::byte shifted[9];
  std::memcpy(shifted + 1, values, 8);
  float out[2];
  ConvertToF32(DType::kF32, shifted + 1, 2, out);
  EXPECT_THAT(out, ElementsAre(1.5f, -2.25f));
  const uint16_t bf16[] = {0x3fc0, 0xc010};
  std::memcpy(shifted + 1, bf16, 4);
  ConvertToF32(DType::kBF16, shifted + 1, 2, out);
  EXPECT_THAT(out, ElementsAre(1.5f, -2.25f));
}

TEST_F(WeightSourceTest, RefusesOtherDtypesAsWeights) {
  WriteTensor("model.safetensors", {"i", DType::kI64, {1}}, '\0');
  float value = 0;
  EXPECT_THAT(WeightSource::Open(directory_)->ReadF32("i", &value, 1),
              Refused("I64 [1]; weights must be F32, BF16 or F16"));
}

TEST_F(WeightSourceTest, OpensOtherStems) {
  WriteTensor("optimizer.safetensors", {"w", DType::kF32, {1}}, '\0');
  EXPECT_THAT(WeightSource::Open(directory_, "optimizer"), IsOk());
  EXPECT_THAT(WeightSource::Open(directory_), Missing("no weights"));
}

}  // namespace
}  // namespace liquid
