#include "data/dataset.h"

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <numeric>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "data/dataset_writer.h"
#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int32_t kNone = Dataset::kIgnoredTarget;
constexpr const char* kProvenance =
    R"({"sources":[{"path":"a.jsonl","num_bytes":12,"digest":"000102030405060708090a0b0c0d0e0f"},)"
    R"({"path":"b.jsonl","num_bytes":0,"digest":"00000000000000000000000000000000"}]})";

std::string TestPath(const std::string& name) {
  const std::string folder = absl::StrCat(::testing::TempDir(), "liquid_dataset_test/");
  EXPECT_THAT(MakeDirectories(folder), IsOk());
  return folder + name;
}

Document MakeDocument(std::vector<int32_t> tokens, std::vector<uint8_t> trained,
                      DocumentOrigin origin) {
  return {std::move(tokens), std::move(trained), origin};
}

// Two rows of 8: documents of 3 and 4 tokens; one of 8.
std::vector<PackedRow> ExampleRows() {
  std::vector<PackedRow> rows(2);
  rows[0].Append(MakeDocument({10, 11, 12}, {0, 0, 1}, {0, 1, 0}));
  rows[0].Append(MakeDocument({20, 21, 22, 23}, {1, 1, 0, 1}, {0, 2, 0}));
  rows[1].Append(
      MakeDocument({30, 31, 32, 33, 34, 35, 36, 37}, {0, 0, 0, 0, 1, 1, 1, 1}, {1, 7, 2}));
  return rows;
}

void WriteDataset(const std::string& path, const std::vector<PackedRow>& rows,
                  const std::string& provenance = kProvenance,
                  const std::vector<float>& weights = {}) {
  auto writer =
      DatasetWriter::Create(path, {.sequence_length = 8, .vocab_size = 100, .pad_token = 99});
  ASSERT_THAT(writer, IsOk());
  for (const PackedRow& row : rows) ASSERT_THAT((*writer)->Append(row), IsOk());
  ASSERT_THAT((*writer)->Finish(provenance, weights), IsOk());
}

TEST(DatasetTest, ReadsWhatWasWritten) {
  const std::string path = TestPath("example");
  WriteDataset(path, ExampleRows());
  const auto dataset = Dataset::Open(path);
  ASSERT_THAT(dataset, IsOk());
  EXPECT_EQ(dataset->num_rows(), 2);
  EXPECT_EQ(dataset->sequence_length(), 8);
  EXPECT_EQ(dataset->vocab_size(), 100);
  EXPECT_EQ(dataset->num_documents(), 3);
  EXPECT_EQ(dataset->num_tokens(), 15);
  EXPECT_EQ(dataset->num_target_tokens(), 7);
  EXPECT_EQ(dataset->TargetTokens(0), 3);
  EXPECT_EQ(dataset->TargetTokens(1), 4);
  EXPECT_EQ(dataset->TargetTokens(-1), 0);
  EXPECT_EQ(dataset->Tokens(0), 7);
  const Dataset::Row row = dataset->row(0);
  EXPECT_THAT(row.tokens, ElementsAre(10, 11, 12, 20, 21, 22, 23, 99));
  EXPECT_THAT(row.target_mask, ElementsAre(0, 0, 1, 0, 1, 0, 1, 0));
  ASSERT_EQ(row.documents.size(), 2u);
  EXPECT_EQ(dataset->Describe(row.documents[1]), "a.jsonl:2");
  EXPECT_EQ(dataset->Describe(dataset->row(1).documents[0]), "b.jsonl:7 part 2");
}

struct Filled {
  explicit Filled(const Dataset& dataset, int64_t row)
      : tokens(dataset.sequence_length()),
        targets(tokens.size()),
        positions(tokens.size()),
        document_start(tokens.size()) {
    dataset.FillRow(row, tokens.data(), targets.data(), positions.data(), document_start.data());
  }
  std::vector<int32_t> tokens, targets, positions, document_start;
};

TEST(DatasetTest, FillsWhatTheModelIsGiven) {
  const std::string path = TestPath("fill");
  WriteDataset(path, ExampleRows());
  const auto dataset = Dataset::Open(path);
  ASSERT_THAT(dataset, IsOk());
  const Filled row(*dataset, 0);
  EXPECT_THAT(row.tokens, ElementsAre(10, 11, 12, 20, 21, 22, 23, 99));
  EXPECT_THAT(row.targets, ElementsAre(kNone, 12, kNone, 21, kNone, 23, kNone, kNone));
  EXPECT_THAT(row.positions, ElementsAre(0, 1, 2, 0, 1, 2, 3, 0));
  EXPECT_THAT(row.document_start, ElementsAre(0, 0, 0, 3, 3, 3, 3, 7));
}

