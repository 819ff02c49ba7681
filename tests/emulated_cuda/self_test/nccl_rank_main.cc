// One rank of nccl_test: nccl_rank SCENARIO RANK NUM_RANKS ID. Exits 0 if all is as it should be.
#include <nccl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tests/emulated_cuda/self_test/device_array.h"

namespace liquid::emulated {
namespace {

void Require(bool condition, const char* what) {
  if (condition) return;
  fprintf(stderr, "not so: %s\n", what);
  _exit(1);
}
#define REQUIRE(condition) Require((condition), #condition)

struct Rank {
  int rank;
  int num_ranks;
  ncclComm_t communicator;
};

// More than fits into a slot or a mailbox.
constexpr size_t kLong = 300001;
constexpr size_t kPiece = 1000;

std::vector<float> Multiples(size_t count, int factor) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i)
    values[i] = static_cast<float>(factor * static_cast<int>(i % 7));
  return values;
}

void Collectives(const Rank& self) {
  const int n = self.num_ranks;
  const DeviceArray<float> own(Multiples(kLong, self.rank + 1));
  const DeviceArray<float> result(kLong);
  REQUIRE(ncclAllReduce(own.data(), result.data(), kLong, ncclFloat32, ncclSum, self.communicator,
                        nullptr) == ncclSuccess);
  REQUIRE(result.Values() == Multiples(kLong, n * (n + 1) / 2));
  REQUIRE(ncclAllReduce(own.data(), result.data(), kLong, ncclFloat32, ncclMax, self.communicator,
                        nullptr) == ncclSuccess);
  REQUIRE(result.Values() == Multiples(kLong, n));
  REQUIRE(ncclBroadcast(own.data(), result.data(), kLong, ncclFloat32, n - 1, self.communicator,
                        nullptr) == ncclSuccess);
  REQUIRE(result.Values() == Multiples(kLong, n));
  REQUIRE(ncclReduce(own.data(), result.data(), kLong, ncclFloat32, ncclSum, 0, self.communicator,
                     nullptr) == ncclSuccess);
  REQUIRE(result.Values() == Multiples(kLong, self.rank == 0 ? n * (n + 1) / 2 : n));

  std::vector<int64_t> numbers(kPiece * static_cast<size_t>(n));
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<int64_t>(i) << 40;
  const DeviceArray<int64_t> all(numbers);
  const DeviceArray<int64_t> piece(kPiece);
  const DeviceArray<int64_t> whole(numbers.size());
  REQUIRE(ncclReduceScatter(all.data(), piece.data(), kPiece, ncclInt64, ncclSum, self.communicator,
                            nullptr) == ncclSuccess);
  REQUIRE(ncclAllGather(piece.data(), whole.data(), kPiece, ncclInt64, self.communicator,
                        nullptr) == ncclSuccess);
  std::vector<int64_t> sums = numbers;
  for (int64_t& sum : sums) sum *= n;
  REQUIRE(whole.Values() == sums);
  REQUIRE(ncclAlltoAll(all.data(), whole.data(), kPiece, ncclInt64, self.communicator, nullptr) ==
          ncclSuccess);
  const std::vector<int64_t> pieces = whole.Values();
  for (size_t i = 0; i < pieces.size(); ++i) {
    REQUIRE(pieces[i] == numbers[static_cast<size_t>(self.rank) * kPiece + i % kPiece]);
  }
}

void Ring(const Rank& self) {
  const DeviceArray<float> own(Multiples(kLong, self.rank + 1));
  const DeviceArray<float> result(kLong);
  const int next = (self.rank + 1) % self.num_ranks;
  const int previous = (self.rank + self.num_ranks - 1) % self.num_ranks;
  REQUIRE(ncclGroupStart() == ncclSuccess);
  REQUIRE(ncclSend(own.data(), kLong, ncclFloat32, next, self.communicator, nullptr) ==
          ncclSuccess);
  REQUIRE(ncclRecv(result.data(), kLong, ncclFloat32, previous, self.communicator, nullptr) ==
          ncclSuccess);
  REQUIRE(ncclGroupEnd() == ncclSuccess);
  REQUIRE(result.Values() == Multiples(kLong, previous + 1));
}

