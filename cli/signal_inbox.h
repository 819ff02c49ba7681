// Signals as messages: they wait until they are asked for, instead of interrupting.
#ifndef LIQUID_CLI_SIGNAL_INBOX_H_
#define LIQUID_CLI_SIGNAL_INBOX_H_

#include <signal.h>

#include "absl/time/time.h"

namespace liquid {

// From here on SIGINT, SIGTERM, SIGHUP and SIGUSR1, by which a run is asked to end, and SIGCHLD
// have no other effect in this process than to come out of Next(). So it stays when the inbox is
// gone: what comes in the last moment of a run that is over must not change how it ended. Make it
// before any thread is started: a thread that was there before would be hit instead. One at a time.
class SignalInbox {
 public:
  SignalInbox();
  SignalInbox(const SignalInbox&) = delete;
  SignalInbox& operator=(const SignalInbox&) = delete;

  // The next signal; 0 if none comes within `timeout`. Several of a kind that come before they are
  // taken are one.
  int Next(absl::Duration timeout);

 private:
  sigset_t signals_;
};

}  // namespace liquid

#endif  // LIQUID_CLI_SIGNAL_INBOX_H_
