// A copy of what a rank writes of a checkpoint, so that training goes on while it is written.
#ifndef LIQUID_WORKER_STATE_SNAPSHOT_H_
#define LIQUID_WORKER_STATE_SNAPSHOT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "checkpoint/plan.h"
#include "checkpoint/write_assignment.h"
#include "tensor/device.h"

namespace liquid {

class StateSnapshot {
 public:
  // Both must outlive this.
  StateSnapshot(const CheckpointPlan& plan, const WriteAssignment& assignment);

  int64_t num_bytes() const { return num_bytes_; }
  // Memory for all snapshots to come, touched already: seconds for gigabytes. From any thread,
  // once, before the first Take. ResourceExhausted if there is none.
  absl::Status Allocate();
  // Copies what the assignment says out of `parts`, this rank's, by the OpenMP team.
  void Take(absl::Span<const HeldPart> parts);
  // Of a write of the assignment; as Take left it.
  const std::byte* BytesOf(const PieceWrite& write) const;

 private:
  const CheckpointPlan& plan_;
  const WriteAssignment& assignment_;
  std::vector<int64_t> places_;  // in memory_, by write
  int64_t num_bytes_ = 0;
  std::unique_ptr<Device> device_;
  Buffer memory_;
};

}  // namespace liquid

#endif  // LIQUID_WORKER_STATE_SNAPSHOT_H_
