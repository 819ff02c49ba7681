#include "model/tape.h"

#include "base/check.h"

namespace liquid {

Tape::Tape(Ops& ops, TensorPool& pool, absl::Span<const Parameter> parameters,
           const GradientSink* sink)
    : ops_(ops),
      pool_(pool),
      parameters_(parameters),
      sink_(sink),
      dtype_(parameters.empty() ? DType::kF32 : parameters[0].value.dtype),
      recording_(sink != nullptr),
      uses_left_(parameters.size(), 0),
      parameter_gradients_(parameters.size()) {}

SharedTensor Tape::Allocate(DType dtype, const Shape& shape) {
  auto memory = std::make_shared<PooledTensor>(pool_.Allocate(dtype, shape));
  const TensorView view = memory->view();
  return {std::move(memory), view};
}

GradientSlot Tape::NewSlot() {
  if (!recording_) return -1;
  gradients_.emplace_back();
  return static_cast<GradientSlot>(gradients_.size()) - 1;
}

Variable Tape::Overwrite(const Variable& x) {
  if (x.value.HasOneHolder()) return {x.value, NewSlot()};
  return NewVariable(x.view().shape);
}

ConstTensorView Tape::Use(int index) {
  if (!replaying_ && parameters_[index].trains) ++uses_left_[index];
  return parameters_[index].value;
}

std::vector<Variable> Tape::Recomputed(Variable x,
                                       absl::AnyInvocable<std::vector<Variable>(Variable)> block) {
  if (!recording_) return block(std::move(x));
  recording_ = false;
  std::vector<Variable> results = block(x);
  recording_ = true;
  std::vector<GradientSlot> slots;
  for (Variable& result : results) slots.push_back(result.slot = NewSlot());
  Record([this, slots = std::move(slots), x = std::move(x), block = std::move(block)]() mutable {
    recording_ = replaying_ = true;
    const std::vector<Variable> again =
        block(std::move(x));  // its closures are now last on the tape
    recording_ = replaying_ = false;
    for (size_t i = 0; i < slots.size(); ++i) {
      gradients_[again[i].slot] = std::move(gradients_[slots[i]]);
      gradients_[slots[i]] = {};
    }
  });
  return results;
}

SharedTensor Tape::Take(GradientSlot slot, const Shape& shape) {
  SharedTensor gradient = std::move(gradients_[slot]);
  gradients_[slot] = {};
  LIQUID_CHECK(gradient.memory != nullptr, "nothing depends on an output of shape ",
               shape.ToString());
  gradient.view = gradient.view.Reshape(shape);
  return gradient;
}

void Tape::Give(GradientSlot slot, SharedTensor gradient) {
  SharedTensor& sum = gradients_[slot];
  if (sum.memory == nullptr) {
    sum = std::move(gradient);
    return;
  }
  const TensorView added = gradient.view.Reshape(sum.view.shape);
  SharedTensor out = sum.HasOneHolder()        ? sum
                     : gradient.HasOneHolder() ? gradient
                                               : Allocate(sum.view.shape);
  ops_.Add(out.view.Reshape(sum.view.shape), sum.view, added);
  sum = std::move(out);
}

void Tape::Contribute(GradientSlot slot, const Shape& shape, Contribution contribute) {
  SharedTensor& sum = gradients_[slot];
  const bool accumulate = sum.memory != nullptr;
  if (!accumulate) {
    sum = Allocate(shape);
  } else if (!sum.HasOneHolder()) {
    SharedTensor own = Allocate(shape);
    ops_.Copy(own.view, sum.view.Reshape(shape));
    sum = std::move(own);
  }
  contribute(sum.view.Reshape(shape), accumulate);
}

void Tape::ContributeToParameter(int index, Contribution contribute) {
  if (!parameters_[index].trains) return;
  PooledTensor& gradient = parameter_gradients_[index];
  const bool accumulate = static_cast<bool>(gradient);
  if (!accumulate) gradient = pool_.AllocateF32(parameters_[index].part.shape);
  contribute(gradient.view(), accumulate);
  LIQUID_CHECK(uses_left_[index] > 0, parameters_[index].name);
  if (--uses_left_[index] == 0) {
    (*sink_)(index, gradient.view());
    gradient = PooledTensor();
  }
}

void Tape::AddToParameter(int index, Addition add) {
  ContributeToParameter(index, [&](TensorView gradient, bool accumulate) {
    if (!accumulate) ops_.Fill(gradient, 0.0f);
    add(gradient);
  });
}

void Tape::AddToParameterBeside(int index, const Shape& shape, Addition add) {
  if (index >= 0 && parameters_[index].trains) return AddToParameter(index, add);
  const SharedTensor unread = AllocateF32(shape);
  ops_.Fill(unread.view, 0.0f);
  add(unread.view);
}

void Tape::Backward() {
  recording_ = false;
  while (!nodes_.empty()) {
    absl::AnyInvocable<void()> node = std::move(nodes_.back());
    nodes_.pop_back();
    node();
  }
  for (size_t i = 0; i < uses_left_.size(); ++i) {
    LIQUID_CHECK(uses_left_[i] == 0, "no gradient for ", parameters_[i].name);
  }
}

}  // namespace liquid
