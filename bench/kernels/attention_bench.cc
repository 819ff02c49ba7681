#include "bench/kernels/kernel_bench.h"

namespace liquid::bench {
namespace {

constexpr int64_t kHeads = 9;
constexpr int64_t kGroups = 3;
constexpr int64_t kHeadWidth = 64;

// Under the causal mask: two products forward, five backward.
void BM_Attention(benchmark::State& state) {
  Bench bench;
  const int64_t length = state.range(0);
  const bool backward = state.range(1) != 0;
  const int64_t batch = kTokens / length;
  const Shape query_shape = {batch, length, kHeads, kHeadWidth};
  const Shape key_shape = {batch, length, kGroups, kHeadWidth};
  const auto q = bench.Tensor(query_shape);
  const auto k = bench.Tensor(key_shape);
  const auto v = bench.Tensor(key_shape);
  const auto out = bench.Tensor(query_shape);
  const auto dout = bench.Tensor(query_shape);
  const auto dq = bench.Tensor(query_shape);
  const auto dk = bench.Tensor(key_shape);
  const auto dv = bench.Tensor(key_shape);
  const auto lse = bench.Tensor({batch, kHeads, length});
  const AttentionOptions options = {.scale = 0.125f};
  bench.ops().Attention(out.view(), lse.view(), q.view(), k.view(), v.view(), nullptr, options);
  const double peak = bench.PeakFlops();
  for (auto _ : state) {
    if (backward) {
      bench.ops().AttentionBackward(dq.view(), dk.view(), dv.view(), dout.view(), q.view(),
                                    k.view(), v.view(), out.view(), lse.view(), nullptr, options);
    } else {
      bench.ops().Attention(out.view(), lse.view(), q.view(), k.view(), v.view(), nullptr, options);
    }
  }
  const double pairs = static_cast<double>(batch * kHeads * length * (length + 1)) / 2;
  bench.ReportFlops(state, (backward ? 5 : 2) * 2.0 * pairs * kHeadWidth, peak);
}
BENCHMARK(BM_Attention)
    ->ArgNames({"length", "backward"})
    ->ArgsProduct({{512, 2048}, {0, 1}})
    ->UseRealTime()
    ->MinTime(0.05);

}  // namespace
}  // namespace liquid::bench
