#include "model/partition.h"

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace liquid {
namespace {

TensorPart Whole(const Shape& shape, int rank, int size) {
  const int64_t rows = shape.rank() == 0 ? 1 : shape[0];
  return {shape, 0, {{0, rows}}, size, rank == 0};
}

}  // namespace

absl::StatusOr<TensorPart> PartOf(const std::string& name, const Shape& shape,
                                  const Partition& partition, int rank, int size) {
  LIQUID_CHECK(rank >= 0 && rank < size, "tensor rank ", rank, " of ", size);
  if (partition.kind == Partition::Kind::kWhole || partition.kind == Partition::Kind::kPerHead) {
    return Whole(shape, rank, size);
  }
  TensorPart part;
  part.axis = partition.kind == Partition::Kind::kRows ? 0 : shape.rank() - 1;
  const int64_t extent = shape[part.axis];
  const int64_t units = partition.num_units;
  LIQUID_CHECK(extent % (units * partition.sections) == 0, name, ": ", units, " units of ", extent);
  const int64_t width = extent / units / partition.sections;  // of a unit
  int64_t begin = units * rank / size;
  int64_t end = units * (rank + 1) / size;
  if (partition.may_be_shared && units < size && size % units == 0) {
    part.num_holders = static_cast<int>(size / units);
    part.is_first_holder = rank % part.num_holders == 0;
    begin = rank / part.num_holders;
    end = begin + 1;
  } else if (units % size != 0 && !(partition.may_be_uneven && units > size)) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": ", units, " ", partition.unit, " cannot be spread over ", size,
                     " tensor-parallel ranks: ", units, " / ", size, " leaves ", units % size,
                     "; set model.tensor_parallel to a divisor of ", units));
  }
  part.shape = Shape();
  for (int axis = 0; axis < shape.rank(); ++axis) {
    part.shape.Append(axis == part.axis ? (end - begin) * width * partition.sections : shape[axis]);
  }
  for (int64_t section = 0; section < partition.sections; ++section) {
    const int64_t first = section * units * width;
    part.ranges.push_back({first + begin * width, first + end * width});
  }
  return part;
}

void ForEachRun(const Shape& whole, const TensorPart& part,
                absl::FunctionRef<void(int64_t, int64_t, int64_t)> visit) {
  int64_t outer = 1;  // of the axes before the split one
  int64_t inner = 1;  // of those behind it
  for (int axis = 0; axis < whole.rank(); ++axis) {
    if (axis < part.axis) outer *= whole[axis];
    if (axis > part.axis) inner *= whole[axis];
  }
  const int64_t extent = whole.rank() == 0 ? 1 : whole[part.axis];
  if (part.shape == whole) return visit(0, 0, whole.NumElements());
  int64_t done = 0;
  for (int64_t i = 0; i < outer; ++i) {
    for (const auto& [begin, end] : part.ranges) {
      const int64_t count = (end - begin) * inner;
      visit((i * extent + begin) * inner, done, count);
      done += count;
    }
  }
}

}  // namespace liquid
