#include "cli/signal_inbox.h"

#include <algorithm>

namespace liquid {

SignalInbox::SignalInbox() {
  sigemptyset(&signals_);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGCHLD}) {
    sigaddset(&signals_, signal);
  }
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
}

int SignalInbox::Next(absl::Duration timeout) {
  const timespec wait = absl::ToTimespec(std::max(timeout, absl::ZeroDuration()));
  return std::max(0, sigtimedwait(&signals_, nullptr, &wait));
}

}  // namespace liquid