// The example's rows, with targets of weights 0.5 (mask 2) and 3 (mask 3) among them.
std::vector<PackedRow> WeightedRows() {
  std::vector<PackedRow> rows = ExampleRows();
  rows[0].target_mask = {0, 0, 2, 0, 1, 0, 3};
  return rows;
}

TEST(DatasetTest, KeepsTheWeightsOfTargets) {
  const std::string path = TestPath("weights");
  WriteDataset(path, WeightedRows(), kProvenance, {0.5F, 3.0F});
  const auto dataset = Dataset::Open(path);
  ASSERT_THAT(dataset, IsOk());
  EXPECT_TRUE(dataset->has_weights());
  EXPECT_THAT(dataset->other_weights(), ElementsAre(0.5F, 3.0F));
  EXPECT_EQ(dataset->Weight(0), 0);
  EXPECT_EQ(dataset->Weight(1), 1);
  EXPECT_EQ(dataset->Weight(2), 0.5F);
  EXPECT_EQ(dataset->Weight(3), 3);
  EXPECT_DEATH(dataset->Weight(4), "mask 4 of 4");
  EXPECT_EQ(dataset->TargetTokens(0), 3);  // a target is one, whatever it weighs
  EXPECT_EQ(dataset->TargetWeight(0), 4.5);
  EXPECT_EQ(dataset->TargetWeight(1), 4);
  EXPECT_EQ(dataset->TargetWeight(-1), 0);
  const Filled row(*dataset, 0);
  EXPECT_THAT(row.targets, ElementsAre(kNone, 12, kNone, 21, kNone, 23, kNone, kNone));
  std::vector<float> weights(8, -1);
  dataset->FillWeights(0, weights.data());
  EXPECT_THAT(weights, ElementsAre(0, 0.5F, 0, 1, 0, 3, 0, 0));
  dataset->FillWeights(-1, weights.data());
  EXPECT_THAT(weights, ::testing::Each(0));
}

TEST(DatasetTest, WithoutWeightsAWeightIsACount) {
  const std::string path = TestPath("no_weights");
  WriteDataset(path, ExampleRows());
  const auto dataset = Dataset::Open(path);
  ASSERT_THAT(dataset, IsOk());
  EXPECT_FALSE(dataset->has_weights());
  EXPECT_EQ(dataset->TargetWeight(1), 4);
}

TEST(DatasetTest, TheDigestIsOfTheWeightsToo) {
  const auto digest = [](const std::vector<float>& weights) {
    WriteDataset(TestPath("digest_weights"), WeightedRows(), kProvenance, weights);
    const auto dataset = Dataset::Open(TestPath("digest_weights"));
    EXPECT_THAT(dataset, IsOk());
    return ToHex(dataset->digest());
  };
  EXPECT_NE(digest({0.5F, 3.0F}), digest({0.5F, 2.0F}));
  EXPECT_NE(digest({0.5F, 3.0F}), digest({3.0F, 0.5F}));
}

