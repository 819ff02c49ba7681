#include "worker/state_transfer.h"

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "worker/gang_member.h"

namespace liquid {
namespace {

std::vector<TensorView> TensorsOf(const TrainState& state) {
  std::vector<TensorView> tensors;
  for (const Parameter& parameter : state.model.parameters()) tensors.push_back(parameter.value);
  for (const auto* moments : {&state.exp_avg, &state.exp_avg_sq}) {
    for (const PooledTensor& moment : *moments) tensors.push_back(moment.view());
  }
  return tensors;
}

// Calls `visit` with the pieces of memory that make up part `rank` of `size` of the state, which is
// divided as if its tensors were one.
void ForPart(const TrainState& state, int rank, int size,
             const std::function<void(std::byte* data, int64_t num_bytes)>& visit) {
  const Slice part = SliceOf(StateBytes(state), rank, size);
  int64_t offset = 0;
  for (const TensorView& tensor : TensorsOf(state)) {
    const int64_t begin = std::max(part.begin, offset);
    const int64_t end = std::min(part.end, offset + tensor.NumBytes());
    if (begin < end) visit(static_cast<std::byte*>(tensor.data) + (begin - offset), end - begin);
    offset += tensor.NumBytes();
  }
}

}  // namespace

int64_t StateBytes(const TrainState& state) {
  int64_t total = 0;
  for (const TensorView& tensor : TensorsOf(state)) total += tensor.NumBytes();
  return total;
}

void SendState(const TrainState& state, TcpGroup& rail, int to, const Communicator& gang) {
  ForPart(state, gang.rank(), gang.size(),
          [&](std::byte* data, int64_t num_bytes) { rail.Send(data, num_bytes, to); });
}

absl::Status ReceiveState(TrainState& state, TcpGroup& rail, int from, Communicator& gang,
                          const std::string& expected) {
  ForPart(state, gang.rank(), gang.size(),
          [&](std::byte* data, int64_t num_bytes) { rail.Receive(data, num_bytes, from); });
  LIQUID_RETURN_IF_ERROR(AgreeOn(gang, rail.Wait(absl::InfiniteFuture())));
  for (int rank = 0; rank < gang.size() && gang.size() > 1; ++rank) {
    ForPart(state, rank, gang.size(), [&](std::byte* data, int64_t num_bytes) {
      gang.Broadcast(TensorView(data, DType::kU8, {num_bytes}), rank);
    });
  }
  LIQUID_RETURN_IF_ERROR(gang.Wait(absl::InfiniteFuture()));
  LIQUID_RETURN_IF_ERROR(UpdateFingerprint(state, gang));
  if (state.fingerprint == expected) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("the state received has the fingerprint ",
                                          state.fingerprint, ", the sender's ", expected));
}

}  // namespace liquid
