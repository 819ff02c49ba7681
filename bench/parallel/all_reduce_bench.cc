// Sums of 100 MB over the ranks of an mpirun: MPI_Allreduce against a TcpGroup of the same
// processes, in turns. And how soon a peer learns of an abort and of a death.
//   mpirun -n 2 build/release/bench/parallel/bench.parallel.all_reduce_bench
//   build/release/bench/parallel/bench.parallel.all_reduce_bench deaths
#include <malloc.h>
#include <mpi.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "base/check.h"
#include "parallel/tcp/data_port.h"
#include "parallel/tcp/sentinel.h"
#include "parallel/tcp/tcp_group.h"

namespace liquid {
namespace {

constexpr int64_t kNumBytes = 100'000'000;
constexpr int kRounds = 7;

std::byte* MapHuge(size_t num_bytes) {
  void* memory =
      mmap(nullptr, num_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  LIQUID_CHECK(memory != MAP_FAILED);
  madvise(memory, num_bytes, MADV_HUGEPAGE);
  std::memset(memory, 1, num_bytes);
  return static_cast<std::byte*>(memory);
}

double Milliseconds(absl::Duration duration) { return absl::ToDoubleMilliseconds(duration); }

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double TimeOf(const std::function<void()>& call) {
  MPI_Barrier(MPI_COMM_WORLD);
  const absl::Time start = absl::Now();
  call();
  double own = Milliseconds(absl::Now() - start);
  double slowest = 0;
  MPI_Allreduce(&own, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return slowest;
}

// From SIGKILL until the peer of a worker with `num_bytes` sees the end of their connection.
double KillToHangup(size_t num_bytes, bool has_sentinel) {
  int ends[2];
  LIQUID_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  const pid_t worker = fork();
  if (worker == 0) {
    close(ends[0]);
    auto sentinel = Sentinel::Start();
    if (has_sentinel) (*sentinel)->Lend(ends[1]);
    void* memory =
        mmap(nullptr, num_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    std::memset(memory, 1, num_bytes);
    static_cast<void>(!write(ends[1], "r", 1));
    pause();
  }
  close(ends[1]);
  char letter = 0;
  LIQUID_CHECK(read(ends[0], &letter, 1) == 1);
  absl::SleepFor(absl::Milliseconds(50));
  const absl::Time start = absl::Now();
  kill(worker, SIGKILL);
  pollfd waiting{ends[0], POLLRDHUP, 0};
  poll(&waiting, 1, 60000);
  const double elapsed = Milliseconds(absl::Now() - start);
  waitpid(worker, nullptr, 0);
  close(ends[0]);
  return elapsed;
}

void ReportDeaths() {
  for (const bool has_sentinel : {false, true}) {
    std::vector<double> times;
    for (int i = 0; i < 3; ++i) times.push_back(KillToHangup(size_t{1} << 30, has_sentinel));
    std::printf("kill -9 of a worker of 1 GiB %s sentinel: its peer knows after %.1f ms\n",
                has_sentinel ? "with a" : "without", Median(times));
  }
}

class Ranks {
 public:
  Ranks(int rank, int size) : rank_(rank), size_(size), port_(*DataPort::Open("127.0.0.1")) {
    std::vector<char> all(static_cast<size_t>(size * kAddressBytes));
    std::string own = port_->address();
    own.resize(kAddressBytes);
    MPI_Allgather(own.data(), kAddressBytes, MPI_CHAR, all.data(), kAddressBytes, MPI_CHAR,
                  MPI_COMM_WORLD);
    for (int r = 0; r < size; ++r) addresses_.push_back({&all[r * kAddressBytes]});
  }

  std::unique_ptr<TcpGroup> Form(bool uses_unix) {
    TcpGroup::Options options;
    options.job = "bench";
    options.generation = ++generation_;
    options.addresses = addresses_;
    if (!uses_unix) {
      for (auto& gang : options.addresses) gang[0] += "elsewhere";
    }
    options.gang = rank_;
    options.stall_timeout = absl::Seconds(60);
    auto group = std::make_unique<TcpGroup>(*port_, options, nullptr);
    const absl::Status formed = group->Form(absl::Now() + absl::Seconds(20));
    LIQUID_CHECK(formed.ok(), formed.ToString());
    return group;
  }

  void CompareSums(DType dtype, MPI_Datatype type, const char* name) {
    std::byte* const memory = MapHuge(kNumBytes);
    std::memset(memory, 0, kNumBytes);
    const int64_t count = kNumBytes / SizeOf(dtype);
    const TensorView tensor(memory, dtype, {count});
    const auto by_unix = Form(/*uses_unix=*/true);
    const auto by_tcp = Form(/*uses_unix=*/false);
    std::vector<double> mpi;
    std::vector<double> nonblocking;
    std::vector<double> over_unix;
    std::vector<double> over_tcp;
    for (int round = 0; round <= kRounds; ++round) {
      const double times[] = {TimeOf([&] {
                                MPI_Allreduce(MPI_IN_PLACE, memory, static_cast<int>(count), type,
                                              MPI_SUM, MPI_COMM_WORLD);
                              }),
                              TimeOf([&] { by_unix->AllReduceSum(tensor); }),
                              TimeOf([&] { by_tcp->AllReduceSum(tensor); }), TimeOf([&] {
                                MPI_Request request = MPI_REQUEST_NULL;
                                MPI_Iallreduce(MPI_IN_PLACE, memory, static_cast<int>(count), type,
                                               MPI_SUM, MPI_COMM_WORLD, &request);
                                MPI_Wait(&request, MPI_STATUS_IGNORE);
                              })};
      if (round == 0) continue;  // touches what is touched once
      mpi.push_back(times[0]);
      over_unix.push_back(times[1]);
      over_tcp.push_back(times[2]);
      nonblocking.push_back(times[3]);
    }
    LIQUID_CHECK(by_unix->Wait(absl::InfiniteFuture()).ok());
    LIQUID_CHECK(by_tcp->Wait(absl::InfiniteFuture()).ok());
    if (rank_ == 0) {
      const double peer = Median(mpi);
      std::printf(
          "%s, 100 MB, %d ranks: MPI_Allreduce %.1f ms; Unix %.1f (%.2fx); TCP %.1f (%.2fx); "
          "MPI_Iallreduce %.1f (%.2fx)\n",
          name, size_, peer, Median(over_unix), Median(over_unix) / peer, Median(over_tcp),
          Median(over_tcp) / peer, Median(nonblocking), Median(nonblocking) / peer);
    }
    munmap(memory, kNumBytes);
  }

  void ReportForming() {
    std::vector<double> times;
    for (int i = 0; i < 20; ++i) {
      std::unique_ptr<TcpGroup> group;
      times.push_back(TimeOf([&] { group = Form(/*uses_unix=*/true); }));
    }
    if (rank_ == 0) std::printf("forming a group of %d: %.2f ms\n", size_, Median(times));
  }

  void ReportAborts() {
    std::vector<double> times;
    for (int i = 0; i < 10; ++i) {
      const auto group = Form(/*uses_unix=*/true);
      absl::Time aborted_at;
      int64_t one = 1;
      std::thread other([&] {
        absl::SleepFor(absl::Milliseconds(20));
        aborted_at = absl::Now();
        if (rank_ == 0) group->Abort(absl::AbortedError("measured"));
      });
      if (rank_ == 0) group->Receive(&one, 1, 1);
      const absl::Time returned_at = absl::Now();
      other.join();
      times.push_back(Milliseconds(returned_at - aborted_at));
      MPI_Barrier(MPI_COMM_WORLD);
    }
    if (rank_ == 0) std::printf("abort to the waiting call's return: %.2f ms\n", Median(times));
  }

 private:
  static constexpr int kAddressBytes = 256;

  const int rank_;
  const int size_;
  std::unique_ptr<DataPort> port_;
  std::vector<std::vector<std::string>> addresses_;
  int64_t generation_ = 0;
};

}  // namespace
}  // namespace liquid

int main(int argc, char** argv) {
  // For both sides: memory that was touched once stays.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 64 << 20);
  if (argc > 1 && std::string(argv[1]) == "deaths") {
    liquid::ReportDeaths();
    return 0;
  }
  MPI_Init(&argc, &argv);
  int rank = 0;
  int size = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  if (size > 1) {
    liquid::Ranks ranks(rank, size);
    ranks.CompareSums(liquid::DType::kI64, MPI_INT64_T, "int64");
    ranks.CompareSums(liquid::DType::kF32, MPI_FLOAT, "float32");
    ranks.ReportForming();
    ranks.ReportAborts();
  }
  MPI_Finalize();
  return 0;
}
