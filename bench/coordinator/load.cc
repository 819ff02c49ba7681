// Load on a running liquid-coordinator: many gangs at one step a second. Measures how long after
// the last report of a step each gang has its next plan, and what the coordinator needs for it.
// load.sh starts both.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "CLI/App.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/command_line.h"
#include "bench/coordinator/load_client.h"

namespace liquid {
namespace {

constexpr absl::Duration kGather = absl::Seconds(100);
constexpr absl::Duration kHeartbeatInterval = absl::Milliseconds(1500);

struct Flags {
  LoadOptions load;
  int pid = 0;
  double seconds = 30;
  double pace = 1;
  double spread = 0.01;
};

struct Usage {
  double cpu_seconds = 0;
  double resident_mib = 0;
};

Usage UsageOf(int pid) {
  Usage usage;
  std::ifstream stat(absl::StrCat("/proc/", pid, "/stat"));
  const std::string text((std::istreambuf_iterator<char>(stat)), {});
  const std::vector<std::string> fields =
      absl::StrSplit(text.substr(std::min(text.size(), text.rfind(')') + 2)), ' ');
  if (fields.size() < 22) return usage;
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  usage.cpu_seconds = (std::stod(fields[11]) + std::stod(fields[12])) / ticks;
  usage.resident_mib = std::stod(fields[21]) * static_cast<double>(sysconf(_SC_PAGESIZE)) / 0x1p20;
  return usage;
}

double Quantile(const std::vector<double>& sorted, double q) {
  if (sorted.empty()) return 0;
  const auto last = static_cast<double>(sorted.size() - 1);
  return sorted[static_cast<size_t>(q * last + 0.5)];
}

void PrintLatencies(const char* name, std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  absl::PrintF("%s: p50 %.1f ms, p90 %.1f ms, p99 %.1f ms, max %.1f ms (%d plans)\n", name,
               1e3 * Quantile(seconds, 0.5), 1e3 * Quantile(seconds, 0.9),
               1e3 * Quantile(seconds, 0.99), 1e3 * Quantile(seconds, 1), seconds.size());
}

using Gangs = std::vector<std::unique_ptr<LoadGang>>;

// Beats for every gang, evenly spread over the interval, until told to stop.
class Heart {
 public:
  explicit Heart(const Gangs& gangs) : thread_([this, &gangs] { Beat(gangs); }) {}
  ~Heart() {
    stop_ = true;
    thread_.join();
  }

