// What the programs of bench/gpu share: a GPU, time on it, and the two ceilings of that very GPU.
#ifndef LIQUID_BENCH_GPU_GPU_BENCH_H_
#define LIQUID_BENCH_GPU_GPU_BENCH_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "bench/model/normal_pattern.h"
#include "kernels/ops.h"
#include "tensor/device.h"
#include "tensor/pool.h"

namespace liquid::bench {

// What the device reached in this run: nothing is held against a data sheet.
struct Ceilings {
  int64_t side = 0;             // of the square bf16 product: 8192
  double flops_per_second = 0;  // of it
  int64_t copied_bytes = 0;     // by a copy: 1 GiB
  double bytes_per_second = 0;  // read and written by it
};

class GpuBench {
 public:
  // `quick`: everything runs once and the ceilings are those of small tensors. For emulation,
  // where no figure means anything.
  GpuBench(std::unique_ptr<Device> device, bool quick);

  bool quick() const { return quick_; }
  Device& device() { return *device_; }
  Stream& stream() { return *stream_; }
  Ops& ops() { return *ops_; }
  NormalPattern& pattern() { return pattern_; }

  // Seconds that what `enqueue` enqueues takes on the device, when the host runs ahead of it: the
  // median of five groups of as many calls as take about 30 ms.
  double Seconds(const std::function<void()>& enqueue);
  // Fatal if work on the device has failed.
  void Synchronize();

  Ceilings MeasureCeilings();
  // The first two of them alone.
  Ceilings MeasurePeakFlops();

 private:
  const std::unique_ptr<Device> device_;
  const bool quick_;
  const std::unique_ptr<Stream> stream_;
  const std::unique_ptr<Ops> ops_;
  NormalPattern pattern_;  // of deviation 1
};

// Tensors that a group of cases shares; all of them go when this goes.
class GroupTensors {
 public:
  explicit GroupTensors(GpuBench& gpu) : gpu_(gpu), pool_(gpu.device()) {}

  TensorView Zeros(DType dtype, const Shape& shape);
  // kF32 or kBF16, normal with this deviation.
  TensorView Random(DType dtype, const Shape& shape, float deviation = 1.0f);
  const int32_t* Ints(const std::vector<int32_t>& values);

 private:
  TensorView Take(DType dtype, const Shape& shape);

  GpuBench& gpu_;
  TensorPool pool_;
  std::vector<PooledTensor> tensors_;
};

// The GPU, of `--quick` or nothing on the command line; null after a line on stderr that says what
// is wrong with either.
std::unique_ptr<GpuBench> CreateGpuBench(int argc, char** argv);

}  // namespace liquid::bench

#endif  // LIQUID_BENCH_GPU_GPU_BENCH_H_
