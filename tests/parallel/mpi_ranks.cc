// Run under mpirun: every rank checks the MPI communicator's collectives. Exit code 1 and a line on
// stderr for the first that is wrong.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "parallel/mpi/mpi_session.h"

namespace liquid {
namespace {

void Expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "wrong: %s\n", what);
  MpiSession::AbortAll(1);
}

void CheckCollectives(Communicator& world) {
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
