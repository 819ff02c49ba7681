#include "worker/signals.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

#include "base/exit_code.h"

namespace liquid {
namespace {

// A signal handler can reach nothing but globals.
std::atomic<bool> graceful = false;
std::atomic<int64_t> first_request_ms = 0;  // 0: none yet
static_assert(std::atomic<int64_t>::is_always_lock_free);

int64_t MonotonicMs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1000000 + 1;
}

void OnSignal(int signal) {
  const int64_t now = MonotonicMs();
  const int64_t first = first_request_ms.load();
  const bool insists = signal != SIGUSR1 && first != 0 && now - first > 1000;
  if (!graceful.load() || insists) {
    _exit(static_cast<int>(ExitCode::kPreempted));
  }
  if (first == 0) first_request_ms.store(now);
}

}  // namespace

void InstallSignalHandlers() {
  struct sigaction action {};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaction(signal, &action, nullptr);
}

void BeginGracefulSignals() { graceful.store(true); }

bool StopRequested() { return first_request_ms.load() != 0; }

}  // namespace liquid
