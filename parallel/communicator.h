// Collectives over a fixed group of ranks.
//
// A group is for the memory of hosts, or of devices; of these it has a stream, on which its calls
// are enqueued like operations. They return nothing. The first failure is latched: from then
// on calls do nothing, and the tensors they were to write are unspecified. A
// training step calls Wait() once, at its end, and is kept or dropped as a whole.
// A group that failed is never repaired; the next generation makes a new one.
// REQUIRES everywhere: every rank makes the same calls in the same order, with the same shapes.
// Not thread-safe, but for Abort().
#ifndef LIQUID_PARALLEL_COMMUNICATOR_H_
#define LIQUID_PARALLEL_COMMUNICATOR_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tensor/tensor.h"

namespace liquid {

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;  // 0 <= rank() < size()
  virtual int size() const = 0;

  // Every rank's `inout` becomes the elementwise sum over ranks. dtype kF32, kF64 or kI64; sums of
  // kI64 are exact, those of floats depend on the order, which is the implementation's.
  virtual void AllReduceSum(TensorView inout) = 0;
  // Every rank's `inout` becomes a copy of rank `root`'s.
  virtual void Broadcast(TensorView inout, int root) = 0;

  // Waits until all enqueued calls have run and returns OK, or the first failure:
  // Unavailable if a peer is gone, Aborted after Abort(), DeadlineExceeded. After a
  // failure no call is left pending, so no stream waits for it any more.
  virtual absl::Status Wait(absl::Time deadline) = 0;

  // Makes pending and future calls fail with `why` on this rank. Thread-safe.
  virtual void Abort(absl::Status why) = 0;

  // For the control path: small messages between hosts, synchronous.
  // `message` of rank `root`, on every rank.
  virtual absl::StatusOr<std::string> BroadcastMessage(std::string message, int root) = 0;
  // Every rank's message, by rank, on every rank.
  virtual absl::StatusOr<std::vector<std::string>> AllGatherMessages(std::string message) = 0;
};

}  // namespace liquid

#endif  // LIQUID_PARALLEL_COMMUNICATOR_H_
