#include "data/json_fields.h"

#include <algorithm>
#include <utility>
#include "data/concat.h"

namespace liquid {

JsonFields::JsonFields(const nlohmann::json& value, std::string path)
    : value_(&value), path_(std::move(path)) {
  if (!value.is_object()) {
    status_ = absl::InvalidArgumentError(Concat(path_, ": must be an object"));
  }
}

std::string JsonFields::PathOf(std::string_view key) const {
  return path_.empty() ? std::string(key) : Concat(path_, ".", key);
}

void JsonFields::Fail(std::string_view key, std::string_view what) {
  if (!status_.ok()) return;
  status_ = absl::InvalidArgumentError(Concat(PathOf(key), ": ", what));
}

std::string JsonFields::Type() { return String("type"); }

void JsonFields::RefuseOthersThan(std::initializer_list<std::string_view> known) {
  if (!value_->is_object()) return;
  for (const auto& [key, value] : value_->items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      Fail(key, "this option is not implemented");
    }
  }
}

const nlohmann::json* JsonFields::Find(std::string_view key) const {
  if (!value_->is_object()) return nullptr;
  const auto it = value_->find(key);
  return it == value_->end() || it->is_null() ? nullptr : &*it;
}

std::string JsonFields::String(std::string_view key) {
  if (Find(key) == nullptr) Fail(key, "is missing");
  return String(key, "");
}

std::string JsonFields::String(std::string_view key, std::string_view absent) {
  const nlohmann::json* value = Find(key);
  if (value != nullptr && !value->is_string()) Fail(key, "must be a string");
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string(absent);
}

bool JsonFields::Bool(std::string_view key, bool absent) {
  const nlohmann::json* value = Find(key);
  if (value != nullptr && !value->is_boolean()) Fail(key, "must be true or false");
  return value != nullptr && value->is_boolean() ? value->get<bool>() : absent;
}

int64_t JsonFields::Integer(std::string_view key) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr || !value->is_number_integer()) {
    Fail(key, "must be a whole number");
    return 0;
  }
  if (value->is_number_unsigned() && value->get<uint64_t>() > INT64_MAX) {
    Fail(key, "is too large");
    return 0;
  }
  return value->get<int64_t>();
}

const nlohmann::json* JsonFields::List(std::string_view key) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr || !value->is_array()) {
    Fail(key, "must be a list");
    return nullptr;
  }
  return value;
}

absl::StatusOr<nlohmann::json> ParseJson(std::string_view text, std::string_view path) {
  nlohmann::json value = nlohmann::json::parse(text, nullptr, false);
  if (value.is_discarded()) {
    return absl::InvalidArgumentError(Concat(path, ": is not valid JSON"));
  }
  return value;
}

}  // namespace liquid
