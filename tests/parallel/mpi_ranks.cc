// Run under mpirun: every rank checks the MPI communicator's collectives. Exit code 1 and a line on
// stderr for the first that is wrong.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "parallel/mpi/mpi_session.h"
#include "parallel/overlapped_reduction.h"
#include "tensor/device.h"

namespace liquid {
namespace {

void Expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "wrong: %s\n", what);
  MpiSession::AbortAll(1);
}

void CheckCollectives(GangCommunicator& world) {
  const int64_t size = world.size();
  const int64_t rank = world.rank();
  // More than one piece of an all-reduce.
  std::vector<int64_t> counts((size_t{1} << 20) + 3, rank + 1);
  world.AllReduceSum(TensorView(counts.data(), DType::kI64, {static_cast<int64_t>(counts.size())}));
  for (const int64_t count : counts) Expect(count == size * (size + 1) / 2, "int64 sum");

  std::vector<float> values = {static_cast<float>(rank), 2};
  world.AllReduceSum({values.data(), {2}});
  Expect(values[0] == static_cast<float>(size * (size - 1) / 2), "float sum");
  Expect(values[1] == static_cast<float>(2 * size), "float sum");

  float root = static_cast<float>(rank) + 10;
  world.Broadcast({&root, {1}}, static_cast<int>(size) - 1);
  Expect(root == static_cast<float>(size) + 9, "broadcast");
  Expect(world.Wait(absl::InfiniteFuture()).ok(), "wait");

  const auto all = world.AllGatherMessages(std::string(static_cast<size_t>(rank), 'r'));
  Expect(all.ok() && all->size() == static_cast<size_t>(size), "all-gather");
  for (size_t r = 0; r < all->size(); ++r) Expect((*all)[r] == std::string(r, 'r'), "all-gather");

  // More than one piece of a reduce-scatter.
  const int64_t part = (int64_t{1} << 20) + 5;
  std::vector<float> in(static_cast<size_t>(part * size));
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i % 97) + values[0];
  std::vector<float> out(static_cast<size_t>(part));
  world.ReduceScatterPartsSum({out.data(), {part}}, {in.data(), {part * size}});
  for (int64_t i = 0; i < part; ++i) {
    const float expected = static_cast<float>(size) * in[static_cast<size_t>(rank * part + i)];
    Expect(out[static_cast<size_t>(i)] == expected, "reduce-scatter of parts");
  }
  std::vector<int64_t> sums(static_cast<size_t>(part), rank);
  sums.back() = 7;
  world.ReduceSum(TensorView(sums.data(), DType::kI64, {part}), static_cast<int>(size) - 1);
  const bool is_root = rank == size - 1;
  Expect(sums[0] == (is_root ? size * (size - 1) / 2 : rank), "sum at a root");
  Expect(sums.back() == (is_root ? 7 * size : 7), "sum at a root");
  world.AllGatherParts({in.data(), {part * size}}, {out.data(), {part}});
  for (int64_t r = 0; r < size; ++r) {
    const float expected =
        static_cast<float>(size) * (static_cast<float>(r * part % 97) + values[0]);
    Expect(in[static_cast<size_t>(r * part)] == expected, "all-gather of parts");
  }
  const auto half = world.Split(static_cast<int>(rank % 2));
  int64_t members = 1;
  half->AllReduceSum(TensorView(&members, DType::kI64, {1}));
  Expect(members == half->size() && half->rank() == rank / 2, "split");

  // Two groups at once, from two threads.
  const int64_t slice = int64_t{3} << 19;
  std::vector<int64_t> flat(static_cast<size_t>(slice * half->size()), rank);
  std::vector<int64_t> reduced(static_cast<size_t>(slice));
  const TensorView flat_view(flat.data(), DType::kI64, {slice * half->size()});
  const auto device = CreateCpuDevice();
  const auto stream = *device->CreateStream();
  OverlappedReduction reduction(*half, *stream);
  const int64_t part_of_flat = flat_view.NumElements() / 8;
  for (int64_t end = flat_view.NumElements(); end > 0; end -= part_of_flat) {
    reduction.Add(TensorView(reduced.data(), DType::kI64, {slice}), flat_view, end - part_of_flat,
                  end);
    int64_t one = 1;
    world.AllReduceSum(TensorView(&one, DType::kI64, {1}));
    Expect(one == size, "sum beside a reduction");
  }
  reduction.Finish();
  int64_t of_half = 0;
  for (int64_t r = rank % 2; r < size; r += 2) of_half += r;
  for (const int64_t sum : reduced) Expect(sum == of_half, "overlapped reduction");

  world.Abort(absl::AbortedError("enough"));
  Expect(world.Wait(absl::InfiniteFuture()).code() == absl::StatusCode::kAborted, "abort");
  Expect(!world.BroadcastMessage("", 0).ok(), "calls after an abort");
}

}  // namespace
}  // namespace liquid

int main(int argc, char** argv) {
  liquid::MpiSession session(&argc, &argv);
  auto world = session.CreateWorld();
  liquid::CheckCollectives(*world);
  return EXIT_SUCCESS;
}