TEST(DatasetTest, AnEmptyRowIsPaddingWithoutTargets) {
  const std::string path = TestPath("empty_row");
  WriteDataset(path, ExampleRows());
  const auto dataset = Dataset::Open(path);
  ASSERT_THAT(dataset, IsOk());
  const Filled row(*dataset, -1);
  EXPECT_THAT(row.tokens, ::testing::Each(99));
  EXPECT_THAT(row.targets, ::testing::Each(kNone));
  EXPECT_THAT(row.positions, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_THAT(row.document_start, ::testing::Each(0));
}

// Any sequence of documents: what is filled in has the sum of targets that the index promises, and
// no target lies in another document than its token.
TEST(DatasetTest, TargetsNeverLeaveTheirDocument) {
  std::mt19937 random(5);
  std::vector<PackedRow> rows;
  Packer packer(8, true, [&](const PackedRow& row) {
    rows.push_back(row);
    return absl::OkStatus();
  });
  for (int64_t line = 1; line <= 300; ++line) {
    Document document;
    document.origin = {0, line, 0};
    const size_t size = 1 + random() % 8;
    for (size_t t = 0; t < size; ++t) {
      document.tokens.push_back(static_cast<int32_t>(random() % 99));
      document.trained.push_back(random() % 2 == 0);
    }
    ASSERT_THAT(packer.Add(document), IsOk());
  }
  ASSERT_THAT(packer.Finish(), IsOk());
  const std::string path = TestPath("property");
  WriteDataset(path, rows);
  const auto dataset = Dataset::Open(path);
  ASSERT_THAT(dataset, IsOk());
  int64_t sum = 0;
  for (int64_t r = 0; r < dataset->num_rows(); ++r) {
    const Filled row(*dataset, r);
    int64_t targets = 0;
    for (int t = 0; t < 8; ++t) {
      EXPECT_EQ(row.positions[t], t - row.document_start[t]);
      if (row.targets[t] == kNone) continue;
      ++targets;
      ASSERT_LT(t + 1, 8);
      EXPECT_EQ(row.targets[t], row.tokens[t + 1]);
      EXPECT_EQ(row.document_start[t], row.document_start[t + 1]);
    }
    EXPECT_EQ(targets, dataset->TargetTokens(r));
    sum += targets;
  }
  EXPECT_EQ(sum, dataset->num_target_tokens());
}

TEST(DatasetTest, DigestIsOfWhatIsTrainedOn) {
  const auto digest = [](const std::string& name, const std::vector<PackedRow>& rows,
                         const std::string& provenance) {
    WriteDataset(TestPath(name), rows, provenance);
    const auto dataset = Dataset::Open(TestPath(name));
    EXPECT_THAT(dataset, IsOk());
    return ToHex(dataset->digest());
  };
  std::string elsewhere = kProvenance;
  elsewhere.replace(elsewhere.find("a.jsonl"), 7, "/x/y/zz");
  const std::string original = digest("d1", ExampleRows(), kProvenance);
  EXPECT_EQ(digest("d2", ExampleRows(), kProvenance), original);
  EXPECT_EQ(digest("d3", ExampleRows(), elsewhere), original);
  std::vector<PackedRow> other_token = ExampleRows();
  other_token[1].tokens[3] = 5;
  EXPECT_NE(digest("d4", other_token, kProvenance), original);
  std::vector<PackedRow> other_mask = ExampleRows();
  other_mask[1].target_mask[3] = 1;
  EXPECT_NE(digest("d5", other_mask, kProvenance), original);
  std::vector<PackedRow> other_line = ExampleRows();
  other_line[1].documents[0].origin.line = 8;
  EXPECT_NE(digest("d6", other_line, kProvenance), original);
  // Golden: the format may not change without its version.
  EXPECT_EQ(original, "8f2e1c648e9edb44ae3b2897faadb1da");
}

TEST(DatasetWriterTest, LeavesNothingBehindUnlessFinished) {
  const std::string folder = TestPath("unfinished/");
  ASSERT_THAT(RemoveRecursively(folder), IsOk());
  ASSERT_THAT(MakeDirectories(folder), IsOk());
  {
    auto writer = DatasetWriter::Create(folder + "x", {8, 100, 0});
    ASSERT_THAT(writer, IsOk());
    ASSERT_THAT((*writer)->Append(ExampleRows()[0]), IsOk());
    EXPECT_FALSE(FileExists(folder + "x"));
    EXPECT_EQ(ListDirectory(folder)->size(), 3u);
  }
  EXPECT_THAT(*ListDirectory(folder), ElementsAre());
  WriteDataset(folder + "x", ExampleRows());
  EXPECT_THAT(*ListDirectory(folder), ElementsAre("x"));
}

TEST(DatasetWriterTest, FlushesRowsBeyondItsBuffer) {
  const std::string path = TestPath("large");
  auto writer = DatasetWriter::Create(path, {8, 100, 0});
  ASSERT_THAT(writer, IsOk());
  constexpr int64_t kNumPairs = 20000;  // 2.5 MB of rows
  const std::vector<PackedRow> rows = ExampleRows();
  for (int64_t i = 0; i < kNumPairs; ++i) {
    for (const PackedRow& row : rows) ASSERT_THAT((*writer)->Append(row), IsOk());
  }
  const auto digest = (*writer)->Finish(kProvenance);
  ASSERT_THAT(digest, IsOk());
  const auto dataset = Dataset::Open(path);
  ASSERT_THAT(dataset, IsOk());
  EXPECT_EQ(dataset->digest(), *digest);
  EXPECT_EQ(dataset->num_documents(), 3 * kNumPairs);
  EXPECT_EQ(dataset->row(2 * kNumPairs - 1).tokens[7], 37);
}

std::string SoundBytes() {
  const std::string path = TestPath("sound");
  WriteDataset(path, ExampleRows());
  return *ReadFile(path);
}

absl::Status OpenBytes(const std::string& bytes) {
  const std::string path = TestPath("damaged");
  std::ofstream(path, std::ios::binary) << bytes;  // no fsync: this runs thousands of times
  return Dataset::Open(path).status();
}

TEST(DatasetTest, RefusesTruncationAtEveryOffset) {
  const std::string path = TestPath("truncated");
  WriteDataset(path, ExampleRows());
  ASSERT_THAT(Dataset::Open(path), IsOk());
  for (size_t size = std::filesystem::file_size(path); size-- > 0;) {
    std::filesystem::resize_file(path, size);
    EXPECT_THAT(Dataset::Open(path, Dataset::Verify::kIndexOnly),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("truncated: not a sound dataset")))
        << size;
  }
  EXPECT_THAT(OpenBytes(SoundBytes() + "x"),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("bytes")));
}

