// A full training step of the SmolLM2-135M shape on the CPU: forward and backward of 4 x 512
// tokens, all scored, exact sums of gradients, norm, clipping, AdamW (in bf16: of fp32 master
// weights, then rounded). Reports tokens/s, peak memory
// and MFU: the floating-point operations that the model needs (TrainingFlops), relative to what a
// large fp32 product of oneDNN reached in the same run; by the clock, and by processor time, which
// tells more on a machine that does other things as well (OMP_WAIT_POLICY=passive then, so that
// waiting does not count as work). Where time goes by operation is printed
// after each case. OMP_NUM_THREADS sets the number of threads (default: 2).
#include <dnnl.h>
#include <omp.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/random.h"
#include "bench/model/timed_ops.h"
#include "benchmark/benchmark.h"
#include "kernels/ops.h"
#include "model/model.h"
#include "tensor/device.h"
#include "tensor/pool.h"

namespace liquid {
namespace {

constexpr int64_t kRows = 4;
constexpr int64_t kLength = 512;

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

// FLOP/s by the clock, and per second of processor time.
struct Rate {
  double wall = 0;
  double processor = 0;

  void KeepBest(double flops, double wall_seconds, double processor_seconds) {
    wall = std::max(wall, flops / wall_seconds);
    processor = std::max(processor, flops / processor_seconds);
  }
};

// Runs `fn`, which needs `flops`.
template <typename Fn>
void Measure(Rate& rate, double flops, const Fn& fn) {
  const double wall = bench::WallSeconds();
  const double processor = bench::ProcessorSeconds();
  fn();
  rate.KeepBest(flops, bench::WallSeconds() - wall, bench::ProcessorSeconds() - processor);
}

// The best of several fp32 products of 2048^3 elements.
void MeasurePeak(Rate& peak) {
  constexpr int64_t kSize = 2048;
  const std::vector<float> a(kSize * kSize, 1.0f);
  const std::vector<float> b(kSize * kSize, 1.0f);
  std::vector<float> out(kSize * kSize);
  for (int repeat = 0; repeat < 6; ++repeat) {
    Measure(peak, 2.0 * kSize * kSize * kSize, [&] {
      const dnnl_status_t status = dnnl_sgemm('N', 'N', kSize, kSize, kSize, 1.0f, a.data(), kSize,
                                              b.data(), kSize, 0.0f, out.data(), kSize);
      LIQUID_CHECK(status == dnnl_success);
    });
  }
}

double PeakMemoryGigabytes() {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1e6;
}

// The model with what an optimizer keeps, on this machine.
class Trainer {
 public:
  explicit Trainer(DType dtype)
      : device_(CreateCpuDevice()),
        stream_(device_->CreateStream().value()),
        ops_(CreateOps(*stream_)),
        pool_(*device_),
        model_(CreateModel(SmolLm2Config(), ops_, *stream_, pool_, {}, dtype).value()) {
    InitializeWeights(1, *model_);
    for (const Parameter& parameter : model_->parameters()) {
      const Shape& shape = parameter.shape;
      if (dtype != DType::kF32) {
        masters_.push_back(pool_.AllocateF32(shape));
        ops_.Copy(masters_.back().view(), parameter.value);
      }
      sums_.push_back(pool_.Allocate(DType::kI64, shape));
      std::memset(sums_.back().view().data, 0, sums_.back().view().NumBytes());
      moments_.push_back(pool_.AllocateF32(shape));
      second_moments_.push_back(pool_.AllocateF32(shape));
      ops_.Fill(moments_.back().view(), 0.0f);
      ops_.Fill(second_moments_.back().view(), 0.0f);
      chunks_.push_back(
          pool_.Allocate(DType::kF64, {(shape.NumElements() + kNormChunk - 1) / kNormChunk}));
    }
    const CounterRandom random(2, 0);
    const int64_t count = kRows * kLength;
    for (int64_t i = 0; i < count; ++i) {
      tokens_.push_back(static_cast<int32_t>(random.Uniform(i) * 49152));
      targets_.push_back(static_cast<int32_t>(random.Uniform(count + i) * 49152));
      positions_.push_back(static_cast<int32_t>(i % kLength));
      document_start_.push_back(0);
    }
  }

