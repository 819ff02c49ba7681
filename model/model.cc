#include "model/model.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/status.h"
#include "checkpoint/hf_directory.h"
#include "checkpoint/parallel_loop.h"
#include "model/families/gpt2.h"
#include "model/families/llama.h"

namespace liquid {
namespace {

constexpr std::string_view kGpt2Prefix = "transformer.";

// The name under which `source` holds parameter `name`.
std::string StoredName(const WeightSource& source, const std::string& name) {
  if (!source.Find(name).ok()) {
    if (!name.starts_with(kGpt2Prefix)) return name;
    std::string bare = name.substr(kGpt2Prefix.size());
    if (source.Find(bare).ok()) return bare;
  }
  return name;
}

// Tensors that files hold beside the weights, and that nobody misses.
bool IsKnownExtra(std::string_view name, const ModelConfig& config) {
  if (name == "lm_head.weight") return config.tie_word_embeddings;
  if (config.family == Family::kGpt2) {
    return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
  }
  return name.ends_with(".rotary_emb.inv_freq");
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

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> CreateModel(const ModelConfig& config, Ops& ops,
                                                   Stream& stream, TensorPool& pool,
                                                   const TensorParallel& tensor_parallel,
                                                   DType dtype) {
  switch (config.family) {
    case Family::kLlama:
    case Family::kQwen2:
    case Family::kQwen3:
      return CreateLlama(config, ops, stream, pool, tensor_parallel, dtype);
    case Family::kGpt2:
      return CreateGpt2(config, ops, stream, pool, tensor_parallel, dtype);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("model family ", static_cast<int>(config.family), " is not supported"));
}

absl::Status LoadWeights(const std::string& directory, Model& model,
                         std::vector<std::string>* ignored) {
  LIQUID_ASSIGN_OR_RETURN(const WeightSource source, WeightSource::Open(directory));
  std::set<std::string, std::less<>> known;
  for (const Parameter& parameter : model.parameters()) {
    const std::string name = StoredName(source, parameter.name);
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
    known.insert(name);
  }
  if (ignored == nullptr) return absl::OkStatus();
  for (const TensorRef& tensor : source.tensors()) {
    const std::string& name = tensor.spec().name;
    if (!known.contains(name) && !IsKnownExtra(name, model.config())) ignored->push_back(name);
  }
  return absl::OkStatus();
}

void InitializeWeights(uint64_t seed, Model& model) {
  constexpr int64_t kGrain = 1 << 16;  // elements drawn by one thread at a time
  const auto deviation = static_cast<float>(model.config().initializer_range);
  for (const Parameter& parameter : model.parameters()) {
    std::vector<float> values(parameter.part.shape.NumElements());
    if (parameter.shape.rank() >= 2) {
      const CounterRandom random(seed, HashBytes(parameter.name).low);
      std::vector<std::pair<int64_t, absl::Span<float>>> pieces;
      ForEachRun(parameter.shape, parameter.part, [&](int64_t from, int64_t to, int64_t count) {
        for (int64_t done = 0; done < count; done += kGrain) {
          pieces.emplace_back(from + done,
                              absl::MakeSpan(&values[to + done], std::min(kGrain, count - done)));
        }
      });
      ParallelLoop(NumUsableCpus(), static_cast<int64_t>(pieces.size()), [&](int64_t i) {
        random.FillNormal(pieces[i].first, pieces[i].second);
        for (float& value : pieces[i].second) value *= deviation;
      });
    } else {
      const bool is_bias = parameter.name.ends_with(".bias");
      std::fill(values.begin(), values.end(), is_bias ? 0.0f : 1.0f);
    }
    CopyToParameter(model, parameter, values);
  }
}

double TrainingFlops(const Model& model, const TokenBatch& batch) {
  const ModelConfig& config = model.config();
  double product_weights = 0;
  for (const Parameter& parameter : model.parameters()) {
    const bool only_looked_up =
        parameter.name.ends_with(".wpe.weight") ||
        (!config.tie_word_embeddings && (parameter.name.ends_with(".wte.weight") ||
                                         parameter.name.ends_with(".embed_tokens.weight")));
    if (parameter.shape.rank() >= 2 && !only_looked_up) {
      product_weights += static_cast<double>(parameter.shape.NumElements());
    }
  }
  double pairs = 0;  // of a query and a key it sees, over all layers
  for (const int32_t window : config.windows) {
    for (size_t i = 0; i < batch.tokens.size(); ++i) {
      const int64_t row_index = static_cast<int64_t>(i) % batch.sequence_length;
      const int64_t seen = row_index - batch.document_start[i] + 1;
      pairs += static_cast<double>(window > 0 ? std::min<int64_t>(seen, window) : seen);
    }
  }
  return 6 * product_weights * static_cast<double>(batch.tokens.size()) +
         12 * pairs * static_cast<double>(config.num_heads * config.head_dim);
}

}  // namespace liquid
