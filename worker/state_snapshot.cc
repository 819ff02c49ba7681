#include "worker/state_snapshot.h"

#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/status.h"
#include "kernels/cpu/parallel_for.h"

namespace liquid {

StateSnapshot::StateSnapshot(const CheckpointPlan& plan, const WriteAssignment& assignment)
    : plan_(plan), assignment_(assignment), device_(CreateCpuDevice()) {
  constexpr int64_t kBlock = File::kDirectAlignment;
  for (const PieceWrite& write : assignment.writes) {
    // At the place within a block of the disk that it has in the file: no copy on its way there.
    const int64_t in_file = plan.TensorOf(write.piece).begin + write.runs.front().first;
    num_bytes_ += ((in_file - num_bytes_) % kBlock + kBlock) % kBlock;
    places_.push_back(num_bytes_);
    num_bytes_ += write.num_bytes();
  }
}

absl::Status StateSnapshot::Allocate() {
  LIQUID_ASSIGN_OR_RETURN(memory_, device_->Allocate(static_cast<size_t>(num_bytes_)));
  return absl::OkStatus();
}

void StateSnapshot::Take(absl::Span<const HeldPart> parts) {
  std::map<std::string_view, std::vector<HeldPart>> by_tensor;
  for (const HeldPart& part : parts) by_tensor[part.spec.name].push_back(part);
  ParallelFor(static_cast<int64_t>(places_.size()), [&](int64_t i) {
    const PieceWrite& write = assignment_.writes[static_cast<size_t>(i)];
    GatherBytes(plan_, write, by_tensor.at(plan_.TensorOf(write.piece).spec.name),
                memory_.get() + places_[static_cast<size_t>(i)]);
  });
}

const std::byte* StateSnapshot::BytesOf(const PieceWrite& write) const {
  const auto index = static_cast<size_t>(&write - assignment_.writes.data());
  return memory_.get() + places_[index];
}

}  // namespace liquid
