#include "cli/signal_inbox.h"

#include <algorithm>

namespace liquid {

SignalInbox::SignalInbox() {
  sigemptyset(&signals_);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGCHLD}) {
    sigaddset(&signals_, signal);
  }
  pthread_sigmask(SIG_BLOCK, &signals_, &mask_before_);
}

SignalInbox::~SignalInbox() {
  while (Next(absl::ZeroDuration()) > 0) {
  }
  pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
}

int SignalInbox::Next(absl::Duration timeout) {
  const timespec wait = absl::ToTimespec(std::max(timeout, absl::ZeroDuration()));
  return std::max(0, sigtimedwait(&signals_, nullptr, &wait));
}

}  // namespace liquid
