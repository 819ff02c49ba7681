#include "model/spread.h"

#include <utility>

namespace liquid {
namespace {

Shape WithRows(const Shape& shape, int64_t rows) { return {rows, shape.back()}; }

// [N/T,D] of each rank -> [N,D].
SharedTensor AllGather(Pass& pass, const TensorView& x) {
  SharedTensor all = pass.tape.Allocate(WithRows(x.shape, x.NumRows() * pass.tensor.size()));
  pass.tensor.group->AllGatherParts(all.view, x);
  return all;
}

// [N,D] of each rank -> this rank's [N/T,D] of their sum, which is taken in kF32.
SharedTensor ReduceScatter(Pass& pass, const TensorView& x) {
  const Shape part_shape = WithRows(x.shape, x.NumRows() / pass.tensor.size());
  if (x.dtype == DType::kF32) {
    SharedTensor part = pass.tape.Allocate(part_shape);
    pass.tensor.group->ReduceScatterPartsSum(part.view, x);
    return part;
  }
  const SharedTensor wide = pass.tape.AllocateF32(x.shape);
  const SharedTensor wide_part = pass.tape.AllocateF32(part_shape);
  pass.tape.ops().Copy(wide.view, x);
  pass.tensor.group->ReduceScatterPartsSum(wide_part.view, wide.view);
  SharedTensor part = pass.tape.Allocate(part_shape);
  pass.tape.ops().Copy(part.view, wide_part.view);
  return part;
}

// In two halves, so that the order of the sum is fixed.
SharedTensor AllReduce(Pass& pass, const TensorView& x) {
  return AllGather(pass, ReduceScatter(pass, x).view);
}

}  // namespace

Variable Gather(Pass& pass, Variable x) {
  if (pass.tensor.size() == 1) return x;
  Tape& tape = pass.tape;
  const bool is_split = pass.tensor.splits_sequence();
  Variable out = tape.Adopt(is_split ? AllGather(pass, x.view()) : x.value);
  if (!tape.recording()) return out;
  tape.Record([&pass, is_split, to = x.slot, from = out.slot, shape = out.view().shape] {
    const SharedTensor dout = pass.tape.Take(from, shape);
    pass.tape.Give(to, is_split ? ReduceScatter(pass, dout.view) : AllReduce(pass, dout.view));
  });
  return out;
}

Variable SumOverRanks(Pass& pass, Variable x) {
  if (pass.tensor.size() == 1) return x;
  Tape& tape = pass.tape;
  const bool is_split = pass.tensor.splits_sequence();
  Variable out = tape.Adopt(is_split ? ReduceScatter(pass, x.view()) : AllReduce(pass, x.view()));
  if (!tape.recording()) return out;
  tape.Record([&pass, is_split, to = x.slot, from = out.slot, shape = out.view().shape] {
    SharedTensor dout = pass.tape.Take(from, shape);
    if (is_split) dout = AllGather(pass, dout.view);
    pass.tape.Give(to, std::move(dout));
  });
  return out;
}

}  // namespace liquid
