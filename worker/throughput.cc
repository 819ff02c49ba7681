#include "worker/throughput.h"

#include <algorithm>

#include "absl/time/clock.h"
#include "base/check.h"

namespace liquid {

double MeasurePeakFlops(DType dtype, Ops& ops, Stream& stream, TensorPool& pool) {
  constexpr int64_t kSize = 768;
  constexpr int kTries = 5;
  const PooledTensor a = pool.Allocate(dtype, {kSize, kSize});
  const PooledTensor b = pool.Allocate(dtype, {kSize, kSize});
  const PooledTensor out = pool.Allocate(dtype, {kSize, kSize});
  ops.Fill(a.view(), 0.5f);
  ops.Fill(b.view(), 0.25f);
  absl::Duration best = absl::InfiniteDuration();
  for (int i = 0; i < kTries; ++i) {
    const absl::Time start = absl::Now();
    ops.MatMul(out.view(), a.view(), b.view(), {});
    const absl::Status status = stream.Synchronize();
    LIQUID_CHECK(status.ok(), status.ToString());
    best = std::min(best, absl::Now() - start);
  }
  return 2.0 * kSize * kSize * kSize / absl::ToDoubleSeconds(best);
}

}  // namespace liquid