TEST(DatasetTest, RefusesFlippedBits) {
  const std::string path = TestPath("flipped");
  WriteDataset(path, ExampleRows());
  const std::string bytes = *ReadFile(path);
  auto file = File::OpenForUpdate(path);
  ASSERT_THAT(file, IsOk());
  for (size_t bit = 0; bit < bytes.size() * 8; bit += 5) {
    const auto at = static_cast<int64_t>(bit / 8);
    const char damaged = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    ASSERT_THAT(file->WriteAt(at, &damaged, 1), IsOk());
    EXPECT_THAT(Dataset::Open(path), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("flipped")))
        << bit;
    ASSERT_THAT(file->WriteAt(at, &bytes[bit / 8], 1), IsOk());
  }
  EXPECT_THAT(Dataset::Open(path), IsOk());
}

// Hostile files have right digests: only the checks of the numbers stand between them and us.
class HostileFile {
 public:
  HostileFile() : bytes_(SoundBytes()) { std::memcpy(&header, bytes_.data(), sizeof(header)); }
  template <typename T>
  T* At(int64_t offset) {
    return reinterpret_cast<T*>(bytes_.data() + offset);
  }
  absl::Status Open() {
    DatasetLayout layout;
    if (ComputeDatasetLayout(header, &layout) &&
        layout.file_bytes == static_cast<int64_t>(bytes_.size())) {
      header.rows_digest = HashBytes(&bytes_[layout.rows], layout.entries - layout.rows);
      header.index_digest = HashBytes(&bytes_[layout.entries], layout.provenance - layout.entries);
      header.provenance_digest =
          HashBytes(&bytes_[layout.provenance], layout.file_bytes - layout.provenance);
    }
    header.header_digest = HashBytes(&header, offsetof(DatasetHeader, header_digest));
    std::memcpy(bytes_.data(), &header, sizeof(header));
    return OpenBytes(bytes_);
  }
  DatasetHeader header;

 private:
  std::string bytes_;
};

TEST(DatasetTest, RefusesHostileHeaders) {
  EXPECT_THAT(HostileFile().Open(), IsOk());
  for (const int64_t value : {int64_t{-1}, int64_t{0}, int64_t{1}, int64_t{3}, int64_t{1} << 40,
                              INT64_MAX / 64, INT64_MAX - 300, INT64_MAX, INT64_MIN}) {
    for (int64_t DatasetHeader::*field :
         {&DatasetHeader::num_rows, &DatasetHeader::num_documents, &DatasetHeader::num_tokens,
          &DatasetHeader::num_targets, &DatasetHeader::num_provenance_bytes}) {
      HostileFile file;
      if (file.header.*field == value) continue;
      file.header.*field = value;
      EXPECT_THAT(file.Open(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("damaged")))
          << value;
    }
  }
  for (const int32_t value : {-1, 0, 1, 2, 7, 9, INT32_MAX, INT32_MIN}) {
    HostileFile length;
    length.header.sequence_length = value;
    EXPECT_THAT(length.Open(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("damaged")));
    HostileFile vocabulary;
    vocabulary.header.vocab_size = value;
    EXPECT_EQ(vocabulary.Open().ok(), value == INT32_MAX) << value;
  }
  HostileFile version;
  version.header.version = 2;
  EXPECT_THAT(version.Open(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("its version is 2")));
}

