// The operations that memory bounds, in bytes read and written once.
#include "bench/kernels/kernel_bench.h"

namespace liquid::bench {
namespace {

constexpr int64_t kRowBytes = kTokens * kWidth * 4;
constexpr int64_t kMlpBytes = kTokens * kMlpWidth * 4;
constexpr int64_t kParameters = kVocabulary * kWidth;

void BM_RmsNorm(benchmark::State& state) {
  Bench bench;
  const auto x = bench.Tensor({kTokens, kWidth});
  const auto out = bench.Tensor({kTokens, kWidth});
  const auto weight = bench.Tensor({kWidth});
  const auto rstd = bench.Tensor({kTokens});
  for (auto _ : state) {
    bench.ops().RmsNorm(out.view(), rstd.view(), x.view(), weight.view(), 1e-5f, 0);
  }
  bench.ReportBytes(state, 2 * kRowBytes);
}
BENCHMARK(BM_RmsNorm)->UseRealTime()->MinTime(0.05);

void BM_RmsNormBackward(benchmark::State& state) {
  Bench bench;
  const auto x = bench.Tensor({kTokens, kWidth});
  const auto dout = bench.Tensor({kTokens, kWidth});
  const auto dx = bench.Tensor({kTokens, kWidth});
  const auto weight = bench.Tensor({kWidth});
  const auto dweight = bench.Tensor({kWidth});
  const auto rstd = bench.Tensor({kTokens});
  for (auto _ : state) {
    bench.ops().RmsNormBackward(dx.view(), dweight.view(), dout.view(), x.view(), weight.view(),
                                rstd.view(), 0);
  }
  bench.ReportBytes(state, 3 * kRowBytes);
}
BENCHMARK(BM_RmsNormBackward)->UseRealTime()->MinTime(0.05);

void BM_GatedSilu(benchmark::State& state) {
  Bench bench;
  const bool backward = state.range(0) != 0;
  const auto gate = bench.Tensor({kTokens, kMlpWidth});
  const auto up = bench.Tensor({kTokens, kMlpWidth});
  const auto out = bench.Tensor({kTokens, kMlpWidth});
  const auto dgate = bench.Tensor({kTokens, kMlpWidth});
  const auto dup = bench.Tensor({kTokens, kMlpWidth});
  for (auto _ : state) {
    if (backward) {
      bench.ops().GatedActivateBackward(dgate.view(), dup.view(), out.view(), gate.view(),
                                        up.view(), Activation::kSilu);
    } else {
      bench.ops().GatedActivate(out.view(), gate.view(), up.view(), Activation::kSilu);
    }
  }
  bench.ReportBytes(state, (backward ? 5 : 3) * kMlpBytes);
}
BENCHMARK(BM_GatedSilu)->ArgName("backward")->Arg(0)->Arg(1)->UseRealTime()->MinTime(0.05);

// The update of the embedding: fixed-point sums, norm, AdamW.
void BM_ExactUpdate(benchmark::State& state) {
  Bench bench;
  const auto gradient = bench.Tensor({kParameters});
  const auto weight = bench.Tensor({kParameters});
  const auto exp_avg = bench.Tensor({kParameters});
  const auto exp_avg_sq = bench.Tensor({kParameters});
  const auto sum = bench.pool().Allocate(DType::kI64, {kParameters});
  const auto chunks = bench.pool().Allocate(DType::kF64, {kParameters / kNormChunk});
  std::fill_n(static_cast<int64_t*>(sum.view().data), kParameters, int64_t{0});
  bench.ops().Fill(exp_avg_sq.view(), 0.5f);
  int32_t flag = 0;
  for (auto _ : state) {
    bench.ops().Accumulate(sum.view(), gradient.view(), int64_t{1} << 60, &flag);
    bench.ops().SumOfSquares(chunks.view(), sum.view());
    bench.ops().AdamW(weight.view(), exp_avg.view(), exp_avg_sq.view(), sum.view(),
                      {.learning_rate = 1e-3f});
  }
  bench.ReportBytes(state, kParameters * (20 + 8 + 40));
}
BENCHMARK(BM_ExactUpdate)->UseRealTime()->Iterations(3);

}  // namespace
}  // namespace liquid::bench
