#include "bench/gpu/gpu_bench.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <string_view>
#include <utility>

#include "base/check.h"

namespace liquid::bench {
namespace {

constexpr int kGroups = 5;
constexpr double kGroupSeconds = 0.03;
constexpr double kMostCalls = 1000;

}  // namespace

GpuBench::GpuBench(std::unique_ptr<Device> device, bool quick)
    : device_(std::move(device)),
      quick_(quick),
      stream_(device_->CreateStream().value()),
      ops_(CreateOps(*stream_)),
      pattern_(*stream_, *ops_, 1.0f) {}

void GpuBench::Synchronize() {
  const absl::Status done = stream_->Synchronize();
  LIQUID_CHECK(done.ok(), done.ToString());
}

double GpuBench::Seconds(const std::function<void()>& enqueue) {
  const auto seconds_of_one = [&](int64_t calls) {
    const auto start = std::chrono::steady_clock::now();
    for (int64_t i = 0; i < calls; ++i) enqueue();
    Synchronize();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    return elapsed.count() / static_cast<double>(calls);
  };
  const double first = seconds_of_one(1);  // chooses algorithms and takes scratch memory
  if (quick_) return first;
  const double once = seconds_of_one(1);
  const auto calls = static_cast<int64_t>(std::clamp(kGroupSeconds / once, 1.0, kMostCalls));
  seconds_of_one(calls);  // clocks rise
  std::array<double, kGroups> groups;
  for (double& seconds : groups) seconds = seconds_of_one(calls);
  std::sort(groups.begin(), groups.end());
  return groups[kGroups / 2];
}

Ceilings GpuBench::MeasurePeakFlops() {
  Ceilings ceilings;
  ceilings.side = quick_ ? 256 : 8192;
  const Shape square = {ceilings.side, ceilings.side};
  GroupTensors tensors(*this);
  const TensorView a = tensors.Random(DType::kBF16, square);
  const TensorView b = tensors.Random(DType::kBF16, square);
  const TensorView out = tensors.Zeros(DType::kBF16, square);
  const double flops = 2.0 * static_cast<double>(square.NumElements() * ceilings.side);
  ceilings.flops_per_second =
      flops / Seconds([&] { ops_->MatMul(out, a, b, {.transpose_b = true}); });
  return ceilings;
}

Ceilings GpuBench::MeasureCeilings() {
  Ceilings ceilings = MeasurePeakFlops();
  GroupTensors tensors(*this);
  const int64_t count = int64_t{1} << (quick_ ? 20 : 28);
  const TensorView in = tensors.Random(DType::kF32, {count});
  const TensorView out = tensors.Zeros(DType::kF32, {count});
  ceilings.copied_bytes = in.NumBytes();
  ceilings.bytes_per_second =
      2.0 * static_cast<double>(in.NumBytes()) / Seconds([&] { ops_->Copy(out, in); });
  return ceilings;
}

TensorView GroupTensors::Take(DType dtype, const Shape& shape) {
  tensors_.push_back(pool_.Allocate(dtype, shape));
  return tensors_.back().view();
}

TensorView GroupTensors::Zeros(DType dtype, const Shape& shape) {
  const TensorView tensor = Take(dtype, shape);
  gpu_.ops().Fill(tensor, 0.0f);  // of a GPU, which fills any dtype with zeros
  return tensor;
}

TensorView GroupTensors::Random(DType dtype, const Shape& shape, float deviation) {
  const TensorView tensor = Take(dtype, shape);
  gpu_.pattern().Fill(tensor);
  if (deviation != 1.0f) gpu_.ops().Scale(tensor, tensor, deviation);
  return tensor;
}

const int32_t* GroupTensors::Ints(const std::vector<int32_t>& values) {
  const TensorView tensor = Take(DType::kI32, {static_cast<int64_t>(values.size())});
  gpu_.stream().CopyFromHost(tensor.data, values.data(), values.size() * sizeof(int32_t));
  gpu_.Synchronize();
  return static_cast<const int32_t*>(tensor.data);
}

std::unique_ptr<GpuBench> CreateGpuBench(int argc, char** argv) {
  const bool quick = argc == 2 && std::string_view(argv[1]) == "--quick";
  if (argc > 1 && !quick) {
    std::fprintf(stderr, "usage: %s [--quick]\n", argv[0]);
    return nullptr;
  }
  absl::StatusOr<std::unique_ptr<Device>> device = CreateCudaDevice(0);
  if (!device.ok()) {
    std::fprintf(stderr, "%s: %s\n", argv[0], device.status().ToString().c_str());
    return nullptr;
  }
  return std::make_unique<GpuBench>(*std::move(device), quick);
}

}  // namespace liquid::bench
