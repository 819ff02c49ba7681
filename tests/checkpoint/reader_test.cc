#include "checkpoint/reader.h"

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
using ::liquid::testing::SampleState;
using ::liquid::testing::Save;
using ::liquid::testing::SaveOptions;
using ::liquid::testing::StatusIs;
using ::liquid::testing::TemporaryDirectory;
using ::liquid::testing::WriteBytes;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;

void FlipBit(const std::string& path, int64_t byte, int bit) {
  absl::StatusOr<File> file = File::OpenForUpdate(path);
  ASSERT_THAT(file, IsOk());
  char value = 0;
  ASSERT_THAT(file->ReadAt(byte, &value, 1), IsOk());
  value = static_cast<char>(value ^ 1 << bit);
  ASSERT_THAT(file->WriteAt(byte, &value, 1), IsOk());
}

// Everything of `sample`, read from `directory`.
absl::Status ReadAll(const std::string& directory, const SampleModel& sample,
                     std::map<std::string, std::string>* out, int num_threads = 2) {
  LIQUID_ASSIGN_OR_RETURN(const CheckpointReader reader, CheckpointReader::Open(directory));
  std::vector<TensorRead> reads;
  for (const auto* specs : {&sample.model, &sample.optimizer}) {
    for (const TensorSpec& spec : *specs) {
      std::string& buffer = (*out)[spec.name];
      buffer.resize(sample.bytes.at(spec.name).size());
      reads.push_back({spec, buffer.data()});
    }
  }
  return reader.Read(reads, num_threads);
}

TEST(CheckpointReaderTest, GivesBackWhatWasWritten) {
  const TemporaryDirectory root;
  const SampleModel sample(1, kPieceBytes / 16 + 3);  // the embedding has two pieces
  SaveOptions options;
  options.num_ranks = 3;
  options.max_shard_bytes = kPieceBytes;
  const auto committed = Save(root.path(), 9, sample, options);
  ASSERT_THAT(committed, IsOk());
  const auto reader = CheckpointReader::Open(committed->path);
  ASSERT_THAT(reader, IsOk());
  EXPECT_EQ(reader->state(), SampleState(sample, 9));
  EXPECT_EQ(reader->manifest_digest(), committed->manifest_digest);
  EXPECT_EQ(reader->Find("exp_avg.model.scale")->spec.shape.size(), 0);
  EXPECT_EQ(reader->Find("lm_head.weight"), nullptr);
  std::map<std::string, std::string> read;
  EXPECT_THAT(ReadAll(committed->path, sample, &read), IsOk());
  EXPECT_TRUE(read == sample.bytes);
}

TEST(CheckpointReaderTest, NamesTensorsThatDisagree) {
  const TemporaryDirectory root;
  const auto committed = Save(root.path(), 1, SampleModel(1));
  const auto reader = CheckpointReader::Open(committed->path);
  ASSERT_THAT(reader, IsOk());
  float out[64];
  EXPECT_THAT(reader->Read({{{"lm_head.weight", DType::kF32, {2}}, out}}, 1),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("\"lm_head.weight\"")));
  EXPECT_THAT(reader->Read({{{"model.scale", DType::kF32, {1}}, out}}, 1),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is F32 [], not F32 [1]")));
  EXPECT_THAT(reader->Read({{{"model.scale", DType::kI32, {}}, out}}, 1),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is F32 [], not I32 []")));
}

TEST(CheckpointReaderTest, EveryFlippedBitIsFound) {
  const TemporaryDirectory root;
  const SampleModel sample(1);
  const auto committed = Save(root.path(), 1, sample);
  ASSERT_THAT(committed, IsOk());
  for (const char* name : {"manifest.json", "model.safetensors", "optimizer.safetensors"}) {
    const std::string path = committed->path + "/" + name;
    const auto size = static_cast<int64_t>(fs::file_size(path));
    for (int64_t byte = 0; byte < size; ++byte) {
      const int bit = static_cast<int>(byte % 8);
      FlipBit(path, byte, bit);
      std::map<std::string, std::string> read;
      const absl::Status status = ReadAll(committed->path, sample, &read, 1);
      EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss, HasSubstr(name))) << byte;
      FlipBit(path, byte, bit);
    }
  }
  std::map<std::string, std::string> read;
  EXPECT_THAT(ReadAll(committed->path, sample, &read, 1), IsOk());
}

TEST(CheckpointReaderTest, EveryTruncationIsFound) {
  const TemporaryDirectory root;
  const SampleModel sample(1);
  const auto committed = Save(root.path(), 1, sample);
  for (const char* name : {"manifest.json", "optimizer.safetensors", "model.safetensors"}) {
    const std::string path = committed->path + "/" + name;
    const std::string content = *ReadFile(path);
    for (size_t size = 0; size < content.size(); size += 7) {
      fs::resize_file(path, size);
      std::map<std::string, std::string> read;
      EXPECT_THAT(ReadAll(committed->path, sample, &read, 1),
                  StatusIs(absl::StatusCode::kDataLoss, HasSubstr(name)));
      WriteBytes(path, content);
    }
    fs::remove(path);
    EXPECT_THAT(CheckpointReader::Open(committed->path),
                StatusIs(absl::StatusCode::kNotFound, HasSubstr(name)));
    WriteBytes(path, content);
  }
}

TEST(CheckpointReaderTest, NamesTensorAndRangeOfADamagedPiece) {
  const TemporaryDirectory root;
  const SampleModel sample(1, kPieceBytes / 16 + 3);
  const auto committed = Save(root.path(), 1, sample);
  const std::string path = committed->path + "/model.safetensors";
  const auto file = SafetensorsFile::Open(path);
  const StoredTensor* tensor = file->Find("model.embed_tokens.weight");
  FlipBit(path, tensor->begin + kPieceBytes + 5, 3);
  std::map<std::string, std::string> read;
  EXPECT_THAT(ReadAll(committed->path, sample, &read),
              StatusIs(absl::StatusCode::kDataLoss,
                       AllOf(HasSubstr(path), HasSubstr("tensor \"model.embed_tokens.weight\""),
                             HasSubstr(absl::StrCat("bytes [", tensor->begin + kPieceBytes, ",",
                                                    tensor->end, ")")))));
}

TEST(CheckpointReaderTest, RefusesHeadersThatDisagreeWithTheManifest) {
  const TemporaryDirectory root;
  const SampleModel sample(1);
  const auto committed = Save(root.path(), 1, sample);
  // A manifest whose checksums all fit, but which lists the tensors in another order.
  auto manifest = ReadManifest(committed->path);
  ASSERT_THAT(manifest, IsOk());
  auto& file = manifest->tensor_files[0];
  std::swap(file.tensors[0], file.tensors[1]);
  file.checksum = TensorFileChecksum(file);
  WriteBytes(committed->path + "/manifest.json", WriteManifest(*manifest));
  EXPECT_THAT(CheckpointReader::Open(committed->path),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not those of the manifest")));
}

}  // namespace
}  // namespace liquid
