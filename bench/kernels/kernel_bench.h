// What the kernel benchmarks share: a device, tensors, and the machine's peak of the same run.
#ifndef LIQUID_BENCH_KERNELS_KERNEL_BENCH_H_
#define LIQUID_BENCH_KERNELS_KERNEL_BENCH_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "benchmark/benchmark.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/ops.h"
#include "tensor/device.h"
#include "tensor/pool.h"

namespace liquid::bench {

// The shape of SmolLM2-135M, and the step that the project is measured by: 4 rows of 512 tokens.
inline constexpr int64_t kTokens = 2048;
inline constexpr int64_t kWidth = 576;
inline constexpr int64_t kMlpWidth = 1536;
inline constexpr int64_t kKeyWidth = 192;
inline constexpr int64_t kVocabulary = 49152;

class Bench {
 public:
  Bench() : device_(CreateCpuDevice()), stream_(*device_->CreateStream()), pool_(*device_) {
    ops_ = CreateOps(*stream_);
  }

  Ops& ops() { return *ops_; }
  TensorPool& pool() { return pool_; }

  // A tensor of values between -1 and 1.
  PooledTensor Tensor(const Shape& shape) {
    PooledTensor tensor = pool_.AllocateF32(shape);
    float* data = tensor.view().f32();
    for (int64_t i = 0; i < shape.NumElements(); ++i) {
      data[i] = static_cast<float>(static_cast<uint32_t>(i * 2654435761u) >> 8) * 0x1p-23f - 1.0f;
    }
    return tensor;
  }

  // GFLOP/s of oneDNN where all operands stay in cache, every thread on its own product.
  double PeakFlops() {
    constexpr int64_t kSide = 768;
    const PooledTensor data = Tensor({3 * MaxThreads(), kSide, kSide});
    double best = 1e9;
    for (int repetition = 0; repetition < 5; ++repetition) {
      const auto start = std::chrono::steady_clock::now();
      ParallelFor(MaxThreads(), [&](int64_t thread) {
        float* mine = data.view().f32() + 3 * thread * kSide * kSide;
        Gemm(mine, kSide, Operand<float>{mine + kSide * kSide, kSide},
             Operand<float>{mine + 2 * kSide * kSide, kSide}, {kSide, kSide, kSide}, false);
      });
      const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
      best = std::min(best, elapsed.count());
    }
    return 2.0 * kSide * kSide * kSide * static_cast<double>(MaxThreads()) / best;
  }

  // Reports FLOP/s, and as a fraction of the peak measured just before.
  void ReportFlops(benchmark::State& state, double flops, double peak) {
    const double total = flops * static_cast<double>(state.iterations());
    state.counters["FLOPS"] = benchmark::Counter(total, benchmark::Counter::kIsRate);
    state.counters["of_peak"] = benchmark::Counter(total / peak, benchmark::Counter::kIsRate);
  }
  // Reports bytes read and written once.
  void ReportBytes(benchmark::State& state, int64_t num_bytes) {
    state.SetBytesProcessed(num_bytes * state.iterations());
  }

 private:
  std::unique_ptr<Device> device_;
  std::unique_ptr<Stream> stream_;
  TensorPool pool_;
  std::unique_ptr<Ops> ops_;
};

}  // namespace liquid::bench

#endif  // LIQUID_BENCH_KERNELS_KERNEL_BENCH_H_
