#include "bench/kernels/kernel_bench.h"

namespace liquid::bench {
namespace {

enum Role { kForward, kInputGradient, kWeightGradient };

// The three products of a linear layer: weight [outputs,inputs], kTokens rows.
void BM_Linear(benchmark::State& state) {
  Bench bench;
  const auto role = static_cast<Role>(state.range(0));
  const int64_t outputs = state.range(1);
  const int64_t inputs = state.range(2);
  const auto x = bench.Tensor({kTokens, inputs});
  const auto y = bench.Tensor({kTokens, outputs});
  const auto weight = bench.Tensor({outputs, inputs});
  const double peak = bench.PeakFlops();
  for (auto _ : state) {
    switch (role) {
      case kForward:
        bench.ops().MatMul(y.view(), x.view(), weight.view(), {.transpose_b = true});
        break;
      case kInputGradient:
        bench.ops().MatMul(x.view(), y.view(), weight.view(), {});
        break;
      case kWeightGradient:
        bench.ops().MatMul(weight.view(), y.view(), x.view(),
                           {.transpose_a = true, .accumulate = true});
        break;
    }
  }
  bench.ReportFlops(state, 2.0 * kTokens * static_cast<double>(outputs * inputs), peak);
}
BENCHMARK(BM_Linear)
    ->ArgNames({"role", "outputs", "inputs"})
    ->ArgsProduct({{kForward, kInputGradient, kWeightGradient}, {kWidth, kKeyWidth}, {kWidth}})
    ->ArgsProduct({{kForward, kInputGradient, kWeightGradient}, {kMlpWidth}, {kWidth}})
    ->ArgsProduct({{kForward, kInputGradient, kWeightGradient}, {kWidth}, {kMlpWidth}})
    ->UseRealTime()
    ->MinTime(0.05);

// The output projection with its loss and both gradients: `tokens` scored of kTokens.
void BM_LinearCrossEntropy(benchmark::State& state) {
  Bench bench;
  const auto x = bench.Tensor({kTokens, kWidth});
  const auto dx = bench.Tensor({kTokens, kWidth});
  const auto weight = bench.Tensor({kVocabulary, kWidth});
  const auto dweight = bench.Tensor({kVocabulary, kWidth});
  const auto nll = bench.Tensor({kTokens});
  std::vector<int32_t> targets(kTokens, kIgnoredTarget);
  for (int64_t n = 0; n < state.range(0); ++n) targets[n] = static_cast<int32_t>(n * 7);
  const float scale = 1.0f;
  const double peak = bench.PeakFlops();
  for (auto _ : state) {
    bench.ops().LinearCrossEntropyWithGradient(nll.view(), dx.view(), dweight.view(), x.view(),
                                               weight.view(), targets.data(), nullptr, /*cap=*/0,
                                               &scale, nullptr);
  }
  bench.ReportFlops(state, 6.0 * static_cast<double>(state.range(0) * kWidth * kVocabulary), peak);
}
BENCHMARK(BM_LinearCrossEntropy)
    ->ArgName("scored")
    ->Arg(kTokens)
    ->Arg(kTokens / 2)
    ->UseRealTime()
    ->Iterations(1);

}  // namespace
}  // namespace liquid::bench
