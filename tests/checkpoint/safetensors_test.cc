#include "checkpoint/safetensors.h"

#include <cstdlib>
#include <cstring>
#include <filesystem>
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
using ::testing::Pair;

std::string FileOf(const std::string& json, const std::string& data) {
  const uint64_t size = json.size();
  return std::string(reinterpret_cast<const char*>(&size), 8) + json + data;
}

absl::StatusOr<SafetensorsHeader> Parse(const std::string& file) {
  return ParseSafetensorsHeader(
      absl::MakeSpan(reinterpret_cast<const std::byte*>(file.data()), file.size()),
      static_cast<int64_t>(file.size()), "x.safetensors");
}

absl::Status ParseJson(const std::string& json, size_t data_size = 8) {
  return Parse(FileOf(json, std::string(data_size, 'd'))).status();
}

auto Refused(const std::string& why) {
  return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(why));
}

// A tensor of 8 bytes, with the three fields given as JSON.
std::string Tensor(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets;
}
const char kGood[] = R"("dtype":"F32","shape":[2],"data_offsets":[0,8])";

TEST(SafetensorsTest, ReadsTensorsInTheOrderOfTheirBytes) {
  const auto header = Parse(FileOf(
      R"({"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},"__metadata__":{"format":"pt"},)"
      R"("a":{"data_offsets":[0,4],"shape":[2,1],"dtype":"BF16"}}   )",
      "aaaabbbb"));
  ASSERT_THAT(header, IsOk());
  ASSERT_EQ(header->tensors.size(), 2);
  EXPECT_EQ(header->tensors[0].spec, (TensorSpec{"a", DType::kBF16, {2, 1}}));
  EXPECT_EQ(header->tensors[0].begin, header->data_begin);
  EXPECT_EQ(header->tensors[1].spec, (TensorSpec{"b", DType::kF32, {1}}));
  EXPECT_EQ(header->tensors[1].end, header->data_begin + 8);
  EXPECT_THAT(header->metadata, ElementsAre(Pair("format", "pt")));
}

TEST(SafetensorsTest, ReadsScalarsEmptyTensorsAndEmptyFiles) {
  EXPECT_THAT(ParseJson("{}", 0), IsOk());
  EXPECT_THAT(ParseJson("{\"__metadata__\":{}}", 0), IsOk());
  EXPECT_THAT(ParseJson("{\"s\":{" + Tensor("\"F64\"", "[]", "[0,8]") + "}}"), IsOk());
  const auto header = Parse(FileOf("{\"z\":{" + Tensor("\"F32\"", "[2]", "[0,8]") + "},\"a\":{" +
                                       Tensor("\"F32\"", "[0,7]", "[0,0]") + "},\"y\":{" +
                                       Tensor("\"F32\"", "[0]", "[8,8]") + "}}",
                                   "12345678"));
  ASSERT_THAT(header, IsOk());
  EXPECT_EQ(header->tensors[0].spec.name, "a");
  EXPECT_EQ(header->tensors[0].num_bytes(), 0);
  EXPECT_EQ(header->tensors[2].spec.name, "y");
}

TEST(SafetensorsTest, RefusesBadLengths) {
  EXPECT_THAT(Parse(""), Refused("too short"));
  EXPECT_THAT(Parse("1234567"), Refused("too short"));
  EXPECT_THAT(Parse(std::string(8, '\0')), Refused("must start with {"));
  EXPECT_THAT(Parse(std::string("\x03\0\0\0\0\0\0\0{}", 10)), Refused("a header of 3 bytes in a"));
  EXPECT_THAT(Parse(std::string(8, '\xff')), Refused("18446744073709551615 bytes; the limit"));
  const uint64_t above = kMaxSafetensorsHeaderBytes + 1;
  EXPECT_THAT(Parse(std::string(reinterpret_cast<const char*>(&above), 8) + "{}"),
              Refused("the limit is 100000000"));
}