  TokenBatch Slot(int64_t first_row, int64_t rows) const {
    const auto part = [&](const std::vector<int32_t>& all) {
      return absl::MakeConstSpan(all).subspan(first_row * kLength, rows * kLength);
    };
    return {rows, kLength, part(tokens_), part(targets_), part(positions_), part(document_start_)};
  }

  // One step in slots of `rows` rows each.
  void Step(int64_t rows, Recompute recompute) {
    std::vector<float> nll(rows * kLength);
    const float scale = 1.0f / static_cast<float>(kRows * kLength);
    int32_t flag = 0;
    for (int64_t row = 0; row < kRows; row += rows) {
      model_->ForwardBackward(
          Slot(row, rows), scale, recompute,
          [&](int index, ConstTensorView gradient) {
            ops_.Accumulate(sums_[index].view(), gradient, int64_t{1} << 50, &flag);
          },
          absl::MakeSpan(nll));
    }
    double squares = 0;
    for (size_t i = 0; i < sums_.size(); ++i) {
      ops_.SumOfSquares(chunks_[i].view(), sums_[i].view());
      const auto* values = static_cast<const double*>(chunks_[i].view().data);
      for (int64_t c = 0; c < chunks_[i].view().NumElements(); ++c) squares += values[c];
    }
    AdamWOptions options;
    options.learning_rate = 1e-4f;
    options.step = ++step_;
    options.gradient_scale = static_cast<float>(std::min(1.0, 1.0 / (std::sqrt(squares) + 1e-6)));
    for (size_t i = 0; i < sums_.size(); ++i) {
      const Parameter& parameter = model_->parameters()[i];
      options.weight_decay = parameter.decays ? 0.1f : 0.0f;
      const TensorView weight = masters_.empty() ? parameter.value : masters_[i].view();
      ops_.AdamW(weight, moments_[i].view(), second_moments_[i].view(), sums_[i].view(), options);
      if (!masters_.empty()) ops_.Copy(parameter.value, weight);
    }
    LIQUID_CHECK(flag == 0);
  }

  double StepFlops() const { return TrainingFlops(*model_, Slot(0, kRows)); }
  bench::TimedOps& ops() { return ops_; }

 private:
  std::unique_ptr<Device> device_;
  std::unique_ptr<Stream> stream_;
  bench::TimedOps ops_;
  TensorPool pool_;
  std::unique_ptr<Model> model_;
  std::vector<PooledTensor> masters_, sums_, moments_, second_moments_, chunks_;
  std::vector<int32_t> tokens_, targets_, positions_, document_start_;
  int64_t step_ = 0;
};

// range(0): rows per slot; range(1): 1 to recompute blocks; range(2): 1 for bf16.
void BM_Step(benchmark::State& state) {
  if (std::getenv("OMP_NUM_THREADS") == nullptr) omp_set_num_threads(2);
  Rate peak;
  MeasurePeak(peak);
  Trainer trainer(state.range(2) == 1 ? DType::kBF16 : DType::kF32);
  const Recompute recompute = state.range(1) == 1 ? Recompute::kBlock : Recompute::kNone;
  trainer.Step(state.range(0), recompute);  // allocates, and warms the caches of oneDNN
  trainer.ops().Reset();
  const double flops = trainer.StepFlops();
  Rate rate;
  for (auto unused : state) {
    Measure(rate, flops, [&] { trainer.Step(state.range(0), recompute); });
  }
  MeasurePeak(peak);
  state.counters["tokens_per_second"] = kRows * kLength * rate.wall / flops;
  state.counters["mfu"] = rate.wall / peak.wall;
  state.counters["mfu_by_processor_time"] = rate.processor / peak.processor;
  state.counters["peak_gflops"] = peak.wall / 1e9;
  state.counters["memory_gb"] = PeakMemoryGigabytes();
  trainer.ops().Print(static_cast<int>(state.iterations()));
}
BENCHMARK(BM_Step)
    ->ArgNames({"rows_per_slot", "recompute", "bf16"})
    ->Args({4, 0, 0})
    ->Args({4, 0, 1})
    ->Args({1, 0, 0})
    ->Args({1, 0, 1})
    ->Args({4, 1, 0})
    ->Args({4, 1, 1})
    ->Iterations(2)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace liquid
