#include "checkpoint/plan.h"

#include "absl/strings/str_cat.h"
#include "checkpoint/checksum.h"
#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<TensorSpec> Bytes(const std::vector<int64_t>& sizes) {
  std::vector<TensorSpec> specs;
  for (const int64_t size : sizes) {
    specs.push_back({absl::StrCat("t", specs.size()), DType::kU8, {size}});
  }
  return specs;
}

std::vector<std::vector<std::string>> Contents(const CheckpointPlan& plan) {
  std::vector<std::vector<std::string>> contents;
  for (const PlannedFile& file : plan.files) {
    contents.emplace_back();
    for (const StoredTensor& tensor : file.layout.tensors)
      contents.back().push_back(tensor.spec.name);
  }
  return contents;
}

TEST(CheckpointPlanTest, FillsFilesInOrder) {
  EXPECT_THAT(Contents(*MakeCheckpointPlan(Bytes({5, 5, 1, 20, 3, 7}), {}, 10)),
              ElementsAre(ElementsAre("t0", "t1"), ElementsAre("t2"), ElementsAre("t3"),
                          ElementsAre("t4", "t5")));
  EXPECT_THAT(Contents(*MakeCheckpointPlan(Bytes({5, 5}), {}, 0)),
              ElementsAre(ElementsAre("t0", "t1")));
  EXPECT_THAT(Contents(*MakeCheckpointPlan(Bytes({5, 0, 5}), {}, 1)),
              ElementsAre(ElementsAre("t0"), ElementsAre("t1"), ElementsAre("t2")));
}

TEST(CheckpointPlanTest, NamesFilesAsTransformersDoes) {
  const auto plan = MakeCheckpointPlan(Bytes({5, 5}), {{"m", DType::kF32, {1}}}, 5);
  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(plan->files[0].name, "model-00001-of-00002.safetensors");
  EXPECT_EQ(plan->files[1].name, "model-00002-of-00002.safetensors");
  EXPECT_EQ(plan->files[2].name, "optimizer.safetensors");
  EXPECT_EQ(plan->num_model_files, 2);
}

TEST(CheckpointPlanTest, PiecesCoverATensor) {
  const auto plan = MakeCheckpointPlan(Bytes({2 * kPieceBytes + 7}), {}, 0);
  int64_t end = 0;
  for (const Piece& piece : plan->pieces) {
    EXPECT_EQ(plan->FirstByte(piece), end);
    end += plan->NumBytes(piece);
  }
  EXPECT_EQ(end, 2 * kPieceBytes + 7);
}

TEST(CheckpointPlanTest, RefusesANameInBothParts) {
  EXPECT_THAT(MakeCheckpointPlan(Bytes({1}), Bytes({1}), 0),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("two tensors \"t0\"")));
}

}  // namespace
}  // namespace liquid
