#include "model/decoder.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "model/spread.h"

namespace liquid {

struct Decoder::DeviceBatch {
  // kI32 [6,N]: tokens, targets, positions, document_start, tokens with a gradient; keys of rows.
  PooledTensor integers;
  PooledTensor loss_scale;  // kF32 [1]
  PooledTensor weights;     // kF32 [N] of the targets, unless all are 1
  const int32_t* Row(int64_t i) const {
    return static_cast<const int32_t*>(integers.view().data) + i * integers.view().shape[1];
  }
};

struct Decoder::RecordedPass {
  DeviceBatch device;
  PooledTensor losses;
  int num_runs = 0;
  std::unique_ptr<Recording> recording;  // from the second run on, where devices can record
};

Decoder::Decoder(const ModelConfig& config, Ops& ops, Stream& stream, TensorPool& pool,
                 const TensorParallel& tensor_parallel, DType dtype)
    : config_(config),
      ops_(ops),
      stream_(stream),
      pool_(pool),
      activations_(stream.device()),
      tensor_(tensor_parallel),
      dtype_(dtype) {}

int Decoder::AddParameter(std::string name, const Shape& shape, const Partition& partition) {
  const int index = static_cast<int>(parameters_.size());
  absl::StatusOr<TensorPart> part = PartOf(name, shape, partition, tensor_.rank(), tensor_.size());
  status_.Update(part.status());
  parameters_.push_back({.name = std::move(name),
                         .shape = shape,
                         .decays = shape.rank() >= 2,
                         .partition = partition,
                         .part = part.ok() ? *std::move(part) : TensorPart()});
  return index;
}

absl::Status Decoder::AllocateWeights() {
  LIQUID_RETURN_IF_ERROR(status_);
  std::vector<FlatLayout::Tensor> trained;
  std::vector<FlatLayout::Tensor> frozen;
  for (const Parameter& p : parameters_) {
    int64_t largest = 0;
    for (int rank = 0; rank < tensor_.size(); ++rank) {
      LIQUID_ASSIGN_OR_RETURN(const TensorPart part,
                              PartOf(p.name, p.shape, p.partition, rank, tensor_.size()));
      largest = std::max(largest, part.shape.NumElements());
    }
    const FlatLayout::Tensor tensor = {p.part.shape.NumElements(), largest};
    trained.push_back(p.trains ? tensor : FlatLayout::Tensor{0, 0});
    frozen.push_back(p.trains ? FlatLayout::Tensor{0, 0} : tensor);
  }
  layout_.emplace(trained, tensor_.num_replicas);
  const FlatLayout frozen_layout(frozen, /*num_slices=*/1);
  weights_ = pool_.Allocate(dtype_, {layout_->total()});
  ops_.Fill(weights_.view(), 0.0f);
  if (frozen_layout.total() > 0) {
    frozen_ = pool_.Allocate(dtype_, {frozen_layout.total()});
    ops_.Fill(frozen_.view(), 0.0f);
  }
  for (size_t i = 0; i < parameters_.size(); ++i) {
    Parameter& p = parameters_[i];
    const FlatLayout& layout = p.trains ? *layout_ : frozen_layout;
    const int64_t begin = layout.offset(static_cast<int>(i));
    p.value =
        Elements((p.trains ? weights_ : frozen_).view(), begin, begin + p.part.shape.NumElements())
            .Reshape(p.part.shape);
  }
  return absl::OkStatus();
}

int Decoder::AddConstant(std::string name) {
  const int index = AddParameter(std::move(name), {1});
  parameters_[index].trains = false;
  return index;
}

int Decoder::AddTable(std::string name, int64_t width) {
  const int table = AddParameter(std::move(name), {config_.vocab_size, width},
                                 {.kind = Partition::Kind::kRows,
                                  .unit = "tokens of the vocabulary",
                                  .num_units = config_.vocab_size,
                                  .may_be_uneven = true});
  MarkTable(table);
  return table;
}

void Decoder::UseRotary(const RopeConfig& rope, int64_t head_dim) {
  rotaries_.emplace_back(rope, head_dim);
}

Decoder::~Decoder() = default;

Decoder::DeviceBatch Decoder::AllocateBatch(int64_t num_tokens, bool has_weights) {
  return {pool_.Allocate(DType::kI32, {6, num_tokens}), pool_.AllocateF32({1}),
          pool_.AllocateF32({has_weights ? num_tokens : 0})};
}

Decoder::DeviceBatch Decoder::Upload(const TokenBatch& batch, float loss_scale) {
  DeviceBatch device =
      AllocateBatch(batch.num_rows * batch.sequence_length, !batch.weights.empty());
  Upload(batch, loss_scale, device);
  return device;
}

void Decoder::Upload(const TokenBatch& batch, float loss_scale, const DeviceBatch& device) {
  const int64_t n = batch.num_rows * batch.sequence_length;
  LIQUID_CHECK(n > 0 && static_cast<int64_t>(batch.tokens.size()) == n, n);
  LIQUID_CHECK(batch.targets.size() == batch.tokens.size() &&
               batch.positions.size() == batch.tokens.size() &&
               batch.document_start.size() == batch.tokens.size() &&
               (batch.weights.empty() || batch.weights.size() == batch.tokens.size()));
  for (int64_t i = 0; i < n; ++i) {  // ids out of range would read and write outside of tables
    const int32_t token = batch.tokens[i];
    const int32_t target = batch.targets[i];
    LIQUID_CHECK(token >= 0 && token < config_.vocab_size, "token ", token, " at ", i);
    LIQUID_CHECK(target == kIgnoredTarget || (target >= 0 && target < config_.vocab_size),
                 "target ", target, " at ", i);
    LIQUID_CHECK(batch.positions[i] >= 0, "position ", batch.positions[i], " at ", i);
  }
  LIQUID_CHECK(n % tensor_.size() == 0, n, " tokens for ", tensor_.size(), " ranks");
  const TensorPart::Range vocabulary = parameters_[head_].part.ranges[0];
  const auto local = [&vocabulary](int32_t token) {
    if (token == kIgnoredTarget) return token;
    const bool is_here = token >= vocabulary.begin && token < vocabulary.end;
    return is_here ? token - static_cast<int32_t>(vocabulary.begin) : kElsewhere;
  };
  std::vector<int32_t>& host = host_integers_;
  host.clear();
  host.reserve(6 * n);
  for (const int32_t token : batch.tokens) host.push_back(local(token));
  for (const int32_t target : batch.targets) host.push_back(local(target));
  for (const auto& part : {batch.positions, batch.document_start}) {
    host.insert(host.end(), part.begin(), part.end());
  }
  // What is looked up for padding is not trained.
  for (const int32_t token : batch.tokens) {
    host.push_back(token == config_.pad_token_id ? kElsewhere : local(token));
  }
  LIQUID_CHECK(batch.row_keys.empty() ||
               (static_cast<int64_t>(batch.row_keys.size()) == batch.num_rows &&
                batch.sequence_length >= 2));
  for (const uint64_t key : batch.row_keys) {
    host.push_back(static_cast<int32_t>(key & 0xFFFFFFFF));
    host.push_back(static_cast<int32_t>(key >> 32));
  }
  stream_.CopyFromHost(device.integers.view().data, host.data(), host.size() * sizeof(int32_t));
  stream_.CopyFromHost(device.loss_scale.view().data, &loss_scale, sizeof(loss_scale));
  if (!batch.weights.empty()) {
    stream_.CopyFromHost(device.weights.view().data, batch.weights.data(),
                         batch.weights.size() * sizeof(float));
  }
  const absl::Status done = stream_.Synchronize();  // the host's copies change
  LIQUID_CHECK(done.ok(), done.ToString());
}

void Decoder::ReservePositions(const TokenBatch& batch) {
  ReserveParts(batch.num_rows * batch.sequence_length);
  const int64_t last = *std::max_element(batch.positions.begin(), batch.positions.end());
  if (rotaries_.empty()) {
    LIQUID_CHECK(last < config_.max_position_embeddings, "position ", last);
    return;
  }
  const void* const before = rotaries_[0].cos().data;
  for (RotaryTable& table : rotaries_) {
    table.Reserve(std::max(last + 1, batch.sequence_length), pool_, stream_);
  }
  if (rotaries_[0].cos().data != before) DropRecordings();
}

void Decoder::ReserveParts(int64_t num_tokens) {
  if (num_parts_ == 0 || (parts_ && parts_.view().shape[1] >= num_tokens)) return;
  std::vector<int32_t> parts;
  for (int64_t j = 0; j < num_parts_; ++j) {
    for (int64_t i = 0; i < num_tokens; ++i) {
      parts.push_back(static_cast<int32_t>(num_parts_ * i + j));
    }
  }
  parts_ = IntegersOnDevice({num_parts_, num_tokens}, parts);
  DropRecordings();
}

void Decoder::DropRecordings() {
  for (const auto& [shape, pass] : recorded_) pass->recording = nullptr;
}

PooledTensor Decoder::IntegersOnDevice(const Shape& shape, const std::vector<int32_t>& values) {
  PooledTensor integers = pool_.Allocate(DType::kI32, shape);
  stream_.CopyFromHost(integers.view().data, values.data(), values.size() * sizeof(int32_t));
  const absl::Status done = stream_.Synchronize();  // the host's copy goes
  LIQUID_CHECK(done.ok(), done.ToString());
  return integers;
}

Pass Decoder::MakePass(Tape& tape, const TokenBatch& batch, const DeviceBatch& device) {
  Pass pass = {.tape = tape, .tensor = tensor_};
  pass.num_rows = batch.num_rows;
  pass.sequence_length = batch.sequence_length;
  pass.tokens = device.Row(0);
  pass.targets = device.Row(1);
  pass.positions = device.Row(2);
  pass.document_start = device.Row(3);
  pass.tokens_with_gradient = device.Row(4);
  if (parts_) {
    pass.parts = static_cast<const int32_t*>(parts_.view().data);
    pass.num_parts = num_parts_;
    pass.parts_stride = parts_.view().shape[1];
  }
  if (!batch.row_keys.empty()) pass.row_keys = device.Row(5);
  if (adapter_.has_value()) pass.adapters = &adapters_;
  pass.noise = noise_;
  pass.loss_scale = device.loss_scale.view().f32();
  if (!batch.weights.empty()) pass.target_weights = device.weights.view().f32();
  pass.rotaries = absl::MakeSpan(rotaries_);
  return pass;
}

Variable Decoder::RunBlock(Pass& pass, int layer, Variable x, Recompute recompute) {
  if (recompute == Recompute::kNone) return Block(pass, layer, std::move(x));
  // With what it hands to later layers, which is not computed again for them.
  const auto run = [this, &pass, layer](Variable in) {
    std::vector<Variable> results = {Block(pass, layer, std::move(in))};
    if (const auto shared = pass.shared.find(layer); shared != pass.shared.end()) {
      results.push_back(shared->second.keys);
      results.push_back(shared->second.values);
    }
    return results;
  };
  std::vector<Variable> results = pass.tape.Recomputed(std::move(x), run);
  if (results.size() > 1) pass.shared[layer] = {results[1], results[2]};
  return std::move(results[0]);
}

Variable Decoder::Forward(Pass& pass, Recompute recompute,
                          absl::FunctionRef<void(const Variable&)> probe) {
  Variable x = Embed(pass);
  probe(x);
  for (int layer = 0; layer < config_.num_layers; ++layer) {
    x = RunBlock(pass, layer, std::move(x), recompute);
    probe(x);
  }
  x = FinalNorm(pass, std::move(x));
  probe(x);
  return x;
}

std::vector<float> Decoder::ToHost(ConstTensorView tensor) {
  PooledTensor wide;
  if (tensor.dtype != DType::kF32) {
    wide = activations_.AllocateF32(tensor.shape);
    ops_.Copy(wide.view(), tensor);
    tensor = wide.view();
  }
  std::vector<float> host(tensor.NumElements());
  stream_.CopyToHost(host.data(), tensor.f32(), host.size() * sizeof(float));
  const absl::Status done = stream_.Synchronize();
  LIQUID_CHECK(done.ok(), done.ToString());
  return host;
}

// What is applied to the whole residual stream on every rank has its whole gradient on each.
bool Decoder::IsOthersToGive(const Parameter& parameter) const {
  return parameter.partition.kind == Partition::Kind::kWhole && !tensor_.splits_sequence() &&
         tensor_.rank() > 0;
}

void Decoder::EnqueueForwardBackward(const TokenBatch& batch, const DeviceBatch& device,
                                     Recompute recompute, const GradientSink& sink,
                                     TensorView losses) {
  gradient_order_.clear();
  const GradientSink mine = [&](int index, ConstTensorView gradient) {
    if (IsOthersToGive(parameters_[index])) return;
    gradient_order_.push_back(index);
    sink(index, gradient);
  };
  Tape tape(ops_, activations_, parameters_, &mine);
  Pass pass = MakePass(tape, batch, device);
  LIQUID_CHECK(losses.NumElements() == pass.num_tokens(), losses.NumElements());
  LinearCrossEntropy(pass, Forward(pass, recompute, [](const Variable&) {}), head_,
                     config_.logit_cap, losses);
  tape.Backward();
}

void Decoder::ForwardBackward(const TokenBatch& batch, float loss_scale, Recompute recompute,
                              const GradientSink& sink, absl::Span<float> nll,
                              Repetition repetition) {
  ReservePositions(batch);
  std::vector<float> losses;
  if (repetition == Repetition::kOfShape) {
    losses = Repeat(batch, loss_scale, recompute, sink);
  } else {
    const DeviceBatch device = Upload(batch, loss_scale);
    const PooledTensor on_device = activations_.AllocateF32({static_cast<int64_t>(nll.size())});
    EnqueueForwardBackward(batch, device, recompute, sink, on_device.view());
    losses = ToHost(on_device.view());
  }
  std::copy(losses.begin(), losses.end(), nll.begin());
}

std::vector<float> Decoder::Repeat(const TokenBatch& batch, float loss_scale, Recompute recompute,
                                   const GradientSink& sink) {
  std::unique_ptr<RecordedPass>& pass =
      recorded_[{batch.num_rows, batch.sequence_length, recompute, !batch.weights.empty(),
                 !batch.row_keys.empty()}];
  if (pass == nullptr) {
    const auto num_tokens = static_cast<int64_t>(batch.tokens.size());
    pass = std::make_unique<RecordedPass>();
    pass->device = AllocateBatch(num_tokens, !batch.weights.empty());
    pass->losses = pool_.AllocateF32({num_tokens});
  }
  Upload(batch, loss_scale, pass->device);
  const auto enqueue = [&] {
    EnqueueForwardBackward(batch, pass->device, recompute, sink, pass->losses.view());
  };
  // The first run gets memory and chooses algorithms, none of which can be recorded.
  if (pass->recording == nullptr && pass->num_runs > 0) pass->recording = stream_.Record(enqueue);
  if (pass->recording != nullptr) {
    pass->recording->Enqueue();
  } else {
    enqueue();
  }
  ++pass->num_runs;
  return ToHost(pass->losses.view());
}

void Decoder::Evaluate(const TokenBatch& batch, absl::Span<float> nll,
                       absl::Span<uint8_t> correct) {
  ReservePositions(batch);
  const DeviceBatch device = Upload(batch);
  const auto num_tokens = static_cast<int64_t>(nll.size());
  LIQUID_CHECK(correct.empty() || correct.size() == nll.size(), correct.size());
  const PooledTensor losses = activations_.AllocateF32({num_tokens});
  const PooledTensor hits =
      activations_.Allocate(DType::kI32, {static_cast<int64_t>(correct.size())});
  Tape tape(ops_, activations_, parameters_, nullptr);
  Pass pass = MakePass(tape, batch, device);
  LIQUID_CHECK(num_tokens == pass.num_tokens(), num_tokens);
  LinearCrossEntropy(pass, Forward(pass, Recompute::kNone, [](const Variable&) {}), head_,
                     config_.logit_cap, losses.view(),
                     correct.empty() ? nullptr : static_cast<int32_t*>(hits.view().data));
  std::vector<int32_t> host_hits(correct.size());
  if (!correct.empty()) {
    stream_.CopyToHost(host_hits.data(), hits.view().data, host_hits.size() * sizeof(int32_t));
  }
  const std::vector<float> host = ToHost(losses.view());  // waits for both
  std::copy(host.begin(), host.end(), nll.begin());
  std::copy(host_hits.begin(), host_hits.end(), correct.begin());
}

Model::Activations Decoder::Inspect(const TokenBatch& batch) {
  ReservePositions(batch);
  const DeviceBatch device = Upload(batch);
  Tape tape(ops_, activations_, parameters_, nullptr);
  Pass pass = MakePass(tape, batch, device);
  Activations activations;
  const Variable x = Forward(pass, Recompute::kNone, [&](const Variable& value) {
    activations.hidden.push_back(ResidualToHost(value.view()));
  });
  activations.logits = LogitsToHost(Linear(pass, Gather(pass, x), head_).view());
  CapLogits(activations.logits);
  return activations;
}

std::vector<float> Decoder::ResidualToHost(ConstTensorView x) {
  if (!tensor_.splits_sequence()) return ToHost(x);
  const PooledTensor all =
      activations_.Allocate(x.dtype, {x.NumRows() * tensor_.size(), x.shape.back()});
  tensor_.group->AllGatherParts(all.view(), x);
  return ToHost(all.view());
}

std::vector<float> Decoder::LogitsToHost(ConstTensorView logits) {
  const std::vector<float> mine = ToHost(logits);
  if (tensor_.size() == 1) return mine;
  const auto parts = tensor_.group->AllGatherMessages(
      std::string(reinterpret_cast<const char*>(mine.data()), mine.size() * sizeof(float)));
  LIQUID_CHECK(parts.ok(), parts.status().ToString());
  const int64_t rows = logits.NumRows();
  std::vector<float> all(rows * config_.vocab_size);
  int64_t column = 0;
  for (const std::string& part : *parts) {
    // On the plan backend each part is this rank's, which may have a column more than others.
    const auto width = std::min(static_cast<int64_t>(part.size() / sizeof(float)) / rows,
                                config_.vocab_size - column);
    const auto* values = reinterpret_cast<const float*>(part.data());
    for (int64_t r = 0; r < rows; ++r) {
      std::copy_n(values + r * width, width, &all[r * config_.vocab_size + column]);
    }
    column += width;
  }
  return all;
}

std::unique_ptr<KeyValueCache> Decoder::CreateCache(int64_t max_tokens) {
  return std::make_unique<KeyValueCache>(config_, max_tokens + tensor_.size() - 1, dtype_, pool_,
                                         tensor_.size());
}

std::vector<float> Decoder::Extend(KeyValueCache& cache, absl::Span<const int32_t> tokens) {
  const auto num_new = static_cast<int64_t>(tokens.size());
  LIQUID_CHECK(num_new > 0);
  // Ranks share out equally many tokens: behind the new ones there may be some that none of those
  // sees, and that the next call overwrites.
  const int64_t size = tensor_.size();
  const int64_t length = (num_new + size - 1) / size * size;
  std::vector<int32_t> padded(tokens.begin(), tokens.end());
  padded.resize(static_cast<size_t>(length), tokens.back());
  std::vector<int32_t> positions(padded.size());
  const auto first = static_cast<int32_t>(cache.length());
  for (int64_t i = 0; i < length; ++i) {
    positions[i] = first + static_cast<int32_t>(std::min(i, num_new - 1));
  }
  const std::vector<int32_t> unused(padded.size(), 0);
  const TokenBatch batch = {1, length, padded, unused, positions, unused};
  ReservePositions(batch);
  const DeviceBatch device = Upload(batch);
  Tape tape(ops_, activations_, parameters_, nullptr);
  Pass pass = MakePass(tape, batch, device);
  pass.cache = &cache;
  const PooledTensor cached_positions = PositionsWithCache(cache.length(), length);
  if (cached_positions) {
    pass.cached_positions = static_cast<const int32_t*>(cached_positions.view().data);
  }
  const Variable x = Gather(pass, Forward(pass, Recompute::kNone, [](const Variable&) {}));
  cache.Advance(num_new);
  Variable last = tape.NewVariable({1, config_.hidden_size});
  const int64_t end = num_new * config_.hidden_size;
  ops_.Copy(last.view(), Elements(x.view(), end - config_.hidden_size, end));
  std::vector<float> logits = LogitsToHost(Linear(pass, last, head_).view());
  CapLogits(logits);
  return logits;
}

// As a short convolution takes positions, for the last taps before `length` new tokens and those.
PooledTensor Decoder::PositionsWithCache(int64_t num_cached, int64_t length) {
  if (config_.convolution_taps == 0) return PooledTensor();
  const int64_t before = config_.convolution_taps - 1;
  std::vector<int32_t> positions;
  for (int64_t i = 0; i < before + length; ++i) {
    positions.push_back(static_cast<int32_t>(std::clamp<int64_t>(num_cached - before + i, 0, i)));
  }
  return IntegersOnDevice({before + length}, positions);
}

void Decoder::CapLogits(std::vector<float>& logits) const {
  const float cap = config_.logit_cap;
  if (cap == 0) return;
  for (float& logit : logits) logit = cap * std::tanh(logit / cap);
}

}  // namespace liquid
