// Reading of a config.json, as the families share it.
#ifndef LIQUID_MODEL_CONFIG_READER_H_
#define LIQUID_MODEL_CONFIG_READER_H_

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "model/model_config.h"
#include "nlohmann/json.hpp"

namespace liquid {

// The keys of one JSON object. A key that is null counts as absent. The first error is kept; what
// is read after it is of no use.
class ConfigReader {
 public:
  ConfigReader(const nlohmann::json& object, std::string path)
      : object_(object), path_(std::move(path)) {}

  const absl::Status& status() const { return status_; }
  const std::string& path() const { return path_; }
  const nlohmann::json& object() const { return object_; }

  // Null if absent.
  const nlohmann::json* Find(const std::string& key) const {
    const auto it = object_.find(key);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }
  bool Has(const std::string& key) const { return Find(key) != nullptr; }

  int64_t Integer(const std::string& key, int64_t fallback, int64_t min, int64_t max) {
    const nlohmann::json* value = Find(key);
    if (value == nullptr) return fallback;
    if (!value->is_number_integer()) return Fail(key, "must be an integer", fallback);
    const bool too_large =
        value->is_number_unsigned() &&
        value->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    if (too_large || value->get<int64_t>() < min || value->get<int64_t>() > max) {
      return Fail(key, absl::StrCat("is ", value->dump(), ", must be ", min, " to ", max),
                  fallback);
    }
    return value->get<int64_t>();
  }

  // In (0, max].
  double Positive(const std::string& key, double fallback, double max) {
    const nlohmann::json* value = Find(key);
    if (value == nullptr) return fallback;
    if (!value->is_number()) return Fail(key, "must be a number", fallback);
    const double number = value->get<double>();
    if (!(number > 0 && number <= max)) {
      return Fail(key, absl::StrCat("is ", number, ", must be above 0 and at most ", max),
                  fallback);
    }
    return number;
  }

  bool Bool(const std::string& key, bool fallback) {
    const nlohmann::json* value = Find(key);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) return Fail(key, "must be true or false", fallback);
    return value->get<bool>();
  }

  std::string String(const std::string& key, const std::string& fallback) {
    const nlohmann::json* value = Find(key);
    if (value == nullptr) return fallback;
    if (!value->is_string()) return Fail(key, "must be a string", fallback);
    return value->get<std::string>();
  }

  template <typename T>
  T Fail(const std::string& key, const std::string& problem, T fallback) {
    if (status_.ok()) {
      status_ = absl::InvalidArgumentError(absl::StrCat(path_, ": ", key, " ", problem));
    }
    return fallback;
  }

 private:
  const nlohmann::json& object_;
  std::string path_;
  absl::Status status_;
};

// Sizes beyond these are typing errors or attacks, and would overflow products of them.
inline constexpr int64_t kMaxVocab = int64_t{1} << 24;
inline constexpr int64_t kMaxWidth = int64_t{1} << 20;
inline constexpr int64_t kMaxLayers = 1024;
inline constexpr int64_t kMaxHeads = 4096;
inline constexpr int64_t kMaxPositions = int64_t{1} << 26;

// eos_token_id, if there is one. A problem here and below is the reader's.
void ReadEndOfSequence(ConfigReader& reader, ModelConfig& config);

// Both spellings: rope_theta with rope_scaling, and rope_parameters, which rope_scaling outdoes.
// REQUIRES: config.max_position_embeddings.
void ReadRope(ConfigReader& reader, const ModelConfig& config, double default_theta,
              RopeConfig& out);
// One dictionary of that kind, found under `key`. Null or absent: `out` stays as it is.
void ReadRopeObject(ConfigReader& reader, const std::string& key, const ModelConfig& config,
                    RopeConfig& out);

// Which layers are of kind `name` by `layer_types`; empty if there is no such list. Entries must be
// `name` or `other`.
std::vector<bool> ReadLayerTypes(ConfigReader& reader, const ModelConfig& config,
                                 const std::string& name, const std::string& other);

// Heads that do not fit, and odd widths of rotary pairs.
void CheckHeads(ConfigReader& reader, const ModelConfig& config);
// `key` must be one of `supported`.
void CheckActivation(ConfigReader& reader, const std::string& key, const std::string& fallback,
                     const std::vector<std::string>& supported);

// Each reads what its family says, into `config`.
void ReadGemma3(ConfigReader& reader, ModelConfig& config);  // model/families/gemma_config.cc
void ReadGemma4(ConfigReader& reader, ModelConfig& config);  // model/families/gemma_config.cc
void ReadLfm2(ConfigReader& reader, ModelConfig& config);    // model/families/lfm2_config.cc

}  // namespace liquid

#endif  // LIQUID_MODEL_CONFIG_READER_H_
