// What the coordinator's machine tells its driver to do, and what people may ask of it.
#ifndef LIQUID_COORDINATOR_JOB_ACTION_H_
#define LIQUID_COORDINATOR_JOB_ACTION_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/coordinator.pb.h"
#include "proto/ledger.pb.h"

namespace liquid {

// The same order to many gangs is one object: a world lists them all.
using SharedOrder = std::shared_ptr<const Order>;
inline const SharedOrder& NoOrder() {
  static const auto& none = *new SharedOrder(std::make_shared<const Order>());
  return none;
}

struct Action {
  enum class Kind {
    kAppend,  // `entry` to the ledger; its number and time are for the ledger to fill in
    kSend,    // `order` to `gang`; a welcome's ledger_head is for the driver to fill in
    kClose,   // end the stream of `gang` with `status`
    kWarn,    // tell people `text`
  };
  Kind kind;
  LedgerEntry entry{};
  int64_t gang = 0;
  SharedOrder order = NoOrder();  // never null
  absl::Status status{};
  std::string text{};
};
using Actions = std::vector<Action>;

enum class Verb { kPause, kResume, kCheckpointNow, kStop };

}  // namespace liquid

#endif  // LIQUID_COORDINATOR_JOB_ACTION_H_
