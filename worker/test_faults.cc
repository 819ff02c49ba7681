#include "worker/test_faults.h"

#include <unistd.h>

#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace liquid {

// Opened anew for each mark: when the file is closed the line is the kernel's.
void TestFaults::Mark(std::string_view phase, int64_t step, int slot) const {
  if (phase_log.empty()) return;
  std::ofstream file(absl::StrCat(phase_log, ".", getpid()), std::ios::app);
  file << absl::ToUnixMicros(absl::Now()) << ' ' << phase << ' ' << step << ' ' << slot << '\n';
}

void TestFaults::Linger(std::string_view phase, int64_t step, int slot) const {
  if (phase_log.empty()) return;
  Mark(phase, step, slot);
  absl::SleepFor(absl::Seconds(phase_seconds));
}

}  // namespace liquid
