// Collectives among the GPUs of this machine, one thread of this process for each, by the groups
// that training uses. Bus bandwidth, which does not depend on the number of ranks: bytes of the
// tensor / time * 2 (n - 1) / n for an all-reduce, (n - 1) / n for the others. Prints one table.
//
//   parallel.nccl_bench [MOST_MIB]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "base/check.h"
#include "parallel/nccl/nccl_group.h"
#include "parallel/thread/thread_communicator.h"
#include "tensor/pool.h"

namespace liquid {
namespace {

constexpr int kRepetitions = 10;

class Rank {
 public:
  Rank(GangCommunicator& hosts, int64_t most_bytes)
      : hosts_(hosts),
        device_(CreateCudaDevice(hosts.rank()).value()),
        stream_(device_->CreateStream().value()),
        pool_(*device_),
        group_(CreateNcclGroup(hosts, *stream_, {.name = "all GPUs"}).value()),
        large_(pool_.Allocate(DType::kI64, {most_bytes / SizeOf(DType::kI64)})),
        small_(pool_.Allocate(DType::kI64, {most_bytes / SizeOf(DType::kI64) / hosts.size()})) {}

  void Measure(DType dtype, int64_t num_bytes) {
    const int64_t part = num_bytes / SizeOf(dtype) / group_->size();
    const TensorView large(large_.view().data, dtype, {part * group_->size()});
    const TensorView small(small_.view().data, dtype, {part});
    const double all_reduce = Seconds([&] { group_->AllReduceSum(large); });
    const double reduce_scatter = Seconds([&] { group_->ReduceScatterPartsSum(small, large); });
    const double all_gather = Seconds([&] { group_->AllGatherParts(large, small); });
    if (group_->rank() != 0) return;
    const double share = static_cast<double>(group_->size() - 1) / group_->size();
    const double moved = share * static_cast<double>(large.NumBytes()) / 1e9;
    std::printf("%8.2f MB %-5s %14.1f %14.1f %14.1f\n", static_cast<double>(large.NumBytes()) / 1e6,
                DTypeName(dtype).data(), 2 * moved / all_reduce, moved / reduce_scatter,
                moved / all_gather);
    std::fflush(stdout);
  }

 private:
  template <typename Collective>
  double Seconds(const Collective& collective) {
    collective();
    CheckDone();
    LIQUID_CHECK(hosts_.AllGatherMessages("").ok());
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kRepetitions; ++i) collective();
    CheckDone();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    return elapsed.count() / kRepetitions;
  }
  void CheckDone() {
    const absl::Status status = group_->Wait(absl::InfiniteFuture());
    LIQUID_CHECK(status.ok(), status.ToString());
  }

  GangCommunicator& hosts_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Stream> stream_;
  TensorPool pool_;
  std::unique_ptr<GangCommunicator> group_;
  PooledTensor large_;
  PooledTensor small_;
};

int Main(int argc, char** argv) {
  const int64_t most_bytes = int64_t{argc > 1 ? std::atoi(argv[1]) : 1024} << 20;
  const absl::StatusOr<int> count = CountCudaDevices();
  if (!count.ok()) {
    std::fprintf(stderr, "%s\n", count.status().ToString().c_str());
    return EXIT_FAILURE;
  }
  std::printf("NCCL among %d GPUs, GB/s of the bus\n%-17s %14s %14s %14s\n", *count, "tensor",
              "all-reduce", "reduce-scatter", "all-gather");
  auto hosts = CreateThreadWorld(*count, absl::Seconds(60));
  std::vector<std::jthread> threads;
  for (auto& host : hosts) {
    threads.emplace_back([&host, most_bytes] {
      Rank rank(*host, most_bytes);
      for (const DType dtype : {DType::kI64, DType::kF32}) {
        for (int64_t bytes = most_bytes / 1024; bytes <= most_bytes; bytes *= 32) {
          rank.Measure(dtype, bytes);
        }
      }
    });
  }
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace liquid

int main(int argc, char** argv) { return liquid::Main(argc, argv); }
