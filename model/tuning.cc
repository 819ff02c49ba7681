// What of a decoder is trained: frozen parameters, adapters, noise.
#include <fnmatch.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "model/decoder.h"

namespace liquid {
namespace {

bool Matches(const std::string& pattern, const std::string& name) {
  return fnmatch(pattern.c_str(), name.c_str(), /*flags=*/0) == 0;
}

// The module of a weight: its name without ".weight".
std::string ModuleOf(const std::string& name) { return name.substr(0, name.rfind('.')); }

// "q_proj" of "model.layers.0.self_attn.q_proj".
std::string LastPart(const std::string& module) { return module.substr(module.rfind('.') + 1); }

// As PEFT compares names, the whole one or its last parts, and with patterns.
bool IsTarget(const std::string& target, const std::string& module) {
  return target == "all-linear" || Matches(target, module) || Matches("*." + target, module);
}

std::vector<std::string> Sorted(const std::set<std::string>& names) {
  return {names.begin(), names.end()};
}

// `modules`, all of which have adapters, in the fewest words that mean them and none of `others`.
std::vector<std::string> TargetsOf(const std::set<std::string>& modules,
                                   const std::set<std::string>& others) {
  std::set<std::string> ends;
  for (const std::string& module : modules) ends.insert(LastPart(module));
  const bool is_clear = std::none_of(others.begin(), others.end(), [&](const std::string& other) {
    return ends.contains(LastPart(other));
  });
  return Sorted(is_clear ? ends : modules);
}

}  // namespace

absl::Status Decoder::Tune(const Tuning& tuning) {
  noise_ = tuning.neftune_alpha;
  LIQUID_RETURN_IF_ERROR(Freeze(tuning.freeze));
  if (tuning.adapter.has_value()) LIQUID_RETURN_IF_ERROR(AddAdapters(*tuning.adapter));
  if (std::any_of(parameters_.begin(), parameters_.end(),
                  [](const Parameter& p) { return p.trains; })) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      "training.freeze: its patterns fit every parameter, so that nothing is left to train");
}

absl::Status Decoder::Freeze(absl::Span<const std::string> patterns) {
  for (const std::string& pattern : patterns) {
    bool fits = false;
    for (Parameter& parameter : parameters_) {
      if (!Matches(pattern, parameter.name)) continue;
      parameter.trains = false;
      fits = true;
    }
    if (fits) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "training.freeze: '", pattern, "' fits none of the model's ", parameters_.size(),
        " parameters, such as ", parameters_.front().name, " and ", parameters_.back().name));
  }
  return absl::OkStatus();
}

std::vector<int> Decoder::LinearWeights() const {
  std::vector<int> weights;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const auto index = static_cast<int>(i);
    if (parameters_[i].shape.rank() == 2 && !tables_.contains(index)) weights.push_back(index);
  }
  return weights;
}

absl::Status Decoder::AddAdapters(const AdapterConfig& config) {
  std::set<std::string> modules;
  std::set<std::string> others;
  std::set<std::string> unused(config.target_modules.begin(), config.target_modules.end());
  int64_t most_rank = 0;  // that a change of a target can have
  const std::vector<int> linear = LinearWeights();
  for (Parameter& parameter : parameters_) parameter.trains = parameter.is_saved = false;
  for (const int weight : linear) {
    const std::string module = ModuleOf(parameters_[weight].name);
    bool is_target = false;
    for (const std::string& target : config.target_modules) {
      if (!IsTarget(target, module)) continue;
      is_target = true;
      unused.erase(target);
    }
    (is_target ? modules : others).insert(module);
    if (!is_target) continue;
    const Shape& shape = parameters_[weight].shape;
    most_rank = std::max(most_rank, std::min(shape[0], shape[1]));
    AddAdapter(weight, config.rank);
  }
  if (!unused.empty() || modules.empty()) {
    std::set<std::string> ends;
    for (const auto* names : {&modules, &others}) {
      for (const std::string& module : *names) ends.insert(LastPart(module));
    }
    return absl::InvalidArgumentError(absl::StrCat(
        "adapter.target_modules: '", unused.empty() ? "" : *unused.begin(),
        "' is none of the model's linear layers; they end in ", absl::StrJoin(ends, ", ")));
  }
  if (config.rank > most_rank) {
    return absl::InvalidArgumentError(absl::StrCat("adapter.rank: ", config.rank,
                                                   " is more than the ", most_rank,
                                                   " that any change of these layers can have"));
  }
  adapter_ = config;
  adapter_->target_modules = TargetsOf(modules, others);
  adapters_.scale = static_cast<float>(config.scale());
  adapters_.dropout = static_cast<float>(config.dropout);
  return absl::OkStatus();
}

// Of the two, one is spread as the weight is, and the other is whole on every rank, which has a
// share of its gradient.
void Decoder::AddAdapter(int weight, int64_t rank) {
  const Parameter& base = parameters_[weight];
  const std::string module = ModuleOf(base.name);
  const int64_t inputs = base.shape[is_input_major_ ? 0 : 1];
  const int64_t outputs = base.shape[is_input_major_ ? 1 : 0];
  const Partition::Kind kind = base.partition.kind;
  Partition of_a = base.partition;
  Partition of_b = base.partition;
  if (kind != Partition::Kind::kWhole) {
    const bool by_outputs = (kind == Partition::Kind::kRows) != is_input_major_;
    of_a.kind = Partition::Kind::kColumns;
    of_b.kind = Partition::Kind::kRows;
    (by_outputs ? of_a : of_b) = PerHead();
  }
  Adapters::Pair pair = {};
  pair.a = AddParameter(AdapterNameA(module), {rank, inputs}, of_a);
  pair.b = AddParameter(AdapterNameB(module), {outputs, rank}, of_b);
  pair.stream = static_cast<uint32_t>(adapters_.beside.size()) + 1;
  for (const int index : {pair.a, pair.b}) parameters_[index].is_adapter = true;
  adapters_.beside[weight] = pair;
}

}  // namespace liquid
