// Which element of a 16x16, 16x8 or 8x16 tile a lane holds in its i-th place, as the PTX ISA
// documents it for mma.m16n8k16.
#ifndef LIQUID_TESTS_EMULATED_CUDA_MATRIX_LAYOUT_H_
#define LIQUID_TESTS_EMULATED_CUDA_MATRIX_LAYOUT_H_

namespace liquid::emulated {

constexpr int RowOfA(int lane, int i) { return lane / 4 + i / 2 % 2 * 8; }
constexpr int ColumnOfA(int lane, int i) { return lane % 4 * 2 + i % 2 + i / 4 * 8; }
constexpr int RowOfB(int lane, int i) { return lane % 4 * 2 + i % 2 + i / 2 % 2 * 8; }
constexpr int ColumnOfB(int lane) { return lane / 4; }
constexpr int RowOfD(int lane, int i) { return lane / 4 + i / 2 * 8; }
constexpr int ColumnOfD(int lane, int i) { return lane % 4 * 2 + i % 2; }

}  // namespace liquid::emulated

#endif  // LIQUID_TESTS_EMULATED_CUDA_MATRIX_LAYOUT_H_
