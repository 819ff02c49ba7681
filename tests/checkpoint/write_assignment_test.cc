#include "checkpoint/write_assignment.h"

#include <algorithm>
#include <deque>
#include <set>

#include "checkpoint/checksum.h"
#include "checkpoint/reader.h"
#include "checkpoint/verify.h"
#include "gmock/gmock.h"
#include "tests/checkpoint/sample_checkpoint.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::ContentsOf;
using ::liquid::testing::IsOk;
using ::liquid::testing::PartsByRank;
using ::liquid::testing::SampleModel;
using ::liquid::testing::Save;
using ::liquid::testing::SaveOptions;
using ::liquid::testing::StatusIs;
using ::liquid::testing::TemporaryDirectory;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<TensorSpec> Vectors(const std::vector<int64_t>& sizes) {
  std::vector<TensorSpec> specs;
  for (const int64_t size : sizes) {
    specs.push_back({absl::StrCat("t", specs.size()), DType::kU8, {size}});
  }
  return specs;
}

std::vector<HeldPart> WholeParts(const std::vector<TensorSpec>& specs) {
  std::vector<HeldPart> parts;
  for (const TensorSpec& spec : specs) parts.push_back(HoldWhole(spec, nullptr));
  return parts;
}

TEST(WriteAssignmentTest, ReplicasShareAllPiecesEvenly) {
  const auto specs =
      Vectors({10 * kPieceBytes + 1, 3, 0, 4 * kPieceBytes, 2 * kPieceBytes - 1, 7, 7, 7});
  const auto plan = MakeCheckpointPlan(specs, {}, 8 * kPieceBytes);
  ASSERT_THAT(plan, IsOk());
  const auto boxes = PlaceParts(*plan, WholeParts(specs));
  ASSERT_THAT(boxes, IsOk());
  for (const int num_ranks : {1, 2, 3, 8, 20}) {
    const std::vector<std::vector<PlacedBox>> all(static_cast<size_t>(num_ranks), *boxes);
    std::set<std::tuple<int, int, int64_t>> written;
    for (int rank = 0; rank < num_ranks; ++rank) {
      const auto assignment = AssignWrites(*plan, all, rank);
      ASSERT_THAT(assignment, IsOk());
      EXPECT_FALSE(assignment->any_hashed_later);
      int64_t num_bytes = 0;
      for (const PieceWrite& write : assignment->writes) {
        EXPECT_TRUE(write.is_whole);
        EXPECT_TRUE(
            written.insert({write.piece.file, write.piece.tensor, write.piece.index}).second);
        EXPECT_EQ(write.num_bytes(), plan->NumBytes(write.piece));
        num_bytes += write.num_bytes();
      }
      EXPECT_LE(num_bytes, 16 * kPieceBytes / num_ranks + kPieceBytes + 4);
    }
    EXPECT_EQ(written.size(), plan->pieces.size());
  }
}

TEST(WriteAssignmentTest, RefusesBoxesThatOverlapOrLeaveAHole) {
  const std::vector<TensorSpec> specs = {{"t", DType::kF32, {4, 6}}};
  const auto plan = MakeCheckpointPlan(specs, {}, 0);
  const auto assign = [&](std::vector<TensorBox> boxes) {
    std::vector<std::vector<PlacedBox>> by_rank;
    for (const TensorBox& box : boxes) by_rank.push_back({{0, 0, box}});
    return AssignWrites(*plan, by_rank, 0).status();
  };
  EXPECT_THAT(assign({{0, 4, 0, 3}, {0, 4, 3, 6}}), IsOk());
  EXPECT_THAT(assign({{0, 4, 0, 3}, {0, 3, 3, 6}}),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("21 elements of F32 [4,6]")));
  EXPECT_THAT(assign({{0, 4, 0, 4}, {0, 3, 3, 5}, {0, 1, 5, 6}, {3, 4, 5, 6}}),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("overlaps")));
  EXPECT_THAT(PlaceParts(*plan, {HoldWhole({"u", DType::kF32, {4, 6}}, nullptr)}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"u\"")));
  EXPECT_THAT(PlaceParts(*plan, {HoldWhole({"t", DType::kF32, {6, 4}}, nullptr)}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"t\"")));
}

TEST(WriteAssignmentTest, BoxesSurviveAMessage) {
  const std::vector<PlacedBox> boxes = {{1, 2, {3, 4, 5, 6}}, {7, 8, {9, 10, 11, 12}}};
  const auto decoded = DecodeBoxes(EncodeBoxes(boxes));
  ASSERT_EQ(decoded.size(), 2);
  EXPECT_EQ(decoded[1].box, boxes[1].box);
  EXPECT_EQ(decoded[0].tensor, 2);
  EXPECT_THAT(DecodeBoxes(""), IsEmpty());
}

// --- Layouts: tensor-parallel degree x replicas, moments whole or sharded over the replicas.

struct Layout {
  int tensor_parallel = 1;
  int replicas = 1;
  bool sharded_moments = false;
};

