#include "worker/probe.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/hash.h"
#include "base/status.h"
#include "model/weights.h"
#include "worker/full_slot.h"
#include "worker/job_setup.h"

namespace liquid {
namespace {

constexpr uint64_t kProbeSeed = 1;
constexpr float kLossScale = 1.0f / 1024;

}  // namespace

absl::StatusOr<std::string> ProbeDigest(const Job& job, const Dataset& dataset, TrainState& state) {
  const int64_t vocab_size = state.model.config().vocab_size;
  FullSlot slot(job.training().rows_per_slot(), dataset.sequence_length());
  uint64_t random = kProbeSeed;
  for (size_t i = 0; i < slot.tokens.size(); ++i) {
    random = random * 6364136223846793005u + 1442695040888963407u;  // Knuth's MMIX generator
    slot.tokens[i] = static_cast<int32_t>((random >> 33) % static_cast<uint64_t>(vocab_size));
    if (i > 0) slot.targets[i - 1] = slot.tokens[i];
  }
  slot.targets.back() = slot.tokens.front();
  std::fill(slot.row_keys.begin(), slot.row_keys.end(), kProbeSeed);
  InitializeWeights(kProbeSeed, state.model);
  InitializeAdapters(kProbeSeed, state.model);
  std::vector<float> nll(slot.tokens.size());
  Hash128 hash;
  state.model.ForwardBackward(
      slot.batch(), kLossScale, RecomputeOf(job),
      [&](int index, ConstTensorView gradient) { hash ^= HashGradient(state, index, gradient); },
      absl::MakeSpan(nll));
  LIQUID_ASSIGN_OR_RETURN(const std::vector<std::string> all,
                          state.mesh.gang().AllGatherMessages(ToHex(hash)));
  const auto tensor_size = static_cast<size_t>(state.mesh.tensor_size());
  for (size_t rank = tensor_size; rank < all.size(); ++rank) {
    const size_t first = rank % tensor_size;  // the same place in the first replica
    if (all[rank] == all[first]) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("rank ", rank, " computes other bits than rank ", first,
                     ": the probe slot's gradient has the digest ", all[rank], ", rank ", first,
                     "'s ", all[first], "; use machines that are alike"));
  }
  return DigestOfReplica(all, 0, state.mesh.tensor_size());
}

}  // namespace liquid
