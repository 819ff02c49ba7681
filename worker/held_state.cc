#include "worker/held_state.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace liquid {
namespace {

// Adds what elements [begin, end) of this rank's part of `parameter` are of the whole tensor. They
// lie one after another at `data`.
void Hold(const TensorSpec& spec, const Parameter& parameter, int64_t begin, int64_t end,
          std::byte* data, std::vector<HeldPart>* parts) {
  const TensorPart& part = parameter.part;
  const MatrixExtent whole = ExtentOf(spec);
  const bool by_columns = part.shape.rank() <= 1 || part.axis == part.shape.rank() - 1;
  const int64_t columns =
      by_columns && part.shape.rank() > 0 ? part.shape.back() : whole.columns;  // of the part
  const int64_t rows = by_columns ? whole.rows : part.shape[0];
  const auto bytes = static_cast<int64_t>(SizeOf(spec.dtype));
  for (const TensorBox& box : BoxesOfRange({0, rows, 0, columns}, begin, end)) {
    int64_t place = 0;  // of the range, on the part's axis
    for (const auto& [first, last] : part.ranges) {
      const int64_t behind = place + last - first;
      const TensorBox mine = Intersect(box, by_columns ? TensorBox{0, rows, place, behind}
                                                       : TensorBox{place, behind, 0, columns});
      if (mine.num_elements() > 0) {
        const int64_t element = mine.row_begin * columns + mine.column_begin - begin;
        TensorBox in_whole = mine;
        int64_t* const ends[2][2] = {{&in_whole.row_begin, &in_whole.row_end},
                                     {&in_whole.column_begin, &in_whole.column_end}};
        for (int64_t* const bound : ends[by_columns ? 1 : 0]) *bound += first - place;
        parts->push_back({spec, in_whole, data + element * bytes, columns * bytes});
      }
      place = behind;
    }
  }
}

}  // namespace

HeldState HeldStateOf(const TrainState& state) {
  HeldState held;
  const absl::Span<const Parameter> parameters = state.model.parameters();
  // Of each parameter, in kF32: this rank's slice of it.
  std::vector<std::pair<const char*, TensorView>> kinds = {{"exp_avg", state.exp_avg.view()},
                                                           {"exp_avg_sq", state.exp_avg_sq.view()}};
  if (state.master_weights) kinds.emplace_back("master", state.master_weights.view());
  std::vector<size_t> first_of;  // in held.optimizer, by parameter
  for (const Parameter& parameter : parameters) {
    first_of.push_back(held.optimizer.size());
    if (!parameter.is_saved) continue;
    const TensorSpec spec = SpecOf(parameter);
    held.model.push_back(spec);
    Hold(spec, parameter, 0, parameter.value.NumElements(), state.on_host.At(parameter.value.data),
         &held.parts);
    if (!parameter.trains) continue;
    for (const auto& [kind, slice] : kinds) {
      held.optimizer.push_back({absl::StrCat(kind, ".", spec.name), DType::kF32, spec.shape});
    }
  }
  state.model.layout().ForEachInSlice(
      state.mesh.replica(), [&](int tensor, int64_t begin, int64_t end, int64_t at) {
        for (size_t kind = 0; kind < kinds.size(); ++kind) {
          const TensorView mine = Elements(kinds[kind].second, at, at + end - begin);
          Hold(held.optimizer[first_of[static_cast<size_t>(tensor)] + kind], parameters[tensor],
               begin, end, state.on_host.At(mine.data), &held.parts);
        }
      });
  return held;
}

}  // namespace liquid