 private:
  void Beat(const Gangs& gangs) {
    const absl::Duration part = absl::Milliseconds(10);
    const size_t portion = 1 + gangs.size() / static_cast<size_t>(kHeartbeatInterval / part);
    for (size_t next = 0; !stop_; next = (next + portion) % gangs.size()) {
      for (size_t i = 0; i < portion; ++i) gangs[(next + i) % gangs.size()]->SendHeartbeat();
      absl::SleepFor(part);
    }
  }

  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

int64_t NumWithWorld(const Gangs& gangs) {
  return std::count_if(gangs.begin(), gangs.end(),
                       [](const auto& gang) { return gang->HasWorld(); });
}

// `begin`: when the first of them dialled.
bool Gather(const Gangs& gangs, const LoadLog& log, absl::Time begin) {
  const auto all = static_cast<int64_t>(gangs.size());
  absl::Time joined = absl::InfiniteFuture();
  int64_t with_world = 0;
  while (with_world < all) {
    if (joined == absl::InfiniteFuture() && log.num_welcomed >= all) {
      joined = absl::Now();
      for (const auto& gang : gangs) gang->BecomeReady();
    }
    if (absl::Now() - begin > kGather || log.num_ended > 0) {
      absl::FPrintF(stderr, "load: after %.1f s %d of %d gangs have joined, %d have a world\n",
                    absl::ToDoubleSeconds(absl::Now() - begin), log.num_welcomed.load(), all,
                    with_world);
      return false;
    }
    absl::SleepFor(absl::Milliseconds(5));
    with_world = NumWithWorld(gangs);
  }
  absl::PrintF("%d gangs joined in %.2f s and formed one world in %.2f s\n", all,
               absl::ToDoubleSeconds(joined - begin), absl::ToDoubleSeconds(absl::Now() - joined));
  return true;
}

// One pace for all, as of gangs that wait for each other in each step's reduction; their reports
// go out within `spread` seconds.
void RunSteps(const Flags& flags, const Gangs& gangs, const LoadLog& log) {
  const auto num_steps = static_cast<int64_t>(flags.seconds / flags.pace);
  const absl::Duration gap = absl::Seconds(flags.spread) / static_cast<double>(gangs.size());
  std::vector<double> latencies;
  const Usage before = UsageOf(flags.pid);
  const int64_t messages_before = log.num_messages;
  const absl::Time begin = absl::Now();
  const int64_t first = gangs[0]->applied_step() + 1;
  for (int64_t i = 0; i < num_steps && log.num_ended == 0; ++i) {
    absl::Time due = begin + absl::Seconds(flags.pace) * static_cast<double>(i + 1);
    absl::SleepFor(due - absl::Now());
    for (const auto& gang : gangs) {
      gang->DoStep(first + i);
      due += gap;
      if (gap > absl::ZeroDuration() && due - absl::Now() > absl::Microseconds(200)) {
        absl::SleepFor(due - absl::Now());
      }
    }
    if (i % std::max<int64_t>(1, num_steps / 5) == 0) {
      const Usage usage = UsageOf(flags.pid);
      absl::PrintF("  after step %4d: coordinator %.1f MiB resident, %.1f s of CPU\n", first + i,
                   usage.resident_mib, usage.cpu_seconds);
      std::fflush(stdout);
    }
  }
  absl::SleepFor(absl::Seconds(std::min(1.0, flags.pace)));
  for (const auto& gang : gangs) {
    for (const double seconds : gang->TakeLatencies()) latencies.push_back(seconds);
  }
  const Usage after = UsageOf(flags.pid);
  const double elapsed = absl::ToDoubleSeconds(absl::Now() - begin);
  int64_t late_plans = 0;
  for (const auto& gang : gangs) late_plans += gang->num_late_plans();
  PrintLatencies("plan latency", latencies);
  absl::PrintF("%d steps; plans that were not there in time: %d of %d\n",
               gangs[0]->applied_step() - first + 1, late_plans,
               num_steps * static_cast<int64_t>(gangs.size()));
  absl::PrintF("coordinator: %.1f%% of one core, %.1f MiB at the start, %.1f MiB at the end\n",
               100 * (after.cpu_seconds - before.cpu_seconds) / elapsed, before.resident_mib,
               after.resident_mib);
  absl::PrintF("%.0f messages a second\n",
               static_cast<double>(log.num_messages - messages_before) / elapsed);
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app("Puts load on a coordinator.", "load");
  app.add_option("--coordinator", flags.load.coordinator, "HOST:PORT")->required();
  app.add_option("--pid", flags.pid, "its process, on this machine")->required();
  app.add_option("--gangs", flags.load.num_gangs, "how many")->check(CLI::Range(1, 100000));
  app.add_option("--gangs-per-connection", flags.load.gangs_per_connection, "that share one")
      ->check(CLI::Range(1, 1000));
  app.add_option("--seconds", flags.seconds, "how long")->check(CLI::Range(1.0, 3600.0));
  app.add_option("--pace", flags.pace, "seconds a step")->check(CLI::Range(0.01, 60.0));
  app.add_option("--spread", flags.spread, "seconds between a step's first report and its last")
      ->check(CLI::Range(0.0, 60.0));
  if (const auto end = ParseCommandLine(app, argc, argv)) return static_cast<int>(*end);
  LoadLog log(/*max_steps=*/1 << 20);
  const absl::Time begin = absl::Now();
  const auto gangs = JoinGangs(flags.load, &log);
  if (!gangs.ok()) {
    std::fprintf(stderr, "load: %s\n", std::string(gangs.status().message()).c_str());
    return 1;
  }
  const Heart heart(*gangs);
  const bool gathered = Gather(*gangs, log, begin);
  if (gathered) RunSteps(flags, *gangs, log);
  if (gathered && log.num_ended == 0) return 0;
  std::fprintf(stderr, "load: %d streams broke\n", log.num_ended.load());
  for (const auto& gang : *gangs) {
    if (gang->error().empty()) continue;
    std::fprintf(stderr, "load: one ended with %s\n", gang->error().c_str());
    break;
  }
  return 1;
}

}  // namespace
}  // namespace liquid

int main(int argc, char** argv) { return liquid::Main(argc, argv); }
