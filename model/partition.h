// How a parameter is spread over the tensor-parallel ranks of a replica.
#ifndef LIQUID_MODEL_PARTITION_H_
#define LIQUID_MODEL_PARTITION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "tensor/tensor.h"

namespace liquid {

// A property of the parameter, which the verbs of model/layers.h act on; a model's forward knows
// nothing of ranks. Source: Shoeybi et al. 2019, arXiv:1909.08053, section 3.
struct Partition {
  enum class Kind {
    kWhole,    // every rank holds all of it, for the residual stream
    kPerHead,  // every rank holds all of it, for its own heads
    kRows,     // by axis 0: outputs of a [O,I] weight, rows of a table, elements of a bias
    kColumns,  // by the last axis: inputs of a [O,I] weight
  };
  Kind kind = Kind::kWhole;
  // What the axis consists of. Each rank has as many of them as any other.
  const char* unit = "";
  int64_t num_units = 0;
  // Equal stretches of the axis, each of which is spread by itself: 3 for GPT-2's q, k, v in one.
  int64_t sections = 1;
  bool may_be_uneven = false;  // a vocabulary: shares may differ by one
  // Key/value heads: if there are fewer than ranks, ranks that follow each other share one.
  bool may_be_shared = false;
};

// What one rank holds of a tensor: some ranges of one axis, in order, as one tensor.
struct TensorPart {
  struct Range {
    int64_t begin;
    int64_t end;
  };
  Shape shape;
  int axis = 0;
  std::vector<Range> ranges;    // of `axis`
  int num_holders = 1;          // ranks that hold this very part, next to each other
  bool is_first_holder = true;  // of them, this rank
};

// The part of tensor rank `rank` of `size` of the tensor `name`. InvalidArgument, with the
// arithmetic, if it cannot be spread over so many.
absl::StatusOr<TensorPart> PartOf(const std::string& name, const Shape& shape,
                                  const Partition& partition, int rank, int size);

// Calls `visit` with each run of elements that lie side by side in the whole tensor and in the
// part, in the order of the part.
void ForEachRun(
    const Shape& whole, const TensorPart& part,
    absl::FunctionRef<void(int64_t offset_in_whole, int64_t offset_in_part, int64_t num_elements)>
        visit);

}  // namespace liquid

#endif  // LIQUID_MODEL_PARTITION_H_
