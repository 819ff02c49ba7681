#include "data/packing.h"

#include <numeric>
#include <random>

#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::testing::ElementsAre;

Document MakeDocument(int64_t line, size_t size) {
  Document document;
  document.origin = {0, line, 0};
  document.tokens.resize(size);
  std::iota(document.tokens.begin(), document.tokens.end(), static_cast<int32_t>(line * 1000));
  for (size_t t = 0; t < size; ++t) document.trained.push_back(t % 3 != 1);
  return document;
}

std::vector<PackedRow> Pack(const std::vector<Document>& documents, int length, bool packing) {
  std::vector<PackedRow> rows;
  Packer packer(length, packing, [&](const PackedRow& row) {
    rows.push_back(row);
    return absl::OkStatus();
  });
  for (const Document& document : documents) EXPECT_THAT(packer.Add(document), IsOk());
  EXPECT_THAT(packer.Finish(), IsOk());
  return rows;
}

std::vector<Document> RandomDocuments(uint32_t seed, int count, int max_size) {
  std::mt19937 random(seed);
  std::vector<Document> documents;
  for (int i = 1; i <= count; ++i) {
    documents.push_back(MakeDocument(i, 2 + random() % static_cast<uint32_t>(max_size - 1)));
  }
  return documents;
}

TEST(PackerTest, RowsHoldExactlyTheDocuments) {
  for (const bool packing : {true, false}) {
    const std::vector<Document> documents = RandomDocuments(1, 3000, 64);
    std::vector<bool> seen(documents.size(), false);
    for (const PackedRow& row : Pack(documents, 64, packing)) {
      ASSERT_LE(row.tokens.size(), 64u);
      ASSERT_EQ(row.tokens.size(), row.target_mask.size());
      int32_t begin = 0;
      for (const PackedRow::Piece& piece : row.documents) {
        EXPECT_EQ(piece.begin, begin);
        begin += piece.num_tokens;
        const auto index = static_cast<size_t>(piece.origin.line - 1);
        EXPECT_FALSE(seen[index]);
        seen[index] = true;
        const Document& document = documents[index];
        ASSERT_EQ(static_cast<size_t>(piece.num_tokens), document.tokens.size());
        for (size_t t = 0; t < document.tokens.size(); ++t) {
          EXPECT_EQ(row.tokens[piece.begin + t], document.tokens[t]);
          EXPECT_EQ(row.target_mask[piece.begin + t], t == 0 ? 0 : document.trained[t]);
        }
      }
      EXPECT_EQ(static_cast<size_t>(begin), row.tokens.size());
      if (!packing) {
        EXPECT_EQ(row.documents.size(), 1u);
      }
    }
    EXPECT_THAT(seen, ::testing::Each(true));
  }
}

TEST(PackerTest, UnpackedRowsKeepTheOrder) {
  const std::vector<PackedRow> rows = Pack(RandomDocuments(2, 100, 32), 32, false);
  ASSERT_EQ(rows.size(), 100u);
  for (size_t r = 0; r < rows.size(); ++r) {
    EXPECT_EQ(rows[r].documents[0].origin.line, static_cast<int64_t>(r) + 1);
  }
}

TEST(PackerTest, IsAFunctionOfTheDocumentsAndTheirOrder) {
  const std::vector<Document> documents = RandomDocuments(3, 500, 100);
  const std::vector<PackedRow> once = Pack(documents, 128, true);
  const std::vector<PackedRow> again = Pack(documents, 128, true);
  ASSERT_EQ(once.size(), again.size());
  for (size_t r = 0; r < once.size(); ++r) EXPECT_EQ(once[r].tokens, again[r].tokens);
}

TEST(PackerTest, PrefersTheFullestRowThatFits) {
  // Rows of 10: 6 and 8 open two rows; 2 fits both and goes to the fuller one, 4 fills the other.
  const std::vector<PackedRow> rows = Pack(
      {MakeDocument(1, 6), MakeDocument(2, 8), MakeDocument(3, 2), MakeDocument(4, 4)}, 10, true);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_THAT(rows[0].documents.back().origin.line, 3);
  EXPECT_THAT(rows[1].documents.back().origin.line, 4);
}

TEST(PackerTest, FillsRowsOfShortDocuments) {
  const std::vector<Document> documents = RandomDocuments(4, 5000, 200);
  size_t tokens = 0;
  for (const Document& document : documents) tokens += document.tokens.size();
  const size_t rows = Pack(documents, 512, true).size();
  EXPECT_GT(static_cast<double>(tokens) / static_cast<double>(rows * 512), 0.99);
}

TEST(PackerTest, KeepsNoMoreRowsOpenThanItsLimit) {
  int64_t closed = 0;
  Packer packer(1 << 18, true, [&](const PackedRow&) {
    ++closed;
    return absl::OkStatus();
  });
  ASSERT_EQ(packer.num_open_rows(), 16);
  // Each is more than half a row, so that each needs its own.
  for (int i = 1; i <= 20; ++i) {
    EXPECT_THAT(packer.Add(MakeDocument(i, (1 << 17) + 1)), IsOk());
    EXPECT_EQ(closed, std::max(0, i - 16));
  }
}

TEST(PackerTest, PassesOnTheErrorOfTheReceiver) {
  Packer packer(8, false, [](const PackedRow&) { return absl::ResourceExhaustedError("full"); });
  EXPECT_THAT(packer.Add(MakeDocument(1, 3)),
              testing::StatusIs(absl::StatusCode::kResourceExhausted, "full"));
}

TEST(DocumentTest, FirstTokenIsNoTarget) {
  Document document = MakeDocument(1, 3);
  document.trained = {1, 1, 0};
  EXPECT_EQ(NumTargets(document), 1);
  PackedRow row;
  row.Append(document);
  EXPECT_THAT(row.target_mask, ElementsAre(0, 1, 0));
}

TEST(PackerDeathTest, RefusesADocumentLongerThanARow) {
  Packer packer(8, true, [](const PackedRow&) { return absl::OkStatus(); });
  EXPECT_DEATH(packer.Add(MakeDocument(1, 9)).IgnoreError(), "9 of 8");
}

}  // namespace
}  // namespace liquid
