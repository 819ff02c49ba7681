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
#include <cstdlib>
#include <memory>
#include <vector>

#include "base/check.h"
#include "bench/model/model_trainer.h"
#include "bench/model/timed_ops.h"
#include "benchmark/benchmark.h"
#include "kernels/ops.h"
#include "tensor/device.h"

namespace liquid {
namespace {

constexpr int64_t kRows = 4;
constexpr int64_t kLength = 512;

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

// range(0): rows per slot; range(1): 1 to recompute blocks; range(2): 1 for bf16.
void BM_Step(benchmark::State& state) {
  if (std::getenv("OMP_NUM_THREADS") == nullptr) omp_set_num_threads(2);
  Rate peak;
  MeasurePeak(peak);
  const std::unique_ptr<Device> device = CreateCpuDevice();
  const std::unique_ptr<Stream> stream = device->CreateStream().value();
  bench::TimedOps ops(CreateOps(*stream), *stream);
  const bench::StepShape shape = {kRows / state.range(0), state.range(0), kLength};
  bench::ModelTrainer trainer(*stream, ops, bench::SmolLm2Config(),
                              state.range(2) == 1 ? DType::kBF16 : DType::kF32, shape);
  const Recompute recompute = state.range(1) == 1 ? Recompute::kBlock : Recompute::kNone;
  trainer.Step(recompute);  // allocates, and warms the caches of oneDNN
  ops.Reset();
  const double flops = trainer.StepFlops();
  Rate rate;
  for (auto unused : state) {
    Measure(rate, flops, [&] { trainer.Step(recompute); });
  }
  MeasurePeak(peak);
  state.counters["tokens_per_second"] = kRows * kLength * rate.wall / flops;
  state.counters["mfu"] = rate.wall / peak.wall;
  state.counters["mfu_by_processor_time"] = rate.processor / peak.processor;
  state.counters["peak_gflops"] = peak.wall / 1e9;
  state.counters["memory_gb"] = PeakMemoryGigabytes();
  ops.Print(static_cast<int>(state.iterations()));
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
