// Random values on a device without a transfer for each of them.
#ifndef LIQUID_BENCH_MODEL_NORMAL_PATTERN_H_
#define LIQUID_BENCH_MODEL_NORMAL_PATTERN_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "base/check.h"
#include "base/random.h"
#include "kernels/ops.h"
#include "tensor/device.h"
#include "tensor/pool.h"

namespace liquid::bench {

// Normal numbers, drawn on the host once and repeated on the device. Zeros or a constant would
// not do for timing: a GPU draws less power for them and so keeps a higher clock.
class NormalPattern {
 public:
  // The period. No power of two, so that rows of a matrix differ; of slices that are aligned well.
  static constexpr int64_t kElements = 1'000'000;

  // `stream` and `ops` must outlive it. Values have this standard deviation.
  NormalPattern(Stream& stream, Ops& ops, float deviation)
      : ops_(ops), pool_(stream.device()), values_(pool_.AllocateF32({kElements})) {
    std::vector<float> host(kElements);
    CounterRandom(1, 0).FillNormal(0, absl::MakeSpan(host));
    for (float& value : host) value *= deviation;
    stream.CopyFromHost(values_.view().data, host.data(), host.size() * sizeof(float));
    const absl::Status done = stream.Synchronize();
    LIQUID_CHECK(done.ok(), done.ToString());
  }

  // Enqueues what fills `out`, kF32 or kBF16.
  void Fill(const TensorView& out) {
    auto* const bytes = static_cast<std::byte*>(out.data);
    for (int64_t first = 0; first < out.NumElements(); first += kElements) {
      const Shape slice = {std::min(kElements, out.NumElements() - first)};
      ops_.Copy(TensorView(bytes + first * SizeOf(out.dtype), out.dtype, slice),
                ConstTensorView(values_.view().data, DType::kF32, slice));
    }
  }

 private:
  Ops& ops_;
  TensorPool pool_;
  PooledTensor values_;
};

}  // namespace liquid::bench

#endif  // LIQUID_BENCH_MODEL_NORMAL_PATTERN_H_
