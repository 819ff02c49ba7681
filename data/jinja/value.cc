#include "data/jinja/value.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/status.h"
#include "data/concat.h"

namespace liquid::jinja {
namespace {

constexpr size_t kIndexedDictSize = 8;

// A string that is equal for equal keys; nullopt for what cannot be a key.
std::optional<std::string> HashKey(const Value& key) {
  if (key.is_text()) return Concat("s", key.bytes());
  if (key.is_none()) return "n";
  if (key.is_integral()) return Concat("i", key.integer());
  if (key.is_float()) {
    const double value = key.number();
    if (value == std::floor(value) && std::abs(value) < 1e15) {
      return Concat("i", static_cast<int64_t>(value));
    }
    return Concat("f", absl::Hex(std::hash<double>()(value)));
  }
  if (key.is_list() && key.list().kind == List::Kind::kTuple) {
    std::string out = "t";
    for (const Value& item : key.list().items) {
      const auto part = HashKey(item);
      if (!part) return std::nullopt;
      out += Concat(part->size(), ":", *part);
    }
    return out;
  }
  return std::nullopt;
}

absl::Status TooDeep() {
  return absl::InvalidArgumentError(
      Concat("values nest more than ", kMaxValueDepth, " levels deep"));
}

template <typename Container>
absl::Status CheckLimits(const Container& container) {
  if (container.depth > kMaxValueDepth) return TooDeep();
  if (container.num_nodes > kMaxValueNodes) {
    return absl::InvalidArgumentError(
        Concat("a list or dict holds more than ", kMaxValueNodes, " values"));
  }
  return absl::OkStatus();
}

bool EqualItems(const List& a, const List& b) {
  using Kind = List::Kind;
  if (a.kind != b.kind || a.kind == Kind::kGenerator) return &a == &b;
  return std::equal(a.items.begin(), a.items.end(), b.items.begin(), b.items.end(), Equal);
}

bool EqualEntries(const Dict& a, const Dict& b) {
  if (a.entries.size() != b.entries.size()) return false;
  for (const auto& [key, value] : a.entries) {
    const Value* other = b.Find(key);
    if (other == nullptr || !Equal(value, *other)) return false;
  }
  return true;
}

absl::StatusOr<Value> FromJsonAt(const nlohmann::ordered_json& json, Origin origin, int level) {
  if (level > kMaxValueDepth) return TooDeep();
  if (json.is_null()) return Value::None();
  if (json.is_boolean()) return Value::Bool(json.get<bool>());
  if (json.is_string()) {
    return Value::Of(Text(json.get_ref<const std::string&>(), origin));
  }
  if (json.is_number_float()) return Value::Float(json.get<double>());
  if (json.is_number()) {
    if (json.is_number_unsigned() &&
        json.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return absl::InvalidArgumentError(
          Concat("the integer ", json.get<uint64_t>(), " does not fit into 64 bits"));
    }
    return Value::Int(json.get<int64_t>());
  }
  if (json.is_array()) {
    std::vector<Value> items;
    items.reserve(json.size());
    for (const auto& item : json) {
      LIQUID_ASSIGN_OR_RETURN(Value value, FromJsonAt(item, origin, level + 1));
      items.push_back(std::move(value));
    }
    return MakeList(std::move(items), List::Kind::kList, origin);
  }
  if (!json.is_object()) return absl::InvalidArgumentError("not a JSON value");
  std::vector<std::pair<Value, Value>> entries;
  entries.reserve(json.size());
  for (const auto& [key, item] : json.items()) {
    LIQUID_ASSIGN_OR_RETURN(Value value, FromJsonAt(item, origin, level + 1));
    entries.emplace_back(Value::Of(Text(key, origin)), std::move(value));
  }
  return MakeDict(std::move(entries), origin);
}

}  // namespace

std::optional<Value> Object::Attribute(std::string_view) const { return std::nullopt; }

absl::StatusOr<Value> Object::Call(RenderState&, const Arguments&) {
  return absl::InvalidArgumentError(Concat("'", type_name(), "' object is not callable"));
}

double Value::number() const {
  return is_float() ? std::get<double>(data_) : static_cast<double>(integer());
}

int Value::depth() const {
  if (is_list()) return list().depth;
  if (is_dict()) return dict().depth;
  return is_object() ? object().depth() : 0;
}

int64_t Value::num_nodes() const {
  if (is_list()) return list().num_nodes;
  return is_dict() ? dict().num_nodes : 1;
}

bool Value::truthy() const {
  if (is_undefined() || is_none()) return false;
  if (is_number()) return number() != 0;
  if (is_text()) return !text().empty();
  if (is_list()) return list().kind == List::Kind::kGenerator || !list().items.empty();
  if (is_dict()) return !dict().entries.empty();
  return true;
}

std::string_view Value::type_name() const {
  if (is_undefined()) return "Undefined";
  if (is_none()) return "NoneType";
  if (is_bool()) return "bool";
  if (is_int()) return "int";
  if (is_float()) return "float";
  if (is_text()) return "str";
  if (is_dict()) return "dict";
  if (is_object()) return object().type_name();
  return TypeName(list());
}

std::string_view Value::TypeName(const List& list) {
  switch (list.kind) {
    case List::Kind::kList:
      return "list";
    case List::Kind::kTuple:
      return "tuple";
    case List::Kind::kRange:
      return "range";
    case List::Kind::kView:
      return "dict_view";
    case List::Kind::kGenerator:
      return "generator";
  }
  return "list";
}

const Value* Dict::Find(const Value& key) const {
  if (!index.empty()) {
    const auto hash_key = HashKey(key);
    if (!hash_key) return nullptr;
    const auto it = index.find(*hash_key);
    return it == index.end() ? nullptr : &entries[it->second].second;
  }
  for (const auto& [have, value] : entries) {
    if (Equal(have, key)) return &value;
  }
  return nullptr;
}

const Value* Dict::Find(std::string_view key) const {
  if (!index.empty()) {
    const auto it = index.find(Concat("s", key));
    return it == index.end() ? nullptr : &entries[it->second].second;
  }
  for (const auto& [have, value] : entries) {
    if (have.is_text() && have.bytes() == key) return &value;
  }
  return nullptr;
}

absl::StatusOr<Value> MakeList(std::vector<Value> items, List::Kind kind, Origin origin) {
  auto list = std::make_shared<List>();
  list->kind = kind;
  list->origin = origin;
  for (const Value& item : items) {
    list->depth = std::max(list->depth, item.depth() + 1);
    list->num_nodes += item.num_nodes();
  }
  LIQUID_RETURN_IF_ERROR(CheckLimits(*list));
  list->items = std::move(items);
  return Value::Of(std::shared_ptr<const List>(std::move(list)));
}

absl::StatusOr<Value> MakeDict(std::vector<std::pair<Value, Value>> entries, Origin origin) {
  auto dict = std::make_shared<Dict>();
  dict->origin = origin;
  const bool indexed = entries.size() > kIndexedDictSize;
  for (auto& [key, value] : entries) {
    std::optional<std::string> hash_key = HashKey(key);
    if (!hash_key) {
      return absl::InvalidArgumentError(
          Concat("a value of type ", key.type_name(), " cannot be a key of a dict"));
    }
    dict->depth = std::max({dict->depth, key.depth() + 1, value.depth() + 1});
    dict->num_nodes += key.num_nodes() + value.num_nodes();
    if (const Value* have = dict->Find(key); have != nullptr) {
      // Find() hands out const values; this one is ours and not yet shared.
      const_cast<Value&>(*have) = std::move(value);
      continue;
    }
    if (indexed) dict->index.emplace(*std::move(hash_key), dict->entries.size());
    dict->entries.emplace_back(std::move(key), std::move(value));
  }
  LIQUID_RETURN_IF_ERROR(CheckLimits(*dict));
  return Value::Of(std::shared_ptr<const Dict>(std::move(dict)));
}

absl::StatusOr<Value> FromJson(const nlohmann::ordered_json& json, Origin origin) {
  return FromJsonAt(json, origin, 0);
}

bool Equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) return a.integer() == b.integer();
    return a.number() == b.number();
  }
  if (a.is_text() && b.is_text()) return a.bytes() == b.bytes();
  if (a.is_none() || a.is_undefined()) {
    return a.is_none() ? b.is_none() : b.is_undefined();
  }
  if (a.is_list() && b.is_list()) return EqualItems(a.list(), b.list());
  if (a.is_dict() && b.is_dict()) return EqualEntries(a.dict(), b.dict());
  if (a.is_object() && b.is_object()) return &a.object() == &b.object();
  return false;
}

}  // namespace liquid::jinja