// Odd axes are split unevenly; matrices called mlp by columns, others by rows.
TensorBox ShardOf(const TensorSpec& spec, int rank, int size) {
  TensorBox box = WholeBox(spec);
  const bool by_columns = spec.name.find("mlp") != std::string::npos || box.num_rows() == 1;
  const auto cut = [&](int64_t& begin, int64_t& end) {
    const int64_t length = end;
    begin = length * rank / size;
    end = length * (rank + 1) / size;
  };
  if (by_columns) {
    cut(box.column_begin, box.column_end);
  } else {
    cut(box.row_begin, box.row_end);
  }
  return box;
}

// What the ranks of a layout hold, each in memory of its own, filled from `sample` or zero.
class Gang {
 public:
  Gang(const Layout& layout, SampleModel& sample, bool is_filled) {
    for (int rank = 0; rank < layout.tensor_parallel * layout.replicas; ++rank) {
      const int shard = rank % layout.tensor_parallel;
      const int replica = rank / layout.tensor_parallel;
      std::vector<HeldPart>& parts = parts_.emplace_back();
      for (HeldPart whole : sample.WholeParts()) {
        const TensorBox box = ShardOf(whole.spec, shard, layout.tensor_parallel);
        auto& memory = memory_.emplace_back(static_cast<size_t>(box.num_elements() * 4));
        HeldPart part{whole.spec, box, memory.data(), box.num_columns() * 4};
        if (is_filled) Fill(whole, part);
        if (!layout.sharded_moments || !whole.spec.name.starts_with("exp_avg")) {
          parts.push_back(part);
          continue;
        }
        const int64_t begin = box.num_elements() * replica / layout.replicas;
        const int64_t end = box.num_elements() * (replica + 1) / layout.replicas;
        for (HeldPart& held : HoldRange(part, begin, end)) {
          parts.push_back(std::move(held));
        }
      }
    }
  }
  const PartsByRank& parts() const { return parts_; }

 private:
  static void Fill(const HeldPart& whole, const HeldPart& part) {
    for (int64_t row = 0; row < part.box.num_rows(); ++row) {
      const int64_t columns = ExtentOf(part.spec).columns;
      const int64_t from = (part.box.row_begin + row) * columns + part.box.column_begin;
      std::copy_n(whole.data + from * 4, part.row_bytes, part.data + row * part.row_bytes);
    }
  }

  std::deque<std::vector<std::byte>> memory_;
  PartsByRank parts_;
};

std::vector<Layout> Layouts() {
  std::vector<Layout> layouts;
  for (const int tensor_parallel : {1, 2, 4}) {
    for (const int replicas : {1, 2}) {
      for (const bool sharded : {false, true})
        layouts.push_back({tensor_parallel, replicas, sharded});
    }
  }
  return layouts;
}

void ExpectTheSameBytes(const std::vector<Layout>& layouts, int64_t rows, int64_t max_shard_bytes) {
  const TemporaryDirectory root;
  SampleModel sample(3, rows);
  SaveOptions options;
  options.max_shard_bytes = max_shard_bytes;
  const auto reference = Save(root.path() + "/reference", 1, sample, options);
  ASSERT_THAT(reference, IsOk());
  const auto expected = ContentsOf(reference->path);
  for (const Layout& layout : layouts) {
    SCOPED_TRACE(absl::StrCat("tp ", layout.tensor_parallel, " x ", layout.replicas,
                              layout.sharded_moments ? " sharded" : ""));
    const Gang writers(layout, sample, /*is_filled=*/true);
    options.parts = writers.parts();
    const auto committed = Save(root.path() + "/other", 1, sample, options);
    ASSERT_THAT(committed, IsOk());
    EXPECT_TRUE(ContentsOf(committed->path) == expected);
    // Each rank of the layout reads its part of what one rank wrote.
    const Gang readers(layout, sample, /*is_filled=*/false);
    const auto reader = CheckpointReader::Open(reference->path);
    ASSERT_THAT(reader, IsOk());
    for (size_t rank = 0; rank < readers.parts().size(); ++rank) {
      ASSERT_THAT(reader->ReadParts(readers.parts()[rank], 2), IsOk());
      for (size_t i = 0; i < readers.parts()[rank].size(); ++i) {
        const HeldPart& got = readers.parts()[rank][i];
        const HeldPart& wanted = writers.parts()[rank][i];
        for (int64_t row = 0; row < got.box.num_rows(); ++row) {
          const std::byte* const mine = got.data + row * got.row_bytes;
          ASSERT_TRUE(
              std::equal(mine, mine + got.box.num_columns() * 4, wanted.data + row * got.row_bytes))
              << got.spec.name << " row " << row;
        }
      }
    }
  }
}

TEST(WriteAssignmentTest, AnyLayoutWritesAndReadsTheSameBytes) {
  ExpectTheSameBytes(Layouts(), 37, 1000);
}

TEST(WriteAssignmentTest, AnyLayoutWritesAndReadsTensorsOfSeveralPieces) {
  ExpectTheSameBytes({{2, 2, true}}, kPieceBytes / 16 + 1001, 0);
}

}  // namespace
}  // namespace liquid
