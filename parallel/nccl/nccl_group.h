// Collectives among GPUs, by NCCL.
//
// A group has a stream: calls are enqueued there and return, so that they run behind what was
// enqueued on it before, and what is enqueued on it later sees their results. Tensors are in device
// memory; messages go between hosts.
#ifndef LIQUID_PARALLEL_NCCL_NCCL_GROUP_H_
#define LIQUID_PARALLEL_NCCL_NCCL_GROUP_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "parallel/gang_communicator.h"
#include "tensor/device.h"

namespace liquid {

struct NcclOptions {
  std::string name;                              // in errors: "tensor", "replicas", "rail"
  absl::Time deadline = absl::InfiniteFuture();  // for all ranks to come
  // An operation that all wait for is given up after so long. What a slow peer may take must fit.
  absl::Duration stall_timeout = absl::InfiniteDuration();
  // Asked about every millisecond of a wait: why the peers cannot be waited for any longer, as a
  // group between their hosts knows it.
  std::function<absl::Status()> peers_status = nullptr;
  // Asked once an operation has stalled: every rank's word on it, nothing of those that do not
  // answer. `mine`: this rank's.
  std::function<std::vector<std::optional<std::string>>(const std::string& mine)> roll_call =
      nullptr;
};

// Collective among the ranks of `hosts`, whose GPU (that of `stream`) must be another one for each.
// A failure, and Abort(), end what is under way on the device at the next wait for the stream, so
// that nothing is left to wait for. Sums of floats are taken in the order of ranks where
// GangCommunicator says so. Unavailable if a peer is gone, DeadlineExceeded, Internal. The
// arguments must outlive the group.
absl::StatusOr<std::unique_ptr<GangCommunicator>> CreateNcclGroup(GangCommunicator& hosts,
                                                                  Stream& stream,
                                                                  NcclOptions options);
// The same among hosts that come and go: it cannot be split.
absl::StatusOr<std::unique_ptr<Communicator>> CreateNcclRail(Communicator& hosts, Stream& stream,
                                                             NcclOptions options);

}  // namespace liquid

#endif  // LIQUID_PARALLEL_NCCL_NCCL_GROUP_H_
