#include "data/message_loss.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "base/status.h"
#include "data/concat.h"

namespace liquid {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::pair<LossOn, std::string_view>, 3> kNames = {
    {{LossOn::kAssistant, "assistant"}, {LossOn::kLast, "last"}, {LossOn::kAll, "all"}}};

// Sums of losses are fixed-point numbers, which weights beyond these would overflow or lose.
constexpr double kLeastWeight = 1e-6;
constexpr double kMostWeight = 1e6;

// What a message says of its loss.
struct OwnLoss {
  std::optional<bool> train;
  std::optional<float> weight;
};

absl::StatusOr<float> ReadWeight(const Json& value) {
  if (!value.is_number()) {
    return absl::InvalidArgumentError(
        Concat("'weight' is ", value.type_name(), ", not a number from 0 on"));
  }
  const auto given = value.get<double>();
  const bool is_possible = given == 0 || (given >= kLeastWeight && given <= kMostWeight);
  if (!is_possible) {
    return absl::InvalidArgumentError(
        Concat("'weight' is ", value.dump(), ", neither 0 nor from 1e-6 to 1e6"));
  }
  return static_cast<float>(given) + 0.0F;  // no negative zero
}

const Json* Find(const Json& message, const char* key) {
  const auto it = message.find(key);
  return it == message.end() || it->is_null() ? nullptr : &*it;
}

// Whether `name` becomes `other` by one letter more or less, or two that change places.
bool IsNearMiss(std::string_view name, std::string_view other) {
  size_t begin = 0;
  while (begin < std::min(name.size(), other.size()) && name[begin] == other[begin]) ++begin;
  name.remove_prefix(begin);
  other.remove_prefix(begin);
  while (!name.empty() && !other.empty() && name.back() == other.back()) {
    name.remove_suffix(1);
    other.remove_suffix(1);
  }
  const bool is_swap =
      name.size() == 2 && other.size() == 2 && name[0] == other[1] && name[1] == other[0];
  return is_swap || name.size() + other.size() == 1;
}

// A misspelled key would have no effect, and nobody would know.
absl::Status RefuseMisspelled(const Json& message) {
  for (const auto& [key, value] : message.items()) {
    for (const std::string_view known : {"train", "weight"}) {
      if (!IsNearMiss(key, known)) continue;
      return absl::InvalidArgumentError(Concat("a message has the key '", key,
                                               "', which means nothing; is '", known, "' meant?"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<OwnLoss> ReadOwnLoss(const Json& message) {
  LIQUID_RETURN_IF_ERROR(RefuseMisspelled(message));
  OwnLoss own;
  if (const Json* train = Find(message, "train")) {
    if (!train->is_boolean()) {
      return absl::InvalidArgumentError(
          Concat("'train' is ", train->type_name(), ", not true or false"));
    }
    own.train = train->get<bool>();
  }
  if (const Json* weight = Find(message, "weight")) {
    LIQUID_ASSIGN_OR_RETURN(own.weight, ReadWeight(*weight));
  }
  if (own.train.has_value() && own.weight.has_value() && *own.train != (*own.weight > 0)) {
    return absl::InvalidArgumentError(Concat("'train' is ", *own.train ? "true" : "false",
                                             ", but 'weight' is ", message["weight"].dump()));
  }
  return own;
}

// The index of the last message of an assistant from `begin` on; -1 without one.
int64_t LastAssistant(const Json& messages, size_t begin) {
  for (size_t i = messages.size(); i-- > begin;) {
    if (IsAssistant(messages[i])) return static_cast<int64_t>(i);
  }
  return -1;
}

absl::StatusOr<MessageLoss> LossOf(const Json& message, bool by_default) {
  LIQUID_ASSIGN_OR_RETURN(const OwnLoss own, ReadOwnLoss(message));
  MessageLoss loss;
  loss.is_asked = own.train.has_value() || own.weight.has_value();
  const float weight = own.weight.value_or(1.0F);
  if (!loss.is_asked) {
    loss.weight = by_default ? 1.0F : 0.0F;
    return loss;
  }
  const bool is_meant = own.train.has_value() || by_default || IsAssistant(message);
  if (weight > 0 && !is_meant) {
    return absl::InvalidArgumentError(
        "it has a 'weight', but is not said by the assistant; give it \"train\": true as well if "
        "it is to be trained");
  }
  loss.weight = own.train.value_or(true) ? weight : 0.0F;
  return loss;
}

}  // namespace

absl::StatusOr<LossOn> ParseLossOn(std::string_view name) {
  for (const auto& [loss_on, loss_on_name] : kNames) {
    if (loss_on_name == name) return loss_on;
  }
  return absl::InvalidArgumentError(
      Concat("data.loss_on: '", name, "' is none of assistant, last, all"));
}

std::string_view LossOnName(LossOn loss_on) { return kNames[static_cast<size_t>(loss_on)].second; }

bool IsLossKey(std::string_view key) { return key == "train" || key == "weight"; }

absl::Status CheckLossKeys(const Json& message) { return ReadOwnLoss(message).status(); }

bool IsAssistant(const Json& message) {
  const auto role = message.find("role");
  return role != message.end() && role->is_string() && (*role == "assistant" || *role == "model");
}

absl::StatusOr<std::vector<MessageLoss>> MessageLosses(const Json& messages, LossOn loss_on,
                                                       size_t num_prompt_messages) {
  if (!messages.is_array()) return absl::InvalidArgumentError("messages must be a list");
  for (size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].is_object()) continue;
    return absl::InvalidArgumentError(Concat("messages[", i, "] must be an object"));
  }
  const int64_t last = LastAssistant(messages, num_prompt_messages);
  std::vector<MessageLoss> losses;
  for (size_t i = 0; i < messages.size(); ++i) {
    bool by_default = true;
    if (loss_on == LossOn::kLast) by_default = static_cast<int64_t>(i) == last;
    if (loss_on == LossOn::kAssistant) {
      by_default = i >= num_prompt_messages && IsAssistant(messages[i]);
    }
    const absl::StatusOr<MessageLoss> loss = LossOf(messages[i], by_default);
    if (!loss.ok()) return Annotate(loss.status(), Concat("messages[", i, "]"));
    losses.push_back(*loss);
  }
  return losses;
}

}  // namespace liquid
