// The values of a template: Python's None, bool, int, float, str, list, tuple and dict, Jinja's
// undefined, and objects (namespaces, macros, loops, methods).
//
// Values are cheap to copy. Lists, dicts and texts never change once they are part of an
// expression's result, as in the immutable sandbox that Hugging Face renders chat templates in;
// only namespaces can be assigned to.
#ifndef LIQUID_DATA_JINJA_VALUE_H_
#define LIQUID_DATA_JINJA_VALUE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "data/jinja/text.h"
#include "nlohmann/json.hpp"

namespace liquid::jinja {

class RenderState;
class Value;
struct Arguments;
struct List;
struct Dict;

// What is neither data nor undefined.
class Object {
 public:
  virtual ~Object() = default;
  virtual std::string_view type_name() const = 0;
  virtual std::optional<Value> Attribute(std::string_view name) const;
  virtual bool callable() const { return false; }
  virtual absl::StatusOr<Value> Call(RenderState& state, const Arguments& arguments);
  // Levels of values below this object, for those that nobody else owns.
  virtual int depth() const { return 0; }
};

struct MissingData {
  const std::string* name = nullptr;
};
struct NoneData {};

class Value {
 public:
  Value() = default;  // undefined
  // Undefined, remembering the name that was looked up. `*name` must outlive the value.
  static Value Undefined(const std::string* name) { return Value(MissingData{name}); }
  static Value None() { return Value(NoneData{}); }
  static Value Bool(bool value) { return Value(value); }
  static Value Int(int64_t value) { return Value(value); }
  static Value Float(double value) { return Value(value); }
  static Value Of(Text text) { return Value(std::make_shared<const Text>(std::move(text))); }
  static Value Of(std::string_view literal) { return Of(Text(std::string(literal))); }
  static Value Of(std::shared_ptr<const List> list) { return Value(std::move(list)); }
  static Value Of(std::shared_ptr<const Dict> dict) { return Value(std::move(dict)); }
  static Value Of(std::shared_ptr<Object> object) { return Value(std::move(object)); }

  bool is_undefined() const { return std::holds_alternative<MissingData>(data_); }
  bool is_none() const { return std::holds_alternative<NoneData>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_int() const { return std::holds_alternative<int64_t>(data_); }
  bool is_float() const { return std::holds_alternative<double>(data_); }
  bool is_number() const { return is_bool() || is_int() || is_float(); }
  bool is_text() const { return std::holds_alternative<std::shared_ptr<const Text>>(data_); }
  bool is_list() const { return std::holds_alternative<std::shared_ptr<const List>>(data_); }
  bool is_dict() const { return std::holds_alternative<std::shared_ptr<const Dict>>(data_); }
  bool is_object() const { return std::holds_alternative<std::shared_ptr<Object>>(data_); }
  bool is_integral() const { return is_bool() || is_int(); }

  // Each REQUIRES the kind of the same name.
  const std::string* undefined_name() const { return std::get<MissingData>(data_).name; }
  bool boolean() const { return std::get<bool>(data_); }
  int64_t integer() const { return is_bool() ? boolean() : std::get<int64_t>(data_); }
  double number() const;  // of any is_number()
  const Text& text() const { return *std::get<std::shared_ptr<const Text>>(data_); }
  const std::string& bytes() const { return text().bytes(); }
  const List& list() const { return *std::get<std::shared_ptr<const List>>(data_); }
  const Dict& dict() const { return *std::get<std::shared_ptr<const Dict>>(data_); }
  Object& object() const { return *std::get<std::shared_ptr<Object>>(data_); }

  // Levels of containers below and including this one: 0 for what holds nothing.
  int depth() const;
  // How many values would be printed: shared parts count as often as they are held.
  int64_t num_nodes() const;
  // As Python's bool().
  bool truthy() const;
  // As Python's type(x).__name__, for messages.
  std::string_view type_name() const;
  static std::string_view TypeName(const List& list);

 private:
  template <typename T>
  explicit Value(T data) : data_(std::move(data)) {}

  std::variant<MissingData, NoneData, bool, int64_t, double, std::shared_ptr<const Text>,
               std::shared_ptr<const List>, std::shared_ptr<const Dict>, std::shared_ptr<Object>>
      data_;
};

// Deepest nesting and largest size of containers. They bound the recursion and the time of
// everything that walks a value, however often its parts are shared.
inline constexpr int kMaxValueDepth = 200;
inline constexpr int64_t kMaxValueNodes = 4'000'000;

struct List {
  // What Python would have here: they differ in truth, length, printing and equality. A generator
  // can be walked once; a view is what dict.items() gives.
  enum class Kind { kList, kTuple, kRange, kView, kGenerator };

  Kind kind = Kind::kList;
  std::vector<Value> items;
  Origin origin;  // of the brackets and commas when it is printed
  int depth = 1;  // set by MakeList, as is num_nodes
  int64_t num_nodes = 1;
  mutable size_t num_taken = 0;  // kGenerator: how many items have been walked over
};

// Keys keep the order of insertion, and their origins.
struct Dict {
  std::vector<std::pair<Value, Value>> entries;
  Origin origin;
  int depth = 1;
  int64_t num_nodes = 1;
  absl::flat_hash_map<std::string, size_t> index;  // by HashKey; filled only for larger dicts

  // The value of `key`, or null. Keys are equal as in Python: 1, 1.0 and True are one key.
  const Value* Find(const Value& key) const;
  const Value* Find(std::string_view key) const;
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// InvalidArgument beyond kMaxValueDepth or kMaxValueNodes.
absl::StatusOr<Value> MakeList(std::vector<Value> items, List::Kind kind = List::Kind::kList,
                               Origin origin = {});
// A later entry replaces the value of an earlier one with an equal key. Keys must be hashable.
absl::StatusOr<Value> MakeDict(std::vector<std::pair<Value, Value>> entries, Origin origin = {});

// All texts and containers get `origin`. InvalidArgument for an integer beyond 64 bits and for
// nesting beyond kMaxValueDepth.
absl::StatusOr<Value> FromJson(const nlohmann::ordered_json& json, Origin origin);

// As Python's ==, over kinds.
bool Equal(const Value& a, const Value& b);

}  // namespace liquid::jinja

#endif  // LIQUID_DATA_JINJA_VALUE_H_
