#include "bench/model/model_trainer.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "absl/types/span.h"
#include "base/check.h"
#include "base/random.h"
#include "bench/model/normal_pattern.h"

namespace liquid::bench {
namespace {

constexpr int64_t kLimit = int64_t{1} << 50;  // of a gradient: 1.0, which none comes near

int64_t NumChunks(const Shape& shape) {
  return (shape.NumElements() + kNormChunk - 1) / kNormChunk;
}

// Zeros in any dtype: all bits are zero. Not every Ops fills integers.
void Clear(Ops& ops, const TensorView& tensor) {
  const auto num_floats = tensor.NumBytes() / static_cast<int64_t>(sizeof(float));
  ops.Fill(TensorView(tensor.data, DType::kF32, {num_floats}), 0.0f);
}

}  // namespace

ModelConfig SmolLm2Config() {
  ModelConfig config;
  config.family = Family::kLlama;
  config.vocab_size = 49152;
  config.hidden_size = 576;
  config.intermediate_size = 1536;
  config.num_layers = 30;
  config.num_heads = 9;
  config.num_kv_heads = 3;
  config.head_dim = 64;
  config.max_position_embeddings = 8192;
  config.norm_epsilon = 1e-5f;
  config.tie_word_embeddings = true;
  config.windows.assign(30, 0);
  config.rope.theta = 100000;
  return config;
}

ModelTrainer::ModelTrainer(Stream& stream, Ops& ops, const ModelConfig& config, DType dtype,
                           const StepShape& shape)
    : stream_(stream),
      ops_(ops),
      config_(config),
      shape_(shape),
      pool_(stream.device()),
      model_(CreateModel(config_, ops, stream, pool_, {}, dtype).value()) {
  NormalPattern pattern(stream, ops, static_cast<float>(config_.initializer_range));
  for (const Parameter& parameter : model_->parameters()) {
    if (parameter.shape.rank() >= 2) {
      pattern.Fill(parameter.value);
    } else {
      ops_.Fill(parameter.value, 1.0f);
    }
  }
  PrepareOptimizer();
  PrepareBatch();
  Synchronize();
}

void ModelTrainer::PrepareOptimizer() {
  int64_t num_chunks = 0;
  for (const Parameter& parameter : model_->parameters()) {
    const Shape& shape = parameter.shape;
    if (parameter.value.dtype != DType::kF32) {
      masters_.push_back(pool_.AllocateF32(shape));
      ops_.Copy(masters_.back().view(), parameter.value);
    }
    sums_.push_back(pool_.Allocate(DType::kI64, shape));
    moments_.push_back(pool_.AllocateF32(shape));
    second_moments_.push_back(pool_.AllocateF32(shape));
    for (const auto* const tensors : {&sums_, &moments_, &second_moments_}) {
      Clear(ops_, tensors->back().view());
    }
    num_chunks += NumChunks(shape);
  }
  all_chunks_ = pool_.Allocate(DType::kF64, {num_chunks});
  host_chunks_ = stream_.device().AllocateHost(num_chunks * sizeof(double)).value();
  auto* next = static_cast<double*>(all_chunks_.view().data);
  for (const Parameter& parameter : model_->parameters()) {
    chunks_.emplace_back(next, DType::kF64, Shape{NumChunks(parameter.shape)});
    next += NumChunks(parameter.shape);
  }
  flag_ = pool_.Allocate(DType::kI32, {1});
  Clear(ops_, flag_.view());
}

void ModelTrainer::PrepareBatch() {
  const CounterRandom random(2, 0);
  const auto vocabulary = static_cast<double>(config_.vocab_size);
  const int64_t count = shape_.NumTokens();
  for (int64_t i = 0; i < count; ++i) {
    tokens_.push_back(static_cast<int32_t>(random.Uniform(i) * vocabulary));
    targets_.push_back(static_cast<int32_t>(random.Uniform(count + i) * vocabulary));
    positions_.push_back(static_cast<int32_t>(i % shape_.sequence_length));
    document_start_.push_back(0);
  }
}

TokenBatch ModelTrainer::Slot(int64_t index) const {
  const int64_t count = shape_.rows * shape_.sequence_length;
  const auto part = [&](const std::vector<int32_t>& all) {
    return absl::MakeConstSpan(all).subspan(index * count, count);
  };
  return {shape_.rows,    shape_.sequence_length, part(tokens_),
          part(targets_), part(positions_),       part(document_start_)};
}

double ModelTrainer::StepFlops() const {
  double flops = 0;
  for (int64_t slot = 0; slot < shape_.num_slots; ++slot) {
    flops += TrainingFlops(*model_, Slot(slot));
  }
  return flops;
}

double ModelTrainer::Step(Recompute recompute, Repetition repetition) {
  std::vector<float> nll(shape_.rows * shape_.sequence_length);
  const float scale = 1.0f / static_cast<float>(shape_.NumTokens());
  double loss = 0;
  for (int64_t slot = 0; slot < shape_.num_slots; ++slot) {
    model_->ForwardBackward(
        Slot(slot), scale, recompute,
        [&](int index, ConstTensorView gradient) {
          ops_.Accumulate(sums_[index].view(), gradient, kLimit,
                          static_cast<int32_t*>(flag_.view().data));
        },
        absl::MakeSpan(nll), repetition);
    for (const float value : nll) loss += value;
  }
  Update(NormOfGradients());
  Synchronize();
  return loss / static_cast<double>(shape_.NumTokens());
}

double ModelTrainer::NormOfGradients() {
  for (size_t i = 0; i < sums_.size(); ++i) ops_.SumOfSquares(chunks_[i], sums_[i].view());
  int32_t flag = 0;
  const TensorView& all = all_chunks_.view();
  stream_.CopyToHost(host_chunks_.get(), all.data, all.NumBytes());
  stream_.CopyToHost(&flag, flag_.view().data, sizeof(flag));
  Synchronize();
  LIQUID_CHECK(flag == 0, "a gradient is not finite, or exceeds 1");
  const auto* const values = reinterpret_cast<const double*>(host_chunks_.get());
  double squares = 0;
  for (int64_t i = 0; i < all.NumElements(); ++i) squares += values[i];
  return std::sqrt(squares);
}

void ModelTrainer::Update(double norm) {
  AdamWOptions options;
  options.learning_rate = 1e-4f;
  options.step = ++step_;
  options.gradient_scale = static_cast<float>(std::min(1.0, 1.0 / (norm + 1e-6)));
  for (size_t i = 0; i < sums_.size(); ++i) {
    const Parameter& parameter = model_->parameters()[i];
    options.weight_decay = parameter.decays ? 0.1f : 0.0f;
    const TensorView weight = masters_.empty() ? parameter.value : masters_[i].view();
    ops_.AdamW(weight, moments_[i].view(), second_moments_[i].view(), sums_[i].view(), options);
    if (!masters_.empty()) ops_.Copy(parameter.value, weight);
  }
}

void ModelTrainer::Synchronize() {
  const absl::Status done = stream_.Synchronize();
  LIQUID_CHECK(done.ok(), done.ToString());
}

}  // namespace liquid::bench
