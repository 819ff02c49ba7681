#ifndef LIQUID_PARALLEL_THREAD_THREAD_COMMUNICATOR_H_
#define LIQUID_PARALLEL_THREAD_THREAD_COMMUNICATOR_H_

#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "parallel/gang_communicator.h"

namespace liquid {

// Communicators of `size` ranks that are threads of this process; element r is
// rank r's. A call runs at once and waits for its peers at most `timeout`.
// Sums of floats are taken in the order of ranks. Aborting one rank aborts all,
// as the death of a peer does.
std::vector<std::unique_ptr<GangCommunicator>> CreateThreadWorld(int size, absl::Duration timeout);

}  // namespace liquid

#endif  // LIQUID_PARALLEL_THREAD_THREAD_COMMUNICATOR_H_
