// Many seeded schedules of the coordinator in virtual time (tests/coordinator/simulation.h), one
// after the other:
//   bench.coordinator.simulate [NUM_SCHEDULES [FIRST_SEED]]
// Prints what happened in them. Ends with 1, and the last events of the schedule, at a violation.
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "absl/time/clock.h"
#include "tests/coordinator/simulation.h"

namespace liquid {
namespace {

using ::liquid::testing::Simulation;
using ::liquid::testing::SimulationCounts;

void Print(const SimulationCounts& counts, double seconds) {
  const struct {
    const char* what;
    int64_t count;
  } lines[] = {{"schedules", counts.schedules},
               {"gangs killed", counts.kills},
               {"gangs frozen", counts.freezes},
               {"gangs stuck in a slot", counts.stuck},
               {"regroups around stuck gangs", counts.hedges},
               {"joins", counts.joins},
               {"drains", counts.drains},
               {"streams broken", counts.broken_streams},
               {"messages of dead streams", counts.late_messages},
               {"coordinator crashes", counts.coordinator_crashes},
               {"pause, resume, save, stop", counts.verbs},
               {"generations", counts.generations},
               {"steps committed", counts.commits},
               {"steps voided (all gangs gone)", counts.voided_steps},
               {"slots kept over a regroup", counts.kept_slots},
               {"steals", counts.steals},
               {"slots audited", counts.audits},
               {"liars started", counts.liars},
               {"liars found", counts.liars_found},
               {"disputes of two gangs alone", counts.undecided},
               {"violations", counts.violations}};
  for (const auto& line : lines) {
    std::printf("%-30s %12lld\n", line.what, static_cast<long long>(line.count));
  }
  std::printf("%-30s %12.1f\n", "seconds", seconds);
}

int Main(int argc, char** argv) {
  const int64_t num_schedules = argc > 1 ? std::atoll(argv[1]) : 100000;
  const int64_t first = argc > 2 ? std::atoll(argv[2]) : 1;
  const absl::Time start = absl::Now();
  SimulationCounts counts;
  for (int64_t seed = first; seed < first + num_schedules; ++seed) {
    Simulation simulation(static_cast<uint64_t>(seed));
    simulation.Run();
    counts.Add(simulation.counts());
    if (simulation.violations().empty()) continue;
    std::printf("%sseed %lld\n", simulation.Trace().c_str(), static_cast<long long>(seed));
    Print(counts, absl::ToDoubleSeconds(absl::Now() - start));
    return 1;
  }
  Print(counts, absl::ToDoubleSeconds(absl::Now() - start));
  return 0;
}

}  // namespace
}  // namespace liquid

int main(int argc, char** argv) { return liquid::Main(argc, argv); }