TEST(DatasetTest, RefusesHostileWeights) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  for (const std::vector<float>& weights : std::vector<std::vector<float>>{
           {nan}, {inf}, {-1}, {1}, {2, 2}, {2, 0, 3}, {1e-42F}, {-0.0F}, {2, -0.0F}}) {
    HostileFile file;
    std::copy(weights.begin(), weights.end(), file.header.weights);
    EXPECT_THAT(file.Open(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("weight")))
        << ::testing::PrintToString(weights);
  }
  HostileFile file;
  std::iota(std::begin(file.header.weights), std::end(file.header.weights), 2.0F);
  EXPECT_THAT(file.Open(), IsOk());
  file.header.reserved[0] = 1;
  EXPECT_THAT(file.Open(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("reserved")));
}

TEST(DatasetTest, RefusesHostileIndexes) {
  DatasetLayout layout;
  ASSERT_TRUE(ComputeDatasetLayout(HostileFile().header, &layout));
  for (int64_t at = layout.entries; at < layout.entries + 32; at += 4) {
    for (const int32_t value : {-1, 2, 3, 5, 9, INT32_MAX, INT32_MIN}) {
      HostileFile file;
      if (*file.At<int32_t>(at) == value) continue;
      *file.At<int32_t>(at) = value;
      EXPECT_THAT(file.Open(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("damaged"))) << at;
    }
  }
  for (int64_t document = 0; document < 3; ++document) {
    for (const auto& [offset, value] : std::vector<std::pair<int64_t, int32_t>>{
             {0, -1}, {0, 4}, {4, 0}, {4, -1}, {4, 9}, {8, 2}, {8, -1}, {12, -1}, {20, -1}}) {
      HostileFile file;
      *file.At<int32_t>(layout.documents + 24 * document + offset) = value;
      EXPECT_THAT(file.Open(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("damaged")))
          << document << " " << offset;
    }
  }
}

TEST(DatasetTest, RefusesHostileRows) {
  DatasetLayout layout;
  ASSERT_TRUE(ComputeDatasetLayout(HostileFile().header, &layout));
  for (const int32_t token : {-1, 100, INT32_MAX, INT32_MIN}) {
    HostileFile file;
    *file.At<int32_t>(layout.rows + 4) = token;
    EXPECT_THAT(file.Open(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("row 0")));
  }
  // A first token, a padding token that are targets; a mask that is neither 0 nor 1; a lost target.
  for (const auto& [t, mask] :
       std::vector<std::pair<int, uint8_t>>{{0, 1}, {3, 1}, {7, 1}, {2, 2}, {2, 0}}) {
    HostileFile file;
    *file.At<uint8_t>(layout.rows + 32 + t) = mask;
    EXPECT_THAT(file.Open(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("row 0"))) << t;
  }
}

TEST(DatasetTest, RefusesHostileProvenance) {
  for (const std::string provenance :
       {"", "[]", "{}", "{\"sources\":3}", "{\"sources\":[]}", "{\"sources\":[{\"path\":\"a\"}]}",
        "{\"sources\":[1,2]}", "\xff",
        "{\"sources\":[{\"path\":1,\"num_bytes\":0,\"digest\":\"\"}]}",
        "{\"sources\":[{\"path\":\"a\",\"num_bytes\":0,\"digest\":\"xyz\"}]}"}) {
    const std::string path = TestPath("provenance");
    WriteDataset(path, ExampleRows(), provenance);
    EXPECT_THAT(Dataset::Open(path), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("sound")))
        << provenance;
  }
}

TEST(DatasetTest, NamesTheFileThatIsMissing) {
  EXPECT_THAT(Dataset::Open(TestPath("absent")),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("absent")));
}

TEST(DatasetDeathTest, RefusesRowsOutsideTheDataset) {
  const std::string path = TestPath("range");
  WriteDataset(path, ExampleRows());
  const auto dataset = Dataset::Open(path);
  ASSERT_THAT(dataset, IsOk());
  EXPECT_DEATH(dataset->row(2), "row 2 of 2");
  EXPECT_DEATH(dataset->TargetTokens(-2), "row -2");
}

}  // namespace
}  // namespace liquid
