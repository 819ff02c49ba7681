#include "worker/train_state.h"

#include <algorithm>
#include <utility>

#include "base/hash.h"
#include "base/mutex.h"
#include "base/status.h"
#include "checkpoint/fingerprint.h"
#include "kernels/cpu/parallel_for.h"

namespace liquid {
namespace {

// Chunks that one thread hashes at a time.
constexpr int64_t kChunksPerTask = 32;

std::vector<FingerprintKey> KeysOf(const Model& model) {
  std::vector<FingerprintKey> keys;
  for (const Parameter& parameter : model.parameters()) keys.emplace_back(SpecOf(parameter));
  return keys;
}

}  // namespace

TensorSpec SpecOf(const Parameter& parameter) {
  return {parameter.name, parameter.value.dtype,
          std::vector<int64_t>(parameter.shape.begin(), parameter.shape.end())};
}

TrainState::TrainState(Model& m, Ops& o, TensorPool& pool)
    : model(m), ops(o), fingerprint_keys(KeysOf(m)) {
  for (const Parameter& parameter : model.parameters()) {
    exp_avg.push_back(pool.AllocateF32(parameter.shape));
    exp_avg_sq.push_back(pool.AllocateF32(parameter.shape));
  }
  Reset();
}

void TrainState::Reset() {
  for (const auto* moments : {&exp_avg, &exp_avg_sq}) {
    for (const PooledTensor& moment : *moments) ops.Fill(moment.view(), 0.0f);
  }
  applied_step = 0;
}

namespace {

// The XOR over every `stride`-th task, from `first` on.
Hash128 HashTasks(const FingerprintKey& key, const void* data, int64_t first, int64_t stride) {
  const auto* bytes = static_cast<const std::byte*>(data);
  const int64_t task_bytes = kChunksPerTask * kFingerprintChunkBytes;
  const int64_t num_tasks = (key.tensor_bytes() + task_bytes - 1) / task_bytes;
  const int64_t num_mine = std::max<int64_t>(0, num_tasks - first + stride - 1) / stride;
  Hash128 hash;
  Mutex mutex;
  ParallelFor(num_mine, [&](int64_t n) {
    const int64_t begin = (first + n * stride) * task_bytes;
    const Hash128 part =
        key.HashPart(begin, bytes + begin, std::min(task_bytes, key.tensor_bytes() - begin));
    MutexLock lock(mutex);
    hash ^= part;
  });
  return hash;
}

}  // namespace

Hash128 HashTensor(const FingerprintKey& key, const void* data) {
  return HashTasks(key, data, /*first=*/0, /*stride=*/1);
}

absl::Status UpdateFingerprint(TrainState& state, Communicator& world) {
  const absl::Span<const Parameter> parameters = state.model.parameters();
  Hash128 mine;
  for (size_t i = 0; i < parameters.size(); ++i) {
    // Rank r of R hashes every R-th task, counted over all tensors so that small ones spread too.
    const int64_t first =
        ((world.rank() - static_cast<int64_t>(i)) % world.size() + world.size()) % world.size();
    mine ^= HashTasks(state.fingerprint_keys[i], parameters[i].value.data, first, world.size());
  }
  LIQUID_ASSIGN_OR_RETURN(const std::vector<std::string> all, world.AllGatherMessages(ToHex(mine)));
  Hash128 total;
  for (const std::string& hex : all) {
    Hash128 part;
    LIQUID_CHECK(FromHex(hex, &part), hex);
    total ^= part;
  }
  state.fingerprint = ToHex(total);
  return absl::OkStatus();
}

}  // namespace liquid