TEST(SafetensorsTest, RefusesWhatIsNotTheFormatsJson) {
  const std::string good = std::string("{\"t\":{") + kGood + "}";
  EXPECT_THAT(ParseJson(good + "}"), IsOk());
  EXPECT_THAT(ParseJson(good + "}    "), IsOk());
  EXPECT_THAT(ParseJson(good + "}\n"), Refused("nothing but spaces"));
  EXPECT_THAT(ParseJson(good + "}" + std::string(2, '\0')), Refused("nothing but spaces"));
  EXPECT_THAT(ParseJson(good + std::string("\0}", 2)), Refused("nothing but spaces"));
  EXPECT_THAT(ParseJson(" " + good + "}"), Refused("must start with {"));
  EXPECT_THAT(ParseJson("\xef\xbb\xbf" + good + "}"), Refused("must start with {"));
  EXPECT_THAT(ParseJson("[]"), Refused("must start with {"));
  EXPECT_THAT(ParseJson(good + ",}"), Refused("not JSON"));
  EXPECT_THAT(ParseJson(good + "}}"), Refused("not JSON"));
  EXPECT_THAT(ParseJson("{/*x*/}", 0), Refused("not JSON"));
  EXPECT_THAT(ParseJson(std::string("{\"\xff\":{") + kGood + "}}"), Refused("not JSON in UTF-8"));
  EXPECT_THAT(ParseJson(std::string("{\"\\ud800\":{") + kGood + "}}"), Refused("not JSON"));
  EXPECT_THAT(ParseJson("{" + std::string(100'000, '[')), Refused("nothing but spaces"));
  EXPECT_THAT(ParseJson("{\"t\":" + std::string(100'000, '[') + "}"), Refused("a list stands"));
  std::string deep = "{";
  for (int i = 0; i < 100'000; ++i) deep += "\"a\":{";
  EXPECT_THAT(ParseJson(deep + std::string(100'001, '}')), Refused("unknown key \"a\""));
}

TEST(SafetensorsTest, RefusesDuplicateKeys) {
  const std::string t = std::string("\"t\":{") + kGood + "}";
  EXPECT_THAT(ParseJson("{" + t + "," + t + "}"), Refused("t"));
  // The same name in another spelling, on an empty tensor that no overlap would give away.
  const std::string empty = Tensor("\"F32\"", "[0]", "[8,8]");
  EXPECT_THAT(ParseJson("{" + t + ",\"\\u0074\":{" + empty + "}}"),
              Refused("the tensor \"t\" twice"));
  EXPECT_THAT(ParseJson(std::string("{\"t\":{\"dtype\":\"F32\",") + kGood + "}}"),
              Refused("the key \"dtype\" twice"));
  EXPECT_THAT(ParseJson("{\"__metadata__\":{\"a\":\"1\",\"a\":\"1\"}}", 0), Refused("\"a\" twice"));
  EXPECT_THAT(ParseJson("{\"__metadata__\":{},\"__metadata__\":{}}", 0),
              Refused("__metadata__ appears twice"));
}

TEST(SafetensorsTest, RefusesBadFields) {
  const auto tensor = [](const std::string& fields) {
    return ParseJson("{\"t\":{" + fields + "}}");
  };
  EXPECT_THAT(tensor(kGood), IsOk());
  EXPECT_THAT(tensor(std::string(kGood) + ",\"x\":1"), Refused("tensor \"t\": unknown key \"x\""));
  EXPECT_THAT(tensor("\"dtype\":\"F32\",\"shape\":[2]"), Refused("all needed"));
  EXPECT_THAT(tensor(""), Refused("all needed"));
  EXPECT_THAT(tensor(Tensor("\"F33\"", "[2]", "[0,8]")), Refused("unknown dtype \"F33\""));
  EXPECT_THAT(tensor(Tensor("\"f32\"", "[2]", "[0,8]")), Refused("unknown dtype \"f32\""));
  EXPECT_THAT(tensor(Tensor("4", "[2]", "[0,8]")), Refused("the number 4 stands"));
  EXPECT_THAT(tensor(Tensor("[\"F32\"]", "[2]", "[0,8]")), Refused("a list stands"));
  EXPECT_THAT(tensor(Tensor("null", "[2]", "[0,8]")), Refused("null"));
  EXPECT_THAT(tensor(Tensor("\"F32\"", "2", "[0,8]")), Refused("the number 2 stands"));
  EXPECT_THAT(tensor(Tensor("\"F32\"", "[[2]]", "[0,8]")), Refused("a list stands"));
  EXPECT_THAT(tensor(Tensor("\"F32\"", "[\"2\"]", "[0,8]")), Refused("the text \"2\" stands"));
  EXPECT_THAT(tensor(Tensor("\"F32\"", "[2.0]", "[0,8]")), Refused("2.0 is not an integer"));
  EXPECT_THAT(tensor(Tensor("\"F32\"", "[2e0]", "[0,8]")), Refused("2e0 is not an integer"));
  EXPECT_THAT(tensor(Tensor("\"F32\"", "[-2]", "[0,8]")), Refused("-2 is negative"));
  EXPECT_THAT(tensor(Tensor("\"F32\"", "[-0]", "[0,8]")), Refused("negative"));
  EXPECT_THAT(tensor(Tensor("\"F32\"", "[true]", "[0,8]")), Refused("boolean"));
  EXPECT_THAT(tensor(Tensor("\"F32\"", "{}", "[0,8]")), Refused("an object stands"));
  EXPECT_THAT(tensor(Tensor("\"F32\"", "[2]", "[0]")), Refused("must be two numbers"));
  EXPECT_THAT(tensor(Tensor("\"F32\"", "[2]", "[0,4,8]")), Refused("must be two numbers"));
  EXPECT_THAT(tensor(Tensor("\"F32\"", "[2]", "[]")), Refused("must be two numbers"));
  EXPECT_THAT(ParseJson("{\"t\":1}"), Refused("the number 1 stands"));
  EXPECT_THAT(ParseJson("{\"t\":\"x\"}"), Refused("the text \"x\" stands"));
  EXPECT_THAT(ParseJson("{\"__metadata__\":{\"a\":1}}", 0), Refused("the number 1 stands"));
  EXPECT_THAT(ParseJson("{\"__metadata__\":{\"a\":{}}}", 0), Refused("an object stands"));
  EXPECT_THAT(ParseJson("{\"__metadata__\":\"a\"}", 0), Refused("the text \"a\" stands"));
  std::string ones = "1";
  for (int i = 0; i < kMaxTensorRank; ++i) ones += ",1";
  EXPECT_THAT(tensor(Tensor("\"F64\"", "[" + ones + "]", "[0,8]")),
              Refused("more than 64 numbers"));
}

TEST(SafetensorsTest, RefusesSizesThatDisagreeOrOverflow) {
  const auto tensor = [](const std::string& shape, const std::string& offsets) {
    return ParseJson("{\"t\":{" + Tensor("\"F32\"", shape, offsets) + "}}");
  };
  EXPECT_THAT(tensor("[2]", "[8,0]"), Refused("leave the data"));
  EXPECT_THAT(tensor("[2]", "[0,9]"), Refused("leave the data, which has 8 bytes"));
  EXPECT_THAT(tensor("[2]", "[0,18446744073709551615]"), Refused("too large"));
  EXPECT_THAT(tensor("[2]", "[0,18446744073709551616]"), Refused("not an integer of 64 bits"));
  EXPECT_THAT(tensor("[2]", "[9223372036854775800,9223372036854775807]"),
              Refused("leave the data"));
  EXPECT_THAT(tensor("[3]", "[0,8]"), Refused("F32 [3] needs 12 bytes"));
  EXPECT_THAT(tensor("[1]", "[0,8]"), Refused("F32 [1] needs 4 bytes"));
  // 4 * 2^31 * 2^31 * 2 is 0 in 64 bits; the empty tensor's other extents may not overflow either.
  EXPECT_THAT(tensor("[2147483648,2147483648,2]", "[0,0]"), Refused("more bytes than 64 bits"));
  EXPECT_THAT(tensor("[9223372036854775807,9223372036854775807,0]", "[0,0]"),
              Refused("more bytes than 64 bits"));
  EXPECT_THAT(tensor("[4611686018427387905]", "[0,4]"), Refused("more bytes than 64 bits"));
}

TEST(SafetensorsTest, RefusesHolesOverlapsAndUncoveredEnds) {
  const auto two = [](const std::string& a, const std::string& b) {
    return ParseJson(
        "{\"a\":{" + Tensor("\"U8\"", "[4]", a) + "},\"b\":{" + Tensor("\"U8\"", "[4]", b) + "}}",
        12);
  };
  EXPECT_THAT(two("[0,4]", "[4,8]"), Refused("the last tensor ends at byte"));
  EXPECT_THAT(two("[0,4]", "[8,12]"), Refused("tensor \"b\": its bytes start"));
  EXPECT_THAT(two("[0,4]", "[8,12]"), Refused("a hole behind"));
  EXPECT_THAT(two("[4,8]", "[8,12]"), Refused("a hole behind"));
  EXPECT_THAT(two("[0,4]", "[2,6]"), Refused("inside the tensor before it"));
  EXPECT_THAT(two("[0,4]", "[0,4]"), Refused("inside the tensor before it"));
  EXPECT_THAT(ParseJson("{}", 1), Refused("the last tensor ends at byte 10"));
}

TEST(SafetensorsTest, WritesTheFormatByteForByte) {
  const auto layout = MakeSafetensorsLayout({{"b", DType::kF32, {}},
                                             {"h", DType::kF16, {3}},
                                             {"a", DType::kF32, {1, 2}},
                                             {"\xc3\xa9\"", DType::kF32, {0}}},
                                            {{"format", "pt"}});
  ASSERT_THAT(layout, IsOk());
  std::string json =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"F32","shape":[],"data_offsets":[8,12]},)"
      "\"\xc3\xa9\\\"\":"
      R"({"dtype":"F32","shape":[0],"data_offsets":[12,12]},)"
      R"("h":{"dtype":"F16","shape":[3],"data_offsets":[12,18]}})";
  while (json.size() % 8 != 0) json += ' ';
  EXPECT_EQ(layout->header, FileOf(json, ""));
  EXPECT_EQ(layout->file_size, static_cast<int64_t>(layout->header.size()) + 18);
  EXPECT_EQ(layout->tensors[3].spec.name, "h");
  EXPECT_EQ(layout->tensors[3].begin, static_cast<int64_t>(layout->header.size()) + 12);
}

TEST(SafetensorsTest, RefusesToLayOutWhatItWouldRefuseToRead) {
  EXPECT_THAT(MakeSafetensorsLayout({{"a", DType::kF32, {1}}, {"a", DType::kF32, {1}}}, {}),
              Refused("twice"));
  EXPECT_THAT(MakeSafetensorsLayout({{"a", DType::kF32, {-1}}}, {}), Refused("negative"));
  EXPECT_THAT(MakeSafetensorsLayout({{"a", DType::kF32, {INT64_MAX, 2}}}, {}), Refused("64 bits"));
  EXPECT_THAT(
      MakeSafetensorsLayout({{"a", DType::kU8, {INT64_MAX - 5}}, {"b", DType::kU8, {6}}}, {}),
      Refused("64 bits"));
  EXPECT_THAT(MakeSafetensorsLayout({{"__metadata__", DType::kF32, {1}}}, {}), Refused(""));
}

std::string SmallFile() {
  const auto layout = MakeSafetensorsLayout(
      {{"w", DType::kF32, {2, 2}}, {"e", DType::kF16, {0}}, {"s", DType::kBF16, {}}},
      {{"format", "pt"}});
  std::string file = layout->header;
  file.resize(static_cast<size_t>(layout->file_size), '\x3c');
  return file;
}

TEST(SafetensorsTest, RefusesEveryTruncation) {
  const std::string file = SmallFile();
  ASSERT_THAT(Parse(file), IsOk());
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_THAT(Parse(file.substr(0, size)), Refused("x.safetensors")) << size;
  }
  EXPECT_THAT(Parse(file + "x"), Refused("the last tensor ends"));
}

TEST(SafetensorsTest, AFlippedHeaderBitIsRefusedOrStaysInBounds) {
  const std::string good = SmallFile();
  const auto reference = Parse(good);
  ASSERT_THAT(reference, IsOk());
  int num_refused = 0;
  for (int64_t bit = 0; bit < 8 * reference->data_begin; ++bit) {
    std::string file = good;
    file[static_cast<size_t>(bit / 8)] ^= static_cast<char>(1 << bit % 8);
    const auto header = Parse(file);
    num_refused += header.ok() ? 0 : 1;
    if (!header.ok()) continue;
    for (const StoredTensor& tensor : header->tensors) {
      EXPECT_LE(header->data_begin, tensor.begin) << bit;
      EXPECT_LE(tensor.begin, tensor.end) << bit;
      EXPECT_LE(tensor.end, static_cast<int64_t>(file.size())) << bit;
    }
  }
  EXPECT_GT(num_refused, 4 * reference->data_begin);
}

TEST(SafetensorsFileTest, HandsOutNamedBytes) {
  const std::string path = ::testing::TempDir() + "/liquid_safetensors_test.safetensors";
  ASSERT_THAT(
      WriteFileAtomically(path, FileOf("{\"b\":{" + Tensor("\"F32\"", "[1]", "[0,4]") +
                                           "},\"a\":{" + Tensor("\"U8\"", "[4]", "[4,8]") + "}}",
                                       "12345678")),
      IsOk());
  const auto opened = SafetensorsFile::Open(path);
  ASSERT_THAT(opened, IsOk());
  const StoredTensor* a = opened->Find("a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(std::memcmp(opened->bytes(*a).data(), "5678", 4), 0);
  EXPECT_EQ(opened->Find(""), nullptr);
  EXPECT_EQ(opened->Find("aa"), nullptr);
  EXPECT_EQ(opened->Find("c"), nullptr);
  EXPECT_THAT(SafetensorsFile::Open(path + ".absent"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr(".absent")));
  fs::remove(path);
}

// Files whose names say what is wrong with them; each must be refused.
TEST(SafetensorsFileTest, RefusesTheHostileCorpus) {
  int num_files = 0;
  for (const auto& entry : fs::directory_iterator("tests/checkpoint/hostile")) {
    EXPECT_THAT(SafetensorsFile::Open(entry.path().string()),
                Refused("not a sound safetensors file"))
        << entry.path();
    ++num_files;
  }
  EXPECT_GE(num_files, 12);
}

// Lays out what is in `file` again, and compares with the header that is there.
void ExpectSameHeader(const SafetensorsFile& file) {
  std::vector<TensorSpec> specs;
  for (const StoredTensor& tensor : file.tensors()) specs.push_back(tensor.spec);
  const auto layout = MakeSafetensorsLayout(specs, file.metadata());
  ASSERT_THAT(layout, IsOk());
  const auto* bytes = reinterpret_cast<const char*>(file.header_bytes().data());
  EXPECT_EQ(layout->header, std::string(bytes, file.header_bytes().size())) << file.path();
}

// The golden models were written by the reference implementation.
TEST(SafetensorsFileTest, LaysOutFilesAsTheReferenceWriterDoes) {
  for (const char* model : {"llama_tied", "qwen3"}) {
    const auto file =
        SafetensorsFile::Open(std::string("tests/model/golden/") + model + "/model.safetensors");
    ASSERT_THAT(file, IsOk());
    ExpectSameHeader(*file);
  }
}

TEST(SafetensorsFileTest, OpensEveryGoldenModel) {
  const char* shared = std::getenv("LIQUID_SHARED");
  const std::string models =
      std::string(shared == nullptr ? "../shared" : shared) + "/golden/models";
  if (!fs::exists(models)) GTEST_SKIP() << "no " << models << " (set LIQUID_SHARED)";
  for (const auto& entry : fs::recursive_directory_iterator(models)) {
    if (entry.path().extension() != ".safetensors") continue;
    const auto file = SafetensorsFile::Open(entry.path().string());
    EXPECT_THAT(file, IsOk());
    if (!file.ok()) continue;
    EXPECT_GT(file->tensors().size(), 0);
    ExpectSameHeader(*file);
  }
}

}  // namespace
}  // namespace liquid
