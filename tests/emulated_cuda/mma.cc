// The product of two tiles by a warp's tensor core.
#include <bit>

#include "tests/emulated_cuda/kernel_interface.h"
#include "tests/emulated_cuda/matrix_layout.h"

namespace liquid::emulated {
namespace {

// The lower or upper bf16 of a register.
float Half(unsigned pair, int which) {
  return std::bit_cast<float>(which == 0 ? pair << 16 : pair & 0xffff0000u);
}

}  // namespace

// Sums in the order of the columns of a, in float. A tensor core's order and width are not known.
void ResolveMma(void* const* payloads, uint32_t mask) {
  if (mask != 0xffffffffu) Fault("mma needs all lanes of the warp");
  float a[16][16];
  float b[16][8];
  float d[16][8] = {};
  for (int lane = 0; lane < 32; ++lane) {
    const Mma& mma = *static_cast<const Mma*>(payloads[lane]);
    for (int i = 0; i < 8; ++i) a[RowOfA(lane, i)][ColumnOfA(lane, i)] = Half(mma.a[i / 2], i % 2);
    for (int i = 0; i < 4; ++i) b[RowOfB(lane, i)][ColumnOfB(lane)] = Half(mma.b[i / 2], i % 2);
  }
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < 16; ++k) {
      for (int column = 0; column < 8; ++column) d[row][column] += a[row][k] * b[k][column];
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const Mma& mma = *static_cast<const Mma*>(payloads[lane]);
    for (int i = 0; i < 4; ++i) mma.d[i] += d[RowOfD(lane, i)][ColumnOfD(lane, i)];
  }
}

}  // namespace liquid::emulated
