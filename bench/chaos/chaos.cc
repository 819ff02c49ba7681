// bench.chaos DIRECTORY [SCHEDULES [FIRST_SEED]]: the whole chaos suite. Prints a line for each
// schedule and the sums; exit code 1 if one of them came out wrong. What went wrong stays in
// DIRECTORY.
#include <cstdio>
#include <cstdlib>

#include "absl/time/time.h"
#include "tests/chaos/chaos_schedule.h"

int main(int argc, char** argv) {
  using liquid::testing::ChaosCounts;
  using liquid::testing::ChaosJob;
  using liquid::testing::ChaosResult;
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s DIRECTORY [SCHEDULES [FIRST_SEED]]\n", argv[0]);
    return 2;
  }
  const int num_schedules = argc > 2 ? std::atoi(argv[2]) : 200;
  const int first_seed = argc > 3 ? std::atoi(argv[3]) : 1;
  const ChaosJob job(argv[1]);
  if (job.fingerprint().empty()) {
    std::fprintf(stderr, "the undisturbed run failed:\n%s\n", job.problem().c_str());
    return 1;
  }
  ChaosCounts total;
  int num_bad = 0;
  double seconds = 0;
  for (int i = 0; i < num_schedules; ++i) {
    const ChaosResult result = job.Run(first_seed + i, absl::Seconds(180));
    total += result.counts;
    seconds += result.seconds;
    num_bad += result.problem.empty() ? 0 : 1;
    std::printf(
        "seed %d: %5.1f s, kills %d, freezes %d, joins %d, drains %d, coordinator kills %d%s%s\n",
        first_seed + i, result.seconds, result.counts.kills, result.counts.freezes,
        result.counts.joins, result.counts.drains, result.counts.coordinator_kills,
        result.problem.empty() ? "" : "  WRONG: ", result.problem.c_str());
    std::fflush(stdout);
  }
  std::printf(
      "%d schedules, %d wrong; %d kills, %d freezes, %d joins, %d drains, %d coordinator "
      "kills, %d other orders; %.0f s\n",
      num_schedules, num_bad, total.kills, total.freezes, total.joins, total.drains,
      total.coordinator_kills, total.verbs, seconds);
  return num_bad == 0 ? 0 : 1;
}
