#include "worker/measured_machine.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "base/hash.h"
#include "base/status.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/ops.h"
#include "kernels/plan/op_timing.h"
#include "tensor/pool.h"

namespace liquid {
namespace {

// Members stand on those before them.
struct DeviceToMeasure {
  std::shared_ptr<Device> device;
  std::unique_ptr<Stream> stream;
  std::unique_ptr<Ops> ops;
  std::unique_ptr<OpTimer> timer;
};

template <typename Fn>
double BestSeconds(const Fn& fn) {
  absl::Duration best = absl::InfiniteDuration();
  for (int i = 0; i < 3; ++i) {
    const absl::Time start = absl::Now();
    fn();
    best = std::min(best, absl::Now() - start);
  }
  return absl::ToDoubleSeconds(best);
}

// Bytes that are read and written in a second.
absl::StatusOr<double> CopyBandwidth(DeviceToMeasure& it) {
  constexpr int64_t kElements = 8 << 20;  // beyond what caches hold
  TensorPool pool(*it.device);
  const PooledTensor from = pool.AllocateF32({kElements});
  const PooledTensor to = pool.AllocateF32({kElements});
  absl::Status status;
  const double seconds = BestSeconds([&] {
    it.ops->Copy(to.view(), from.view());
    status = it.stream->Synchronize();
  });
  LIQUID_RETURN_IF_ERROR(status);
  return 2.0 * kElements * sizeof(float) / seconds;
}

double HashBandwidth() {
  constexpr int64_t kTaskBytes = 1 << 20;
  const std::vector<char> bytes(kTaskBytes, 'x');
  const int64_t tasks = 4 * MaxThreads();
  const double seconds = BestSeconds([&] {
    ParallelFor(tasks, [&](int64_t) {
      const volatile uint64_t use = HashBytes({bytes.data(), bytes.size()}).low;
      static_cast<void>(use);
    });
  });
  return static_cast<double>(tasks * kTaskBytes) / seconds;
}

}  // namespace

absl::StatusOr<Machine> MeasuredMachine(std::shared_ptr<Device> device, int ranks_on_machine) {
  // Ranks of CPUs meet in memory: what is sent is written there and read from there.
  constexpr double kCopiesOfMessage = 4;
  constexpr double kCpuNetwork = 1.25e9;  // 10 Gbit/s
  constexpr double kGpuLink = 300e9;      // NVLink of the oldest GPU that is supported
  constexpr double kGpuNetwork = 25e9;    // 200 Gbit/s
  constexpr double kGpuToHost = 20e9;     // PCIe
  constexpr OpTimer::Limits kOfGpu = {.flops = 1e12, .bytes = 512 << 20};
  const bool is_cpu = device->type() == DeviceType::kCpu;
  auto it = std::make_shared<DeviceToMeasure>();
  it->device = std::move(device);
  LIQUID_ASSIGN_OR_RETURN(it->stream, it->device->CreateStream());
  it->ops = CreateOps(*it->stream);
  it->timer = std::make_unique<OpTimer>(*it->ops, *it->stream, is_cpu ? OpTimer::Limits() : kOfGpu);
  Machine machine;
  machine.name = is_cpu ? "cpu" : "cuda";
  machine.type = it->device->type();
  machine.memory_bytes = static_cast<double>(it->device->TotalBytes(ranks_on_machine));
  LIQUID_ASSIGN_OR_RETURN(machine.bandwidth, CopyBandwidth(*it));
  machine.link_bandwidth = is_cpu ? machine.bandwidth / kCopiesOfMessage : kGpuLink;
  machine.network_bandwidth = is_cpu ? kCpuNetwork : kGpuNetwork;
  machine.host_bandwidth = is_cpu ? 0 : kGpuToHost;
  machine.hash_bandwidth = HashBandwidth();
  machine.measured = [it](const OpCall& call) { return it->timer->Seconds(call); };
  return machine;
}

}  // namespace liquid
