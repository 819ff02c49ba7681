#include "model/weights.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/status.h"
#include "checkpoint/hf_directory.h"
#include "checkpoint/parallel_loop.h"
#include "checkpoint/weight_names.h"

namespace liquid {
namespace {

// The name under which `source` holds parameter `name`.
std::string StoredName(const WeightSource& source, const std::string& name) {
  if (source.Find(name).ok()) return name;
  for (const std::string& other : OtherSpellings(name)) {
    if (source.Find(other).ok()) return other;
  }
  return name;
}

// Of layers that share another's keys and values, in files as Gemma 4 was released.
bool IsUnusedKeyOrValue(std::string_view name, const ModelConfig& config) {
  const size_t begin = name.find("layers.");
  int64_t layer = 0;
  if (begin == std::string_view::npos || name.find(".self_attn.") == std::string_view::npos)
    return false;
  const std::string_view rest = name.substr(begin + std::string_view("layers.").size());
  const std::string_view number = rest.substr(0, rest.find('.'));
  if (!absl::SimpleAtoi(absl::string_view(number.data(), number.size()), &layer)) return false;
  return layer >= 0 && layer < config.num_layers && config.Layer(layer).key_source != layer;
}

// Of the parts of a multimodal model that are not its text model.
bool IsOfAnotherModality(std::string_view name) {
  if (constexpr std::string_view kModel = "model."; name.starts_with(kModel)) {
    name.remove_prefix(kModel.size());
  }
  for (const std::string_view part : {"vision_tower.", "audio_tower.", "embed_vision.",
                                      "embed_audio.", "multi_modal_projector."}) {
    if (name.starts_with(part)) return true;
  }
  return false;
}

// Tensors that files hold beside the weights, and that nobody misses.
bool IsKnownExtra(std::string_view name, const ModelConfig& config) {
  if (name == "lm_head.weight") return config.tie_word_embeddings;
  if (config.family == Family::kGpt2) {
    return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
  }
  if (config.is_nested && IsOfAnotherModality(name)) return true;
  return name.ends_with(".rotary_emb.inv_freq") || IsUnusedKeyOrValue(name, config);
}

absl::Status CheckFloats(const TensorSpec& spec, const std::string& directory) {
  const DType dtype = spec.dtype;
  if (IsWeightDType(dtype)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(directory, ": tensor ", spec.name, " is ",
                                                 absl::string_view(DTypeName(dtype).data()),
                                                 "; weights must be F32, BF16 or F16"));
}

void CopyToParameter(Model& model, const Parameter& parameter, const std::vector<float>& values) {
  std::vector<BFloat16> rounded;
  const void* bytes = values.data();
  if (parameter.value.dtype == DType::kBF16) {
    rounded.resize(values.size());
    std::transform(values.begin(), values.end(), rounded.begin(), ToBFloat16);
    bytes = rounded.data();
  }
  model.stream().CopyFromHost(parameter.value.data, bytes,
                              static_cast<size_t>(parameter.value.NumBytes()));
  const absl::Status done = model.stream().Synchronize();
  LIQUID_CHECK(done.ok(), done.ToString());
}

// Reads `parameter` as `source` of `directory` has it under `name`.
absl::Status LoadParameter(const WeightSource& source, const std::string& directory,
                           const std::string& name, const Parameter& parameter, Model& model) {
  LIQUID_ASSIGN_OR_RETURN(const TensorRef tensor, source.Find(name));
  const std::vector<int64_t>& stored = tensor.spec().shape;
  if (!std::equal(parameter.shape.begin(), parameter.shape.end(), stored.begin(), stored.end())) {
    return absl::InvalidArgumentError(
        absl::StrCat(directory, ": tensor ", name, " has shape [", absl::StrJoin(stored, ","),
                     "], but config.json asks for ", parameter.shape.ToString()));
  }
  std::vector<float> values(parameter.part.shape.NumElements());
  LIQUID_RETURN_IF_ERROR(CheckFloats(tensor.spec(), directory));
  const int64_t element = SizeOf(tensor.spec().dtype);
  ForEachRun(parameter.shape, parameter.part, [&](int64_t from, int64_t to, int64_t count) {
    ConvertToF32(tensor.spec().dtype, tensor.bytes().data() + from * element, count, &values[to]);
  });
  CopyToParameter(model, parameter, values);
  return absl::OkStatus();
}

}  // namespace

absl::Status LoadWeights(const std::string& directory, Model& model,
                         std::vector<std::string>* ignored) {
  LIQUID_ASSIGN_OR_RETURN(const WeightSource source, WeightSource::Open(directory));
  std::set<std::string, std::less<>> known;
  for (const Parameter& parameter : model.parameters()) {
    if (parameter.is_adapter) continue;
    const std::string name = StoredName(source, parameter.name);
    LIQUID_RETURN_IF_ERROR(LoadParameter(source, directory, name, parameter, model));
    known.insert(name);
  }
  if (ignored == nullptr) return absl::OkStatus();
  for (const TensorRef& tensor : source.tensors()) {
    const std::string& name = tensor.spec().name;
    if (!known.contains(name) && !IsKnownExtra(name, model.config())) ignored->push_back(name);
  }
  return absl::OkStatus();
}

absl::Status LoadAdapters(const std::string& directory, Model& model) {
  LIQUID_ASSIGN_OR_RETURN(const WeightSource source, WeightSource::Open(directory, kAdapterStem));
  for (const Parameter& parameter : model.parameters()) {
    if (!parameter.is_adapter) continue;
    LIQUID_RETURN_IF_ERROR(LoadParameter(source, directory, parameter.name, parameter, model));
  }
  return absl::OkStatus();
}

namespace {

// The values that `fill` gives to elements of the whole tensor: fill(first element, values).
void FillParameter(Model& model, const Parameter& parameter,
                   absl::FunctionRef<void(int64_t, absl::Span<float>)> fill) {
  constexpr int64_t kGrain = 1 << 16;  // elements drawn by one thread at a time
  std::vector<float> values(parameter.part.shape.NumElements());
  std::vector<std::pair<int64_t, absl::Span<float>>> pieces;
  ForEachRun(parameter.shape, parameter.part, [&](int64_t from, int64_t to, int64_t count) {
    for (int64_t done = 0; done < count; done += kGrain) {
      pieces.emplace_back(from + done,
                          absl::MakeSpan(&values[to + done], std::min(kGrain, count - done)));
    }
  });
  ParallelLoop(NumUsableCpus(), static_cast<int64_t>(pieces.size()),
               [&](int64_t i) { fill(pieces[i].first, pieces[i].second); });
  CopyToParameter(model, parameter, values);
}

CounterRandom RandomOf(uint64_t seed, const Parameter& parameter) {
  return CounterRandom(seed, HashBytes(parameter.name).low);
}

}  // namespace

void InitializeWeights(uint64_t seed, Model& model) {
  const auto deviation = static_cast<float>(model.config().initializer_range);
  for (const Parameter& parameter : model.parameters()) {
    if (parameter.is_adapter) continue;
    if (parameter.shape.rank() >= 2) {
      FillParameter(model, parameter, [&](int64_t first, absl::Span<float> values) {
        RandomOf(seed, parameter).FillNormal(first, values);
        for (float& value : values) value *= deviation;
      });
      continue;
    }
    // Norms begin as plain ones, whatever they add to their weights.
    const bool is_bias = parameter.name.ends_with(".bias");
    const float one = 1.0f - model.config().norm_offset;
    FillParameter(model, parameter, [&](int64_t, absl::Span<float> values) {
      std::fill(values.begin(), values.end(), is_bias ? 0.0f : one);
    });
  }
}

void InitializeAdapters(uint64_t seed, Model& model) {
  for (const Parameter& parameter : model.parameters()) {
    if (!parameter.is_adapter) continue;
    const bool is_a = !ModuleOfAdapterA(parameter.name).empty();
    const double bound = is_a ? 1 / std::sqrt(static_cast<double>(parameter.shape.back())) : 0;
    FillParameter(model, parameter, [&](int64_t first, absl::Span<float> values) {
      const CounterRandom random = RandomOf(seed, parameter);
      for (float& value : values) {
        value = static_cast<float>(bound * (2 * random.Uniform(first++) - 1));
      }
    });
  }
}

}  // namespace liquid
