#include "worker/state_transfer.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "worker/gang_member.h"

namespace liquid {
namespace {

// What this rank owns of the state: the slice of its replica's number, of the weights and moments.
std::vector<TensorView> OwnTensors(const TrainState& state) {
  return {state.own_weights(), state.exp_avg.view(), state.exp_avg_sq.view()};
}

}  // namespace

int64_t StateBytes(const TrainState& state) {
  int64_t total = 0;
  for (const TensorView& tensor : OwnTensors(state)) total += tensor.NumBytes();
  return total * state.mesh.gang().size();
}

void SendState(const TrainState& state, TcpGroup& rail, int to) {
  for (const TensorView& tensor : OwnTensors(state)) {
    state.on_host.Fetch(tensor.data, tensor.NumBytes());
  }
  state.on_host.Wait();
  for (const TensorView& tensor : OwnTensors(state)) {
    rail.Send(state.on_host.At(tensor.data), tensor.NumBytes(), to);
  }
}

absl::Status ReceiveState(TrainState& state, TcpGroup& rail, int from,
                          const std::string& expected) {
  for (const TensorView& tensor : OwnTensors(state)) {
    rail.Receive(state.on_host.At(tensor.data), tensor.NumBytes(), from);
    state.on_host.Store(tensor.data, tensor.NumBytes());
  }
  LIQUID_RETURN_IF_ERROR(AgreeOn(state.mesh.gang(), rail.Wait(absl::InfiniteFuture())));
  state.on_host.Wait();
  LIQUID_RETURN_IF_ERROR(GatherWeights(state));
  LIQUID_RETURN_IF_ERROR(UpdateFingerprint(state));
  if (state.fingerprint == expected) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("the state received has the fingerprint ",
                                          state.fingerprint, ", the sender's ", expected));
}

}  // namespace liquid
