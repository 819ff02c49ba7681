#include "checkpoint/tensor_box.h"

#include "gmock/gmock.h"

namespace liquid {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const TensorSpec kMatrix{"m", DType::kF32, {2, 3, 5}};  // six rows of five

TEST(TensorBoxTest, AMatrixHasTheLastAxisAsColumns) {
  EXPECT_EQ(WholeBox(kMatrix), (TensorBox{0, 6, 0, 5}));
  EXPECT_EQ(WholeBox({"v", DType::kF32, {7}}), (TensorBox{0, 1, 0, 7}));
  EXPECT_EQ(WholeBox({"s", DType::kF32, {}}), (TensorBox{0, 1, 0, 1}));
  EXPECT_EQ(WholeBox({"n", DType::kF32, {0, 3}}).num_elements(), 0);
}

TEST(TensorBoxTest, ARangeIsTheEndOfARowWholeRowsAndAStart) {
  const TensorBox box{1, 6, 1, 4};  // five rows of three
  EXPECT_THAT(BoxesOfRange(box, 2, 13),
              ElementsAre(TensorBox{1, 2, 3, 4}, TensorBox{2, 5, 1, 4}, TensorBox{5, 6, 1, 2}));
  EXPECT_THAT(BoxesOfRange(box, 4, 5), ElementsAre(TensorBox{2, 3, 2, 3}));
  EXPECT_THAT(BoxesOfRange(box, 0, 15), ElementsAre(box));
  EXPECT_THAT(BoxesOfRange(box, 7, 7), IsEmpty());
}

TEST(TensorBoxTest, ClipsAreTheBytesOfTheBoxInTheRange) {
  // Elements 3..17 of the tensor; columns 1..3 of rows 0..5.
  const auto clips = ClipToBytes(kMatrix, {0, 6, 1, 4}, 12, 72);
  ASSERT_EQ(clips.size(), 3);
  EXPECT_EQ(clips[0].first, 12);  // row 0, column 3
  EXPECT_EQ(clips[0].num_bytes(), 4);
  EXPECT_EQ(clips[1].first, 24);  // rows 1 and 2, from column 1
  EXPECT_EQ(clips[1].run_bytes, 12);
  EXPECT_EQ(clips[1].count, 2);
  EXPECT_EQ(clips[1].stride, 20);
  EXPECT_EQ(clips[2].first, 64);  // row 3, columns 1 and 2
  EXPECT_EQ(clips[2].num_bytes(), 8);
}

TEST(TensorBoxTest, WholeRowsAreOneRun) {
  const auto clips = ClipToBytes(kMatrix, {1, 5, 0, 5}, 0, 120);
  ASSERT_EQ(clips.size(), 1);
  EXPECT_EQ(clips[0].count, 1);
  EXPECT_EQ(clips[0].run_bytes, 80);
  EXPECT_EQ(clips[0].first, 20);
}

TEST(TensorBoxTest, AHeldRangeLiesWhereItsElementsAre) {
  std::byte memory[60];
  const HeldPart part{kMatrix, {1, 6, 1, 4}, memory, 12};
  const auto parts = HoldRange(part, 2, 13);
  ASSERT_EQ(parts.size(), 3);
  EXPECT_EQ(parts[0].data, memory + 8);
  EXPECT_EQ(parts[1].data, memory + 12);
  EXPECT_EQ(parts[2].data, memory + 48);
  // Byte 2 of the element in row 3, column 2.
  EXPECT_EQ(AddressOf(parts[1], (3 * 5 + 2) * 4 + 2), memory + 2 * 12 + 4 + 2);
}

}  // namespace
}  // namespace liquid
