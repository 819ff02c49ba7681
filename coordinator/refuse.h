// How the job says no to a message or a wish that its state does not allow.
#ifndef LIQUID_COORDINATOR_REFUSE_H_
#define LIQUID_COORDINATOR_REFUSE_H_

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace liquid {

// FailedPrecondition, the text being all arguments.
template <typename... Args>
absl::Status Refuse(const Args&... args) {
  return absl::FailedPreconditionError(absl::StrCat(args...));
}

}  // namespace liquid

#endif  // LIQUID_COORDINATOR_REFUSE_H_
