#include "worker/throughput.h"

#include <algorithm>
#include <vector>

#include "absl/time/clock.h"
#include "base/check.h"
#include "base/random.h"
#include "tensor/pool.h"

namespace liquid {
namespace {

void CheckOk(const absl::Status& status) { LIQUID_CHECK(status.ok(), status.ToString()); }

// A matrix of values like those of a model: of equal ones a GPU multiplies faster than it ever
// will.
PooledTensor RandomMatrix(int64_t size, DType dtype, Ops& ops, Stream& stream, TensorPool& pool) {
  constexpr int64_t kRows = 64;  // then they come again
  std::vector<float> rows(static_cast<size_t>(kRows * size));
  CounterRandom(/*seed=*/1, /*stream=*/0).FillNormal(0, absl::MakeSpan(rows));
  const PooledTensor wide = pool.AllocateF32({size, size});
  for (int64_t row = 0; row < size; row += kRows) {
    const auto count = static_cast<size_t>(std::min(kRows, size - row) * size);
    stream.CopyFromHost(wide.view().f32() + row * size, rows.data(), count * sizeof(float));
  }
  CheckOk(stream.Synchronize());  // `rows` goes
  PooledTensor matrix = pool.Allocate(dtype, {size, size});
  ops.Copy(matrix.view(), wide.view());
  return matrix;
}

// The best of several products of matrices of `size` rows and columns.
absl::Duration BestTime(int64_t size, DType dtype, Ops& ops, Stream& stream, TensorPool& pool) {
  constexpr int kTries = 5;
  const PooledTensor a = RandomMatrix(size, dtype, ops, stream, pool);
  const PooledTensor out = pool.Allocate(dtype, {size, size});
  absl::Duration best = absl::InfiniteDuration();
  for (int i = 0; i < kTries; ++i) {
    const absl::Time start = absl::Now();
    ops.MatMul(out.view(), a.view(), a.view(), {});
    CheckOk(stream.Synchronize());
    best = std::min(best, absl::Now() - start);
  }
  return best;
}

}  // namespace

double MeasurePeakFlops(DType dtype, Ops& ops, Stream& stream) {
  TensorPool pool(stream.device());  // whose memory goes again
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
