// Run under mpirun, in emulation or with a GPU for each rank: every rank checks the groups of NCCL.
// nccl_ranks [all | stall | lag | absence]. Exit code 1 and a line on stderr for the first that is
// wrong.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "parallel/gang_mesh.h"
#include "parallel/mpi/mpi_session.h"
#include "parallel/nccl/nccl_group.h"
#include "parallel/overlapped_reduction.h"
#include "tensor/pool.h"

namespace liquid {
namespace {

void Expect(bool condition, const std::string& what) {
  if (condition) return;
  std::fprintf(stderr, "wrong: %s\n", what.c_str());
  MpiSession::AbortAll(1);
}

class Ranks {
 public:
  Ranks(MpiSession& session, GangCommunicator& hosts)
      : hosts_(hosts),
        device_(CreateCudaDevice(session.local_rank()).value()),
        stream_(device_->CreateStream().value()),
        beside_(device_->CreateStream().value()),
        pool_(*device_) {}

  void CheckCollectives() {
    const auto group = Group({.name = "all"});
    const int64_t size = group->size();
    const int64_t rank = group->rank();
    Expect(rank == hosts_.rank() && size == hosts_.size(), "places");
    auto counts = Upload(std::vector<int64_t>(100'003, rank + 1), DType::kI64);
    group->AllReduceSum(counts.view());
    auto root = Upload(std::vector<double>{static_cast<double>(rank) + 10}, DType::kF64);
    group->Broadcast(root.view(), static_cast<int>(size) - 1);
    Expect(group->Wait(absl::InfiniteFuture()).ok(), "wait");
    for (const int64_t sum : Download<int64_t>(counts)) Expect(sum == size * (size + 1) / 2, "sum");
    Expect(Download<double>(root)[0] == static_cast<double>(size) + 9, "broadcast");
    const auto words = group->AllGatherMessages(std::to_string(rank));
    Expect(words.ok() && words->back() == std::to_string(size - 1), "messages");
  }

  // Sums of floats to the bit as the hosts' group has them, which are in the order of ranks.
  void CheckParts() {
    const auto group = Group({.name = "parts"});
    const int64_t size = group->size();
    constexpr int64_t kPart = 5003;
    std::vector<float> in(static_cast<size_t>(kPart * size));
    for (size_t i = 0; i < in.size(); ++i) {
      in[i] = std::sin(static_cast<float>(i + 1000 * static_cast<size_t>(group->rank())));
    }
    std::vector<float> expected(static_cast<size_t>(kPart));
    hosts_.ReduceScatterPartsSum({expected.data(), {kPart}}, {in.data(), {kPart * size}});
    const PooledTensor parts = Upload(in, DType::kF32);
    const PooledTensor part = pool_.AllocateF32({kPart});
    const PooledTensor all = pool_.AllocateF32({kPart * size});
    group->ReduceScatterPartsSum(part.view(), parts.view());
    group->AllGatherParts(all.view(), part.view());
    ExpectEqual(Download<float>(part), expected, "reduce-scatter of floats");
    std::vector<float> gathered(in.size());
    hosts_.AllGatherParts({gathered.data(), {kPart * size}}, {expected.data(), {kPart}});
    ExpectEqual(Download<float>(all), gathered, "all-gather");

    const int last = static_cast<int>(size) - 1;
    std::vector<float> sums = in;
    hosts_.ReduceSum({sums.data(), {kPart * size}}, last);
    group->ReduceSum(parts.view(), last);
    ExpectEqual(Download<float>(parts), sums, "sum of floats at a root");
    Expect(group->Wait(absl::InfiniteFuture()).ok(), "wait");
  }

  // All groups of a mesh, and the reduction beside the computing on its own stream.
  void CheckMesh() {
    const int degree = hosts_.size() % 2 == 0 ? 2 : 1;
    const GangMesh mesh =
        GangMesh::Create(hosts_, degree,
                         {.stream = stream_.get(),
                          .beside = beside_.get(),
                          .create =
                              [](GangCommunicator& hosts, Stream& stream, const std::string& name) {
                                return CreateNcclGroup(hosts, stream, {.name = name});
                              }})
            .value();
    const int64_t slice = int64_t{3} << 18;
    const int64_t total = slice * mesh.num_replicas();
    std::vector<int64_t> own(static_cast<size_t>(total));
    for (int64_t i = 0; i < total; ++i) own[i] = i * (mesh.replica() + 1);
    const PooledTensor flat = Upload(own, DType::kI64);
    const PooledTensor sum = pool_.Allocate(DType::kI64, {slice});
    OverlappedReduction reduction(mesh.beside(), *stream_, mesh.beside_stream());
    for (int64_t end = total; end > 0; end -= total / 6) {
      reduction.Add(sum.view(), flat.view(), end - total / 6, end);
      const PooledTensor one = Upload(std::vector<int64_t>{1}, DType::kI64);
      mesh.tensor().AllReduceSum(one.view());
      Expect(Download<int64_t>(one)[0] == degree, "a sum beside a reduction");
    }
    reduction.Finish();
    const int64_t replicas = mesh.num_replicas();
    const auto sums = Download<int64_t>(sum);
    for (int64_t i = 0; i < slice; ++i) {
      const int64_t place = mesh.replica() * slice + i;
      Expect(sums[i] == place * replicas * (replicas + 1) / 2, "overlapped reduction");
    }
    Expect(Download<int64_t>(flat) == own, "what was reduced is as it was");
    Expect(mesh.Wait().ok(), "wait");
  }

  // What the hosts know, and an abort, end an operation that would wait for ever; the stream goes
  // on.
  void CheckFailures() {
    for (const bool by_hosts : {false, true}) {
      absl::Status peers;
      const auto group = Group({.name = "rail", .peers_status = [&peers] { return peers; }});
      const PooledTensor one = Upload(std::vector<int64_t>{1}, DType::kI64);
      if (group->rank() == 0) group->AllReduceSum(one.view());
      if (by_hosts) {
        peers = absl::UnavailableError("gang 7 is gone");
      } else {
        group->Abort(absl::AbortedError("generation 3 begins"));
      }
      const absl::Status status = group->Wait(absl::InfiniteFuture());
      if (group->rank() == 0 && group->size() > 1) {
        Expect(!status.ok(), "a failure");
        const char* const why = by_hosts ? "gang 7 is gone" : "generation 3 begins";
        Expect(status.message().find(why) != std::string_view::npos, status.ToString());
      }
      Expect(stream_->Synchronize().ok(), "the stream");
      group->Abort(absl::AbortedError("enough"));
      group->AllReduceSum(one.view());  // does nothing any more
      Expect(!group->Wait(absl::InfiniteFuture()).ok(), "calls after an abort");
    }
  }

  // The last rank never comes to an operation: the others name it, and the operation.
  void CheckStall(bool answers) {
    const auto group = Group({.name = "replicas",
                              .stall_timeout = absl::Seconds(1),
                              .roll_call = [this](const std::string& mine) {
                                return hosts_.RollCall(mine, absl::Seconds(2));
                              }});
    const int last = group->size() - 1;
    const PooledTensor one = Upload(std::vector<int64_t>(8, 1), DType::kI64);
    group->AllReduceSum(one.view());
    Expect(group->Wait(absl::InfiniteFuture()).ok(), "wait");
    if (group->rank() == last) {
      if (answers) hosts_.RollCall("1", absl::Seconds(4));
      absl::SleepFor(absl::Seconds(5));
      return;
    }
    group->AllReduceSum(one.view());
    const absl::Status status = group->Wait(absl::InfiniteFuture());
    Expect(absl::IsDeadlineExceeded(status), status.ToString());
    const std::string missing = "rank " + std::to_string(last) +
                                (answers ? " has come to operation 1" : " does not answer");
    for (const std::string& part : {std::string("'replicas'"),
                                    std::string("operation 1 (all-reduce of 64 bytes)"), missing}) {
      Expect(status.message().find(part) != std::string_view::npos,
             status.ToString() + " does not say: " + part);
    }
  }

  // Not all come: a deadline ends the forming.
  void CheckAbsence() {
    if (hosts_.rank() == hosts_.size() - 1) {
      hosts_.BroadcastMessage("", 0).IgnoreError();  // takes the id, and goes away
      absl::SleepFor(absl::Seconds(2));
      return;
    }
    const auto group = CreateNcclGroup(
        hosts_, *stream_, {.name = "rail", .deadline = absl::Now() + absl::Seconds(1)});
    Expect(absl::IsDeadlineExceeded(group.status()), group.status().ToString());
  }

 private:
  std::unique_ptr<GangCommunicator> Group(NcclOptions options) {
    return CreateNcclGroup(hosts_, *stream_, std::move(options)).value();
  }
  template <typename T>
  PooledTensor Upload(const std::vector<T>& values, DType dtype) {
    PooledTensor tensor = pool_.Allocate(dtype, {static_cast<int64_t>(values.size())});
    stream_->CopyFromHost(tensor.view().data, values.data(), values.size() * sizeof(T));
    Expect(stream_->Synchronize().ok(), "upload");
    return tensor;
  }
  template <typename T>
  std::vector<T> Download(const PooledTensor& tensor) {
    std::vector<T> values(static_cast<size_t>(tensor.view().NumElements()));
    stream_->CopyToHost(values.data(), tensor.view().data, values.size() * sizeof(T));
    Expect(stream_->Synchronize().ok(), "download");
    return values;
  }
  static void ExpectEqual(const std::vector<float>& a, const std::vector<float>& b,
                          const char* what) {
    Expect(a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0,
           what);
  }

  GangCommunicator& hosts_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Stream> beside_;
  TensorPool pool_;
};

void Run(const std::string& scenario, Ranks& ranks) {
  if (scenario == "stall") return ranks.CheckStall(/*answers=*/false);
  if (scenario == "lag") return ranks.CheckStall(/*answers=*/true);
  if (scenario == "absence") return ranks.CheckAbsence();
  ranks.CheckCollectives();
  ranks.CheckParts();
  ranks.CheckMesh();
  ranks.CheckFailures();
}

}  // namespace
}  // namespace liquid

int main(int argc, char** argv) {
  liquid::MpiSession session(&argc, &argv);
  const auto hosts = session.CreateWorld();
  liquid::Ranks ranks(session, *hosts);
  liquid::Run(argc > 1 ? argv[1] : "all", ranks);
  return EXIT_SUCCESS;
}
