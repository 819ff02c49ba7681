// A gang's whole state, from the ranks of one that has it to those of one that needs it.
#ifndef LIQUID_WORKER_STATE_TRANSFER_H_
#define LIQUID_WORKER_STATE_TRANSFER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "parallel/tcp/tcp_group.h"
#include "worker/train_state.h"

namespace liquid {

int64_t StateBytes(const TrainState& state);  // weights and moments, of a whole gang

// Each rank sends what it owns to its counterpart, the rank of the same number in the gang at place
// `to` of the rail. Failures are latched in `rail`.
void SendState(const TrainState& state, TcpGroup& rail, int to);

// Collective in the gang: every rank receives what it owns, and the weights go to its replicas.
// After an error the state is torn: it is no step's any more. DataLoss if it has not the
// fingerprint `expected`.
absl::Status ReceiveState(TrainState& state, TcpGroup& rail, int from, const std::string& expected);

}  // namespace liquid

#endif  // LIQUID_WORKER_STATE_TRANSFER_H_
