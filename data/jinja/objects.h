// The objects that templates meet: namespaces, loops, functions, methods.
#ifndef LIQUID_DATA_JINJA_OBJECTS_H_
#define LIQUID_DATA_JINJA_OBJECTS_H_

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "data/jinja/render_state.h"
#include "data/jinja/value.h"

namespace liquid::jinja {

// namespace(): the only thing whose attributes can be set. One may hold itself, so whoever makes
// one must Clear() it in the end.
class Namespace final : public Object {
 public:
  std::string_view type_name() const override { return "Namespace"; }
  std::optional<Value> Attribute(std::string_view name) const override;
  void Set(const std::string& name, Value value) { attributes_[name] = std::move(value); }
  void Clear() { attributes_.clear(); }

 private:
  std::map<std::string, Value, std::less<>> attributes_;
};

// `loop`, inside of a for.
class Loop final : public Object {
 public:
  // `recurse`: loop(items) of a recursive loop; may be null.
  using Recurse = std::function<absl::StatusOr<Value>(const Value& items)>;
  Loop(std::vector<Value> items, int level, Recurse recurse);

  std::string_view type_name() const override { return "LoopContext"; }
  std::optional<Value> Attribute(std::string_view name) const override;
  bool callable() const override { return recurse_ != nullptr; }
  absl::StatusOr<Value> Call(RenderState& state, const Arguments& arguments) override;
  int depth() const override { return depth_; }

  const std::vector<Value>& items() const { return items_; }
  void MoveTo(size_t index) { index_ = index; }
  // loop.cycle(values...) and loop.changed(values...).
  absl::StatusOr<Value> Cycle(const Arguments& arguments) const;
  Value Changed(const Arguments& arguments);
  // The loop is over: lets go of what `recurse` needs, and of values that may hold this object.
  void Finish() {
    recurse_ = nullptr;
    last_changed_.reset();
  }

 private:
  const std::vector<Value> items_;
  const int level_;  // of recursion, from 0
  Recurse recurse_;
  int depth_ = 1;
  size_t index_ = 0;
  std::optional<std::vector<Value>> last_changed_;
};

// Anything else that can be called: range(), dict(), raise_exception(), a method of a value.
class Function final : public Object {
 public:
  using Body = std::function<absl::StatusOr<Value>(RenderState& state, const Arguments& arguments)>;
  Function(std::string name, Body body, int depth = 0)
      : name_(std::move(name)), body_(std::move(body)), depth_(depth) {}

  std::string_view type_name() const override { return "function"; }
  bool callable() const override { return true; }
  int depth() const override { return depth_; }
  absl::StatusOr<Value> Call(RenderState& state, const Arguments& arguments) override {
    return body_(state, arguments);
  }

 private:
  const std::string name_;
  const Body body_;
  const int depth_;
};

// A method bound to its object, as {{ x.strip }} without a call.
// REQUIRES: HasMethod(object, name).
Value BindMethod(const Value& object, std::string_view name);

// range, dict, raise_exception and strftime_now; nullopt for other names. namespace() is the
// evaluator's, which has to clear what it makes.
std::optional<Value> GlobalFunction(std::string_view name);

}  // namespace liquid::jinja

#endif  // LIQUID_DATA_JINJA_OBJECTS_H_