// Two communicators on two streams, whose collectives the ranks enqueue in opposite order, while
// each rank waits for one stream only.
void Split(const Rank& self) {
  ncclComm_t half = nullptr;
  REQUIRE(ncclCommSplit(self.communicator, self.rank % 2, -self.rank, &half, nullptr) ==
          ncclSuccess);
  int half_size = 0;
  REQUIRE(ncclCommCount(half, &half_size) == ncclSuccess);
  cudaStream_t streams[2];
  for (cudaStream_t& stream : streams) cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  const DeviceArray<float> of_all(std::vector<float>(5, 1.0f));
  const DeviceArray<float> of_half(std::vector<float>(5, 1.0f));
  for (int turn = 0; turn < 2; ++turn) {
    const bool takes_all = (turn + self.rank / 2) % 2 == 0;
    float* const x = takes_all ? of_all.data() : of_half.data();
    REQUIRE(ncclAllReduce(x, x, 5, ncclFloat32, ncclSum, takes_all ? self.communicator : half,
                          streams[takes_all ? 0 : 1]) == ncclSuccess);
  }
  const int first = self.rank / 2 % 2;
  REQUIRE(cudaStreamSynchronize(streams[first]) == cudaSuccess);
  REQUIRE(cudaStreamSynchronize(streams[1 - first]) == cudaSuccess);
  REQUIRE(of_all.Values()[0] == static_cast<float>(self.num_ranks));
  REQUIRE(of_half.Values()[0] == static_cast<float>(half_size));
  for (cudaStream_t stream : streams) cudaStreamDestroy(stream);
  ncclCommDestroy(half);
}

// What a trainer does: a thread watches for errors, and aborts what would wait for ever.
ncclResult_t ReduceUnderWatch(const Rank& self, size_t count) {
  const DeviceArray<float> x(std::vector<float>(64, 1.0f));
  ncclResult_t seen = ncclSuccess;
  std::thread watch([&] {
    while (ncclCommGetAsyncError(self.communicator, &seen) == ncclSuccess && seen == ncclSuccess) {
      usleep(1000);
    }
    ncclCommAbort(self.communicator);
  });
  REQUIRE(ncclAllReduce(x.data(), x.data(), count, ncclFloat32, ncclSum, self.communicator,
                        nullptr) == ncclSuccess);
  REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  watch.join();
  return seen;
}

void Mismatch(const Rank& self) {
  REQUIRE(ReduceUnderWatch(self, self.rank == 1 ? 32 : 64) == ncclInvalidUsage);
}

void Death(const Rank& self) {
  if (self.rank == 1) raise(SIGKILL);
  REQUIRE(ReduceUnderWatch(self, 64) == ncclRemoteError);
}

// Rank 1 never comes.
void Absence(int rank, int num_ranks, const ncclUniqueId& id) {
  if (rank == 1) return;
  ncclComm_t communicator = nullptr;
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  REQUIRE(ncclCommInitRankConfig(&communicator, num_ranks, id, rank, &config) == ncclInProgress);
  ncclResult_t state = ncclSuccess;
  REQUIRE(ncclCommGetAsyncError(communicator, &state) == ncclSuccess && state == ncclInProgress);
  REQUIRE(ncclCommAbort(communicator) == ncclSuccess);
}

}  // namespace
}  // namespace liquid::emulated

int main(int argc, char** argv) {
  using namespace liquid::emulated;
  if (argc != 5) return 2;
  const std::string scenario = argv[1];
  Rank self{atoi(argv[2]), atoi(argv[3]), nullptr};
  setenv("LIQUID_EMULATED_DEVICES", argv[3], 1);
  ncclUniqueId id{};
  snprintf(id.internal, sizeof id.internal, "%s", argv[4]);
  if (scenario == "sharing") {
    REQUIRE(ncclCommInitRank(&self.communicator, self.num_ranks, id, self.rank) ==
            ncclInvalidUsage);
    return 0;
  }
  REQUIRE(cudaSetDevice(self.rank) == cudaSuccess);
  if (scenario == "absence") {
    Absence(self.rank, self.num_ranks, id);
    return 0;
  }
  REQUIRE(ncclCommInitRank(&self.communicator, self.num_ranks, id, self.rank) == ncclSuccess);
  if (scenario == "mismatch" || scenario == "death") {
    (scenario == "death" ? Death : Mismatch)(self);
    return 0;
  }
  Collectives(self);
  Ring(self);
  Split(self);
  REQUIRE(ncclCommDestroy(self.communicator) == ncclSuccess);
  return 0;
}
