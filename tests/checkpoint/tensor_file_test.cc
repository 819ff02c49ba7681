#include "checkpoint/tensor_file.h"

#include "gmock/gmock.h"
#include "tests/checkpoint/sample_checkpoint.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::SampleModel;
using ::liquid::testing::Save;
using ::liquid::testing::StatusIs;
using ::liquid::testing::TemporaryDirectory;
using ::testing::HasSubstr;

TEST(TensorFileTest, ReadsAndVerifiesPieces) {
  const TemporaryDirectory root;
  const SampleModel sample(1);
  const auto committed = Save(root.path(), 1, sample);
  ASSERT_THAT(committed, IsOk());
  auto manifest = ReadManifest(committed->path);
  const auto file = TensorFile::Open(committed->path, manifest->tensor_files[0]);
  ASSERT_THAT(file, IsOk());
  for (size_t t = 0; t < file->tensors().size(); ++t) {
    const StoredTensor& tensor = file->tensors()[t];
    if (tensor.num_bytes() == 0) continue;
    const FileRange range = file->RangeOfPiece(static_cast<int>(t), 0);
    EXPECT_EQ(range.begin, tensor.begin);
    EXPECT_EQ(range.end, tensor.end);
    std::string bytes(static_cast<size_t>(tensor.num_bytes()), 'x');
    EXPECT_THAT(file->ReadPiece(static_cast<int>(t), 0, bytes.data()), IsOk());
    EXPECT_EQ(bytes, sample.bytes.at(tensor.spec.name));
    EXPECT_THAT(file->ReadPiece(static_cast<int>(t), 0, nullptr), IsOk());
  }
}

TEST(TensorFileTest, RefusesWhatTheEntryDoesNotSay) {
  const TemporaryDirectory root;
  const auto committed = Save(root.path(), 1, SampleModel(1));
  const auto manifest = ReadManifest(committed->path);
  ManifestTensorFile entry = manifest->tensor_files[0];
  entry.num_bytes += 1;
  EXPECT_THAT(TensorFile::Open(committed->path, entry),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("bytes instead of")));
  entry = manifest->tensor_files[0];
  entry.header.low ^= 1;
  EXPECT_THAT(TensorFile::Open(committed->path, entry),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("the header, are damaged")));
  entry = manifest->tensor_files[0];
  entry.tensors.pop_back();
  EXPECT_THAT(TensorFile::Open(committed->path, entry),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not those of the manifest")));
  entry = manifest->tensor_files[0];
  entry.tensors[0].pieces.push_back({});
  EXPECT_THAT(TensorFile::Open(committed->path, entry),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not those of the manifest")));
}

}  // namespace
}  // namespace liquid
