// bench.chaos DIRECTORY [SCHEDULES [FIRST_SEED [AT_ONCE]]]: the whole chaos suite. Prints a line
// for each schedule and the sums; exit code 1 if one of them came out wrong. What went wrong stays
// in DIRECTORY. AT_ONCE schedules run side by side, one unless told otherwise.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "tests/chaos/chaos_schedule.h"

namespace liquid::testing {
namespace {

struct Sums {
  ChaosCounts counts;
  int schedules = 0;
  int wrong = 0;
  double seconds = 0;
};

std::string Describe(const ChaosCounts& counts) {
  std::string text = absl::StrFormat(
      "kills %d, freezes %d, joins %d, drains %d, coordinator kills %d, other orders %d; slots: "
      "finished %d, lost %d, recomputed %d; hits:",
      counts.kills, counts.freezes, counts.joins, counts.drains, counts.coordinator_kills,
      counts.verbs, counts.finished_slots, counts.lost_slots, counts.recomputed_slots);
  for (size_t i = 0; i < counts.hits.size(); ++i) {
    absl::StrAppendFormat(&text, "%s %s %d", i == 0 ? "" : ",", kPhaseNames[i], counts.hits[i]);
  }
  return text;
}

void Add(int seed, const ChaosResult& result, Sums* sums) {
  sums->counts += result.counts;
  ++sums->schedules;
  sums->wrong += result.problem.empty() ? 0 : 1;
  sums->seconds += result.seconds;
  std::printf("seed %d: %5.1f s; %s%s%s\n", seed, result.seconds, Describe(result.counts).c_str(),
              result.problem.empty() ? "" : "  WRONG: ", result.problem.c_str());
  std::fflush(stdout);
}

int Main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s DIRECTORY [SCHEDULES [FIRST_SEED [AT_ONCE]]]\n", argv[0]);
    return 2;
  }
  const int num_schedules = argc > 2 ? std::atoi(argv[2]) : 200;
  const int first_seed = argc > 3 ? std::atoi(argv[3]) : 1;
  const int at_once = argc > 4 ? std::atoi(argv[4]) : 1;
  const ChaosJob job(argv[1]);
  if (job.fingerprint().empty()) {
    std::fprintf(stderr, "the undisturbed run failed:\n%s\n", job.problem().c_str());
    return 1;
  }
  Sums sums;
  Mutex mutex;  // of sums and the output
  std::atomic<int> next = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < at_once; ++i) {
    threads.emplace_back([&] {
      for (int schedule = next++; schedule < num_schedules; schedule = next++) {
        const int seed = first_seed + schedule;
        const ChaosResult result = job.Run(static_cast<uint64_t>(seed), absl::Seconds(180));
        const MutexLock lock(mutex);
        Add(seed, result, &sums);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::printf("%d schedules, %d wrong; %s; %.0f s\n", sums.schedules, sums.wrong,
              Describe(sums.counts).c_str(), sums.seconds);
  return sums.wrong == 0 ? 0 : 1;
}

}  // namespace
}  // namespace liquid::testing

int main(int argc, char** argv) { return liquid::testing::Main(argc, argv); }
