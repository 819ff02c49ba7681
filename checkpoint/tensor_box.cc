#include "checkpoint/tensor_box.h"

#include <algorithm>

#include "base/check.h"

namespace liquid {

MatrixExtent ExtentOf(const TensorSpec& spec) {
  MatrixExtent extent{1, spec.shape.empty() ? 1 : spec.shape.back()};
  for (size_t axis = 0; axis + 1 < spec.shape.size(); ++axis) extent.rows *= spec.shape[axis];
  return extent;
}

TensorBox WholeBox(const TensorSpec& spec) {
  const MatrixExtent extent = ExtentOf(spec);
  return {0, extent.rows, 0, extent.columns};
}

TensorBox Intersect(const TensorBox& a, const TensorBox& b) {
  const TensorBox box{std::max(a.row_begin, b.row_begin), std::min(a.row_end, b.row_end),
                      std::max(a.column_begin, b.column_begin),
                      std::min(a.column_end, b.column_end)};
  return box.num_rows() > 0 && box.num_columns() > 0 ? box : TensorBox();
}

std::vector<TensorBox> BoxesOfRange(const TensorBox& box, int64_t begin, int64_t end) {
  LIQUID_CHECK(0 <= begin && begin <= end && end <= box.num_elements(), "[", begin, ",", end,
               ") of ", box.num_elements());
  std::vector<TensorBox> boxes;
  const int64_t width = box.num_columns();
  while (begin < end) {
    const int64_t row = begin / width;
    const int64_t column = begin % width;
    // Whole rows together; else what of this row is in the range.
    const int64_t num_rows = column == 0 ? std::max<int64_t>(1, (end - begin) / width) : 1;
    const int64_t stop = std::min(width, column + end - begin);
    boxes.push_back({box.row_begin + row, box.row_begin + row + num_rows, box.column_begin + column,
                     box.column_begin + stop});
    begin += boxes.back().num_elements();
  }
  return boxes;
}

HeldPart HoldWhole(const TensorSpec& spec, void* data) {
  return {spec, WholeBox(spec), static_cast<std::byte*>(data),
          ExtentOf(spec).columns * SizeOf(spec.dtype)};
}

std::vector<HeldPart> HoldRange(const HeldPart& part, int64_t begin, int64_t end) {
  const int64_t element = SizeOf(part.spec.dtype);
  LIQUID_CHECK(part.row_bytes == part.box.num_columns() * element, part.row_bytes);
  std::vector<HeldPart> parts;
  for (const TensorBox& box : BoxesOfRange(part.box, begin, end)) {
    parts.push_back({part.spec, box, part.data + begin * element, part.row_bytes});
    begin += box.num_elements();
  }
  return parts;
}

std::vector<StridedBytes> ClipToBytes(const TensorSpec& spec, const TensorBox& box, int64_t begin,
                                      int64_t end) {
  const int64_t element = SizeOf(spec.dtype);
  const int64_t columns = ExtentOf(spec).columns;
  // Elements, seen from the whole matrix: the range is up to three boxes, each cuts `box` in one.
  std::vector<StridedBytes> clips;
  for (const TensorBox& range :
       BoxesOfRange(WholeBox(spec), begin / element, (end + element - 1) / element)) {
    const TensorBox cut = Intersect(box, range);
    if (cut.num_elements() == 0) continue;
    StridedBytes clip{(cut.row_begin * columns + cut.column_begin) * element,
                      cut.num_columns() * element, cut.num_rows(), columns * element};
    if (clip.run_bytes == clip.stride) {  // whole rows are one run
      clip.run_bytes *= clip.count;
      clip.stride = clip.run_bytes;
      clip.count = 1;
    }
    clips.push_back(clip);
  }
  return clips;
}

std::byte* AddressOf(const HeldPart& part, int64_t offset) {
  const int64_t element = SizeOf(part.spec.dtype);
  const int64_t columns = ExtentOf(part.spec).columns;
  const int64_t index = offset / element;
  const int64_t row = index / columns - part.box.row_begin;
  const int64_t column = index % columns - part.box.column_begin;
  return part.data + row * part.row_bytes + column * element + offset % element;
}

}  // namespace liquid
