// Rectangles of tensors: how a rank says which elements it holds, whatever the layout of ranks.
#ifndef LIQUID_CHECKPOINT_TENSOR_BOX_H_
#define LIQUID_CHECKPOINT_TENSOR_BOX_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "checkpoint/safetensors.h"

namespace liquid {

// A tensor as a matrix: columns are its last axis, rows all others together; a tensor of one axis
// is one row, a scalar one element.
struct MatrixExtent {
  int64_t rows = 0;
  int64_t columns = 0;
};
MatrixExtent ExtentOf(const TensorSpec& spec);

// Elements [row_begin, row_end) x [column_begin, column_end) of that matrix.
struct TensorBox {
  int64_t row_begin = 0;
  int64_t row_end = 0;
  int64_t column_begin = 0;
  int64_t column_end = 0;

  int64_t num_rows() const { return row_end - row_begin; }
  int64_t num_columns() const { return column_end - column_begin; }
  int64_t num_elements() const { return num_rows() * num_columns(); }
  friend bool operator==(const TensorBox&, const TensorBox&) = default;
};
TensorBox WholeBox(const TensorSpec& spec);
TensorBox Intersect(const TensorBox& a, const TensorBox& b);  // no elements: {}

// Elements [begin, end) of the box, counted row by row: up to three boxes (the end of a row, whole
// rows, the start of one), in order. A shard of a flattened tensor is such a range.
std::vector<TensorBox> BoxesOfRange(const TensorBox& box, int64_t begin, int64_t end);

// A box in this rank's memory: row i of it is at data + i * row_bytes, its elements one after
// another. The memory is the caller's.
struct HeldPart {
  TensorSpec spec;  // of the whole tensor, as it is in the files
  TensorBox box;
  std::byte* data = nullptr;
  int64_t row_bytes = 0;
};
HeldPart HoldWhole(const TensorSpec& spec, void* data);  // contiguous
// Elements [begin, end) of `part`, which is contiguous (row_bytes is that of its columns), where
// they lie in it: what a rank holds of a flattened, sharded tensor.
std::vector<HeldPart> HoldRange(const HeldPart& part, int64_t begin, int64_t end);

// Bytes of a tensor at regular distances: `count` runs of `run_bytes`, the first at byte `first` of
// the tensor, each `stride` bytes after the one before.
struct StridedBytes {
  int64_t first = 0;
  int64_t run_bytes = 0;
  int64_t count = 0;
  int64_t stride = 0;

  int64_t num_bytes() const { return run_bytes * count; }
};

// The bytes of `box` among bytes [begin, end) of the tensor: up to three runs of runs, in order.
std::vector<StridedBytes> ClipToBytes(const TensorSpec& spec, const TensorBox& box, int64_t begin,
                                      int64_t end);

// Where byte `offset` of the tensor, which is in the part's box, lies in memory.
std::byte* AddressOf(const HeldPart& part, int64_t offset);

}  // namespace liquid

#endif  // LIQUID_CHECKPOINT_TENSOR_BOX_H_
