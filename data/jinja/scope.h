// The variables of a template while it runs.
#ifndef LIQUID_DATA_JINJA_SCOPE_H_
#define LIQUID_DATA_JINJA_SCOPE_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "data/jinja/value.h"

namespace liquid::jinja {

// Variables by symbol. A loop's iteration, a macro's call and some blocks have a scope of their
// own; what is set there is gone at its end. Shared because macros keep the scope they were
// defined in.
class Scope {
 public:
  explicit Scope(std::shared_ptr<Scope> parent) : parent_(std::move(parent)) {}
  // The outermost one, which has a place ready for each of `num_symbols`.
  explicit Scope(size_t num_symbols) : places_(num_symbols) {}

  // From here or further out; null if there is none.
  const Value* Find(int symbol) const {
    const Scope* scope = this;
    for (; scope->parent_ != nullptr; scope = scope->parent_.get()) {
      for (const auto& [name, value] : scope->variables_) {
        if (name == symbol) return &value;
      }
    }
    const auto& place = scope->places_[static_cast<size_t>(symbol)];
    return place.has_value() ? &*place : nullptr;
  }

  // Here, whatever there is further out.
  void Set(int symbol, Value value) {
    if (parent_ == nullptr) {
      places_[static_cast<size_t>(symbol)] = std::move(value);
      return;
    }
    for (auto& [name, have] : variables_) {
      if (name == symbol) {
        have = std::move(value);
        return;
      }
    }
    variables_.emplace_back(symbol, std::move(value));
  }

  void Clear() {
    variables_.clear();
    places_.clear();
  }

 private:
  const std::shared_ptr<Scope> parent_;  // null: the outermost
  absl::InlinedVector<std::pair<int, Value>, 4> variables_;
  std::vector<std::optional<Value>> places_;  // of the outermost, by symbol
};

}  // namespace liquid::jinja

#endif  // LIQUID_DATA_JINJA_SCOPE_H_
