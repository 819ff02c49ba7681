#include "worker/throughput.h"

#include <algorithm>

#include "absl/time/clock.h"
#include "base/check.h"

namespace liquid {
namespace {

// The best of several products of matrices of `size` rows and columns.
absl::Duration BestTime(int64_t size, DType dtype, Ops& ops, Stream& stream, TensorPool& pool) {
  constexpr int kTries = 5;
  const PooledTensor a = pool.Allocate(dtype, {size, size});
  const PooledTensor b = pool.Allocate(dtype, {size, size});
  const PooledTensor out = pool.Allocate(dtype, {size, size});
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
  return best;
}

}  // namespace

double MeasurePeakFlops(DType dtype, Ops& ops, Stream& stream, TensorPool& pool) {
  // What fits into a CPU's caches is fastest there; a GPU shows what it can when there is much to
  // do.
  constexpr int64_t kCpuSize = 768;
  constexpr int64_t kMostSize = 8192;
  constexpr absl::Duration kEnough = absl::Milliseconds(1);
  const bool is_cpu = stream.device().type() == DeviceType::kCpu;
  int64_t size = is_cpu ? kCpuSize : 512;
  absl::Duration best = BestTime(size, dtype, ops, stream, pool);
  while (!is_cpu && best < kEnough && size < kMostSize) {
    size *= 2;
    best = BestTime(size, dtype, ops, stream, pool);
  }
  return 2.0 * static_cast<double>(size * size * size) / absl::ToDoubleSeconds(best);
}

}  // namespace liquid
