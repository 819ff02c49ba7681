// A model that is spread over tensor-parallel ranks, which are threads, behind the interface of one
// on a single device: what holds for that one can be asked of it.
#ifndef LIQUID_TESTS_MODEL_SPREAD_MODEL_H_
#define LIQUID_TESTS_MODEL_SPREAD_MODEL_H_

#include <algorithm>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "kernels/cpu/team.h"
#include "model/key_value_cache.h"
#include "parallel/thread/thread_communicator.h"
#include "tests/model/model_on_device.h"

namespace liquid::testing {

class SpreadModel final : public Model {
 public:
  // Of `size` ranks. Its weights are those of `whole`, as they are at each call.
  SpreadModel(std::unique_ptr<Model> whole, int size, bool sequence, const Tuning& tuning = {})
      : whole_(std::move(whole)), group_(CreateThreadWorld(size, absl::Seconds(60))), ranks_(size) {
    OnEachRank([&](int rank) {
      ranks_[rank] = ModelOnDevice::Create(whole_->config(), {group_[rank].get(), sequence},
                                           DType::kF32, DeviceType::kCpu, tuning)
                         .value();
    });
  }

  const ModelConfig& config() const override { return whole_->config(); }
  absl::Span<const Parameter> parameters() const override { return whole_->parameters(); }
  absl::Span<const int> gradient_order() const override { return order_; }
  const FlatLayout& layout() const override { return whole_->layout(); }
  TensorView weights() const override { return whole_->weights(); }
  TensorView frozen_weights() const override { return whole_->frozen_weights(); }
  const AdapterConfig* adapter() const override { return whole_->adapter(); }
  const TensorParallel& tensor_parallel() const override { return whole_->tensor_parallel(); }
  Stream& stream() override { return whole_->stream(); }
  TensorPool& activations() override { return whole_->activations(); }

  void ForwardBackward(const TokenBatch& batch, float loss_scale, Recompute recompute,
                       const GradientSink& sink, absl::Span<float> nll,
                       Repetition /*repetition*/) override {
    std::vector<std::vector<std::vector<float>>> gradients(ranks_.size());
    std::vector<std::vector<float>> losses(ranks_.size());
    OnEachRank([&](int rank) {
      TakeWeights(rank);
      gradients[rank].resize(parameters().size());
      losses[rank].resize(nll.size());
      ranks_[rank].model->ForwardBackward(
          batch, loss_scale, recompute,
          [&](int index, ConstTensorView gradient) {
            gradients[rank][index].assign(gradient.f32(), gradient.f32() + gradient.NumElements());
          },
          absl::MakeSpan(losses[rank]));
    });
    for (const std::vector<float>& other : losses) LIQUID_CHECK(other == losses[0]);
    std::copy(losses[0].begin(), losses[0].end(), nll.begin());
    order_.clear();
    for (size_t p = 0; p < parameters().size(); ++p) {
      if (!parameters()[p].trains) continue;
      order_.push_back(static_cast<int>(p));
      std::vector<float> sum(parameters()[p].shape.NumElements());
      for (size_t rank = 0; rank < ranks_.size(); ++rank) {
        const std::vector<float>& share = gradients[rank][p];
        if (share.empty()) continue;  // nothing to give
        ForEachRun(parameters()[p].shape, ranks_[rank].model->parameters()[p].part,
                   [&](int64_t to, int64_t from, int64_t count) {
                     for (int64_t i = 0; i < count; ++i) sum[to + i] += share[from + i];
                   });
      }
      sink(static_cast<int>(p), {sum.data(), parameters()[p].shape});
    }
  }

  void Evaluate(const TokenBatch& batch, absl::Span<float> nll,
                absl::Span<uint8_t> correct) override {
    std::vector<std::vector<float>> losses(ranks_.size());
    std::vector<std::vector<uint8_t>> hits(ranks_.size());
    OnEachRank([&](int rank) {
      TakeWeights(rank);
      losses[rank].resize(nll.size());
      hits[rank].resize(correct.size());
      ranks_[rank].model->Evaluate(batch, absl::MakeSpan(losses[rank]), absl::MakeSpan(hits[rank]));
    });
    for (const std::vector<float>& other : losses) LIQUID_CHECK(other == losses[0]);
    for (const std::vector<uint8_t>& other : hits) LIQUID_CHECK(other == hits[0]);
    std::copy(losses[0].begin(), losses[0].end(), nll.begin());
    std::copy(hits[0].begin(), hits[0].end(), correct.begin());
  }

  Activations Inspect(const TokenBatch& batch) override {
    std::vector<Activations> seen(ranks_.size());
    OnEachRank([&](int rank) {
      TakeWeights(rank);
      seen[rank] = ranks_[rank].model->Inspect(batch);
    });
    return seen[0];
  }

  std::unique_ptr<KeyValueCache> CreateCache(int64_t max_tokens) override {
    return whole_->CreateCache(max_tokens);
  }
  std::vector<float> Extend(KeyValueCache& cache, absl::Span<const int32_t> tokens) override {
    return whole_->Extend(cache, tokens);
  }

 private:
  void OnEachRank(const std::function<void(int rank)>& body) {
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < static_cast<int>(ranks_.size()); ++rank) {
      threads.emplace_back([&body, rank] {
        SizeTeam(/*ranks_on_machine=*/64);  // one thread: ranks are many here
        body(rank);
      });
    }
  }

  void TakeWeights(int rank) {
    for (size_t p = 0; p < parameters().size(); ++p) {
      const Parameter& part = ranks_[rank].model->parameters()[p];
      ForEachRun(parameters()[p].shape, part.part, [&](int64_t from, int64_t to, int64_t count) {
        std::copy_n(parameters()[p].value.f32() + from, count, part.value.f32() + to);
      });
    }
  }

  const std::unique_ptr<Model> whole_;
  std::vector<std::unique_ptr<GangCommunicator>> group_;
  std::vector<ModelOnDevice> ranks_;
  std::vector<int> order_;  // of the gradients
};

}  // namespace liquid::testing

#endif  // LIQUID_TESTS_MODEL_SPREAD_MODEL_H_
