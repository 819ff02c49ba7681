#include "model/model.h"

#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "model/families/gemma.h"
#include "model/families/gpt2.h"
#include "model/families/lfm2.h"
#include "model/families/llama.h"

namespace liquid {
namespace {

// Without weights.
std::unique_ptr<Decoder> CreateDecoder(const ModelConfig& config, Ops& ops, Stream& stream,
                                       TensorPool& pool, const TensorParallel& tensor_parallel,
                                       DType dtype) {
  switch (config.family) {
    case Family::kLlama:
    case Family::kQwen2:
    case Family::kQwen3:
      return CreateLlama(config, ops, stream, pool, tensor_parallel, dtype);
    case Family::kGemma3:
    case Family::kGemma4:
      return CreateGemma(config, ops, stream, pool, tensor_parallel, dtype);
    case Family::kLfm2:
      return CreateLfm2(config, ops, stream, pool, tensor_parallel, dtype);
    case Family::kGpt2:
      return CreateGpt2(config, ops, stream, pool, tensor_parallel, dtype);
  }
  LIQUID_CHECK(false, "model family ", static_cast<int>(config.family));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> CreateModel(const ModelConfig& config, Ops& ops,
                                                   Stream& stream, TensorPool& pool,
                                                   const TensorParallel& tensor_parallel,
                                                   DType dtype, const Tuning& tuning) {
  auto model = CreateDecoder(config, ops, stream, pool, tensor_parallel, dtype);
  LIQUID_RETURN_IF_ERROR(model->Tune(tuning));
  LIQUID_RETURN_IF_ERROR(model->AllocateWeights());
  return model;
}

std::vector<Parameter> ParametersOf(const ModelConfig& config) {
  const std::unique_ptr<Device> cpu = CreateCpuDevice();
  const std::unique_ptr<Stream> stream = cpu->CreateStream().value();
  const std::unique_ptr<Ops> ops = CreateOps(*stream);
  TensorPool pool(*cpu);
  const auto model = CreateDecoder(config, *ops, *stream, pool, {}, DType::kF32);
  return {model->parameters().begin(), model->parameters().end()};
}

double TrainingFlops(const Model& model, const TokenBatch& batch) {
  const ModelConfig& config = model.config();
  double product_flops = 0;  // of a token
  for (const Parameter& parameter : model.parameters()) {
    const bool only_looked_up =
        parameter.name.ends_with(".wpe.weight") ||
        parameter.name.ends_with(".embed_tokens_per_layer.weight") ||
        (!config.tie_word_embeddings && (parameter.name.ends_with(".wte.weight") ||
                                         parameter.name.ends_with(".embed_tokens.weight")));
    if (parameter.shape.rank() >= 2 && !only_looked_up) {
      product_flops +=
          (parameter.trains ? 6 : 4) * static_cast<double>(parameter.shape.NumElements());
    }
  }
  double pairs = 0;  // of a query's element and a key that it sees, over all layers and heads
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const LayerConfig own = config.Layer(layer);
    if (own.is_convolution) continue;
    const int32_t window = config.windows[layer];
    double of_head = 0;
    for (size_t i = 0; i < batch.tokens.size(); ++i) {
      const int64_t row_index = static_cast<int64_t>(i) % batch.sequence_length;
      const int64_t seen = row_index - batch.document_start[i] + 1;
      of_head += static_cast<double>(window > 0 ? std::min<int64_t>(seen, window) : seen);
    }
    pairs += of_head * static_cast<double>(config.num_heads * own.head_dim);
  }
  return product_flops * static_cast<double>(batch.tokens.size()) + 12 * pairs;
}

}  // namespace liquid
