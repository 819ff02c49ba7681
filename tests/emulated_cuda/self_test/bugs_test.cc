// Each planted bug, and the control, in the builds and orders that must report it.
#include <stdio.h>

#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "tests/emulated_cuda/sanitizer.h"

namespace liquid::emulated {
namespace {

// What a build must print; empty where it need not notice. Undefined behaviour is found in the same
// build as bad addresses.
struct Report {
  const char* bug;
  const char* environment;
  std::string_view plain;
  std::string_view address;
  std::string_view thread;
};

constexpr std::string_view kWrong = "RESULT wrong";
constexpr std::string_view kRight = "RESULT right";
constexpr std::string_view kFault = "FAULT in kernel";
constexpr std::string_view kRace = "ThreadSanitizer: data race";
constexpr std::string_view kBounds = "AddressSanitizer: heap-buffer-overflow";
constexpr std::string_view kPoison = "AddressSanitizer: use-after-poison";
constexpr std::string_view kUndefined = "runtime error";
constexpr std::string_view kUnseen = "";
constexpr const char* kSeeded = "LIQUID_EMULATED_SEED=1";
constexpr const char* kRaceBlocks = "LIQUID_EMULATED_RACE_BLOCKS=1";

constexpr Report kReports[] = {
    {"missing_barrier", "", kWrong, kWrong, kRace},
    {"missing_barrier_lucky", "", kUnseen, kUnseen, kRace},
    {"missing_barrier_lucky", kSeeded, kWrong, kWrong, kRace},
    {"missing_loop_barrier", "", kWrong, kWrong, kRace},
    {"missing_syncwarp", "", kUnseen, kUnseen, kRace},
    {"missing_syncwarp_after_mma", "", kWrong, kWrong, kRace},
    {"missing_async_wait", "", kWrong, kWrong, kWrong},
    {"lost_update", kRaceBlocks, kUnseen, kUnseen, kRace},
    {"order_of_blocks", kSeeded, kWrong, kWrong, kWrong},
    {"order_of_blocks", kRaceBlocks, kUnseen, kUnseen, kRace},
    {"divergent_sites", "", "divergent barrier", "divergent barrier", "divergent barrier"},
    {"divergent_some", "", kFault, kFault, kFault},
    {"early_return", "", kFault, kFault, kFault},
    {"divergent_shuffle", "", kFault, kFault, kFault},
    {"lane_not_in_mask", "", "not in its own mask", "not in its own mask", "not in its own mask"},

    {"write_one_too_far", "", "global memory overrun: byte 0", kBounds, "global memory overrun"},
    {"write_far_out", "", "bytes past the end of a 256 byte", kBounds, "SEGV"},
    {"read_one_too_far", "", kWrong, kBounds, kWrong},
    {"static_shared_overrun", "", kWrong, kUndefined, kWrong},
    {"dynamic_shared_overrun", "", "past the 508 bytes of dynamic", kPoison, "past the 508 bytes"},
    {"use_after_free", "", "inside a FREED 256 byte", "heap-use-after-free", "SEGV"},
    {"local_array_overrun", "", kUnseen, kUndefined, kUnseen},
    {"signed_overflow", "", kUnseen, kUndefined, kUnseen},
    {"misaligned_vector", "", kUnseen, kUndefined, kUnseen},
    {"unset_shared", "", kWrong, kWrong, kWrong},
    {"unset_global", "", kWrong, kWrong, kWrong},
    {"lost_allocation", "", kUnseen, "detected memory leaks", kUnseen},

    {"host_reads_device", "", "HOST code touched", kPoison, "SEGV"},
    {"kernel_gets_host_pointer", "", "is a host pointer", "is a host pointer", "is a host pointer"},
    {"copy_of_wrong_kind", "", kWrong, kWrong, kWrong},
    {"missing_event_wait", "", kWrong, kWrong, kWrong},
    {"free_async_too_early", "", "FREED", "heap-use-after-free", "SEGV"},
    {"pinned_reused_too_early", "", kWrong, kWrong, kWrong},
    {"read_before_synchronize", "", kWrong, kWrong, kWrong},
    {"too_much_shared_memory", "", kWrong, kWrong, kWrong},
    {"too_many_threads", "", kWrong, kWrong, kWrong},

    {"none", "", kRight, kRight, kRight},
    {"none", kSeeded, kRight, kRight, kRight},
    {"none", "LIQUID_EMULATED_SEED=2", kRight, kRight, kRight},
    {"none", "LIQUID_EMULATED_LAZY=0", kRight, kRight, kRight},
    {"none", "LIQUID_EMULATED_LAZY=1 LIQUID_EMULATED_SEED=3", kRight, kRight, kRight},
    {"none", kRaceBlocks, kRight, kRight, kRight},
};

// Its output and, in a last line, its exit status.
std::string OutputOf(const std::string& environment, const std::string& bug) {
  const std::string command =
      "ulimit -c 0; env ASAN_OPTIONS=symbolize=0 TSAN_OPTIONS=symbolize=0 " + environment + " " +
      LIQUID_EMULATED_BUGS + " " + bug + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return "no shell";
  std::string output;
  char buffer[4096];
  for (size_t count; (count = fread(buffer, 1, sizeof buffer, pipe)) > 0;) {
    output.append(buffer, count);
  }
  return output + "\nstatus " + std::to_string(pclose(pipe));
}

class PlantedBugTest : public ::testing::TestWithParam<Report> {};

TEST_P(PlantedBugTest, IsReported) {
  const Report& report = GetParam();
  const std::string_view expected = kAsan ? report.address : kTsan ? report.thread : report.plain;
  if (expected.empty()) GTEST_SKIP() << "not to be seen in this build";
  const std::string output = OutputOf(report.environment, report.bug);
  EXPECT_NE(output.find(expected), std::string::npos) << output;
  if (expected == kRight) {
    EXPECT_TRUE(output.ends_with("\nstatus 0")) << output;
    EXPECT_EQ(output.find("emulated CUDA"), std::string::npos) << output;
  }
}

std::string NameOf(const ::testing::TestParamInfo<Report>& info) {
  return std::to_string(info.index) + "_" + info.param.bug;
}

INSTANTIATE_TEST_SUITE_P(Each, PlantedBugTest, ::testing::ValuesIn(kReports), NameOf);

}  // namespace
}  // namespace liquid::emulated
