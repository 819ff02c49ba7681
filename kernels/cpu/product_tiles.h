// How a matrix product on the CPU is cut, and the memory that follows from it.
#ifndef LIQUID_KERNELS_CPU_PRODUCT_TILES_H_
#define LIQUID_KERNELS_CPU_PRODUCT_TILES_H_

#include <algorithm>
#include <cstdint>

namespace liquid {

// A result of [m,n] is cut into tiles by its shape alone; their sizes were measured
// (bench/results/kernels_cpu_*.md).
struct ProductTiles {
  static constexpr int64_t kTileColumns = 192;
  static constexpr int64_t kTileRows = 256;
  static constexpr int64_t kLeastTiles = 12;  // fewer leave threads idle: divisible by 2, 3, 4
  static constexpr int64_t kLeastTileRows = 96;
  // So was this: with many rows a transposed right operand of floats is faster transposed by us,
  // once, than packed by oneDNN for each tile.
  static constexpr int64_t kLeastRowsToPack = 192;

  ProductTiles(int64_t m, int64_t n) {
    row_tiles = CeilDivide(m, kTileRows);
    column_tiles = CeilDivide(n, kTileColumns);
    const int64_t more = CeilDivide(kLeastTiles, row_tiles * column_tiles);
    row_tiles = std::min(row_tiles * more, std::max(row_tiles, m / kLeastTileRows));
    tile_rows = PartLength(m, row_tiles);
    tile_columns = PartLength(n, column_tiles);
    row_tiles = CeilDivide(m, tile_rows);
    column_tiles = CeilDivide(n, tile_columns);
  }

  // Elements of a tile's sums where they are not the result itself.
  int64_t tile_size() const { return tile_rows * tile_columns; }

  static int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }
  // The length of the parts if `extent` is cut into about `parts` equal ones, in whole vectors.
  static int64_t PartLength(int64_t extent, int64_t parts) {
    return CeilDivide(CeilDivide(extent, parts), 16) * 16;
  }

  int64_t row_tiles;
  int64_t column_tiles;
  int64_t tile_rows;
  int64_t tile_columns;
};

}  // namespace liquid

#endif  // LIQUID_KERNELS_CPU_PRODUCT_TILES_H_
