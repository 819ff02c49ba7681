#include "worker/held_state.h"

#include "absl/strings/str_cat.h"

namespace liquid {

HeldState HeldStateOf(const TrainState& state) {
  HeldState held;
  for (size_t i = 0; i < state.exp_avg.size(); ++i) {
    const Parameter& parameter = state.model.parameters()[i];
    const TensorSpec spec = SpecOf(parameter);
    held.model.push_back(spec);
    held.parts.push_back(HoldWhole(spec, parameter.value.data));
    for (const auto& [prefix, moment] : {std::pair("exp_avg.", &state.exp_avg[i]),
                                         std::pair("exp_avg_sq.", &state.exp_avg_sq[i])}) {
      held.optimizer.push_back({absl::StrCat(prefix, spec.name), DType::kF32, spec.shape});
      held.parts.push_back(HoldWhole(held.optimizer.back(), moment->view().data));
    }
  }
  return held;
}

}  // namespace liquid
