#include "worker/train_state.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/hash.h"
#include "base/mutex.h"
#include "base/status.h"
#include "checkpoint/fingerprint.h"
#include "kernels/cpu/parallel_for.h"

namespace liquid {
namespace {

// Elements that one thread hashes at a time, about.
constexpr int64_t kTaskElements = 1 << 19;

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

TrainState::TrainState(Model& m, const GangMesh& g, Ops& o, TensorPool& pool)
    : model(m),
      mesh(g),
      ops(o),
      exp_avg(pool.AllocateF32({m.layout().slice_size()})),
      exp_avg_sq(pool.AllocateF32({m.layout().slice_size()})),
      fingerprint_keys(KeysOf(m)) {
  LIQUID_CHECK(m.layout().num_slices() == g.num_replicas() &&
               m.tensor_parallel().size() == g.tensor_size());
  Reset();
}

void TrainState::Reset() {
  for (const PooledTensor* moments : {&exp_avg, &exp_avg_sq}) ops.Fill(moments->view(), 0.0f);
  applied_step = 0;
}

namespace {

// The hash of elements [begin, begin + count) of a tensor, at `data`: of every `stride`-th task of
// about kTaskBytes, from `first` on.
Hash128 HashElements(const FingerprintKey& key, int64_t begin, int64_t count, const float* data,
                     int64_t first, int64_t stride) {
  const int64_t chunk = key.chunk_bytes() / static_cast<int64_t>(sizeof(float));
  const int64_t task = std::max(chunk, kTaskElements / chunk * chunk);
  const int64_t num_tasks = (count + task - 1) / task;
  const int64_t num_mine = std::max<int64_t>(0, num_tasks - first + stride - 1) / stride;
  Hash128 hash;
  Mutex mutex;
  ParallelFor(num_mine, [&](int64_t n) {
    const int64_t at = (first + n * stride) * task;
    const Hash128 part =
        key.HashPart((begin + at) * static_cast<int64_t>(sizeof(float)), data + at,
                     std::min(task, count - at) * static_cast<int64_t>(sizeof(float)));
    MutexLock lock(mutex);
    hash ^= part;
  });
  return hash;
}

// The same of a part of many short runs: of every `stride`-th group of them.
Hash128 HashRuns(const FingerprintKey& key, const Parameter& parameter, const float* data,
                 int64_t first, int64_t stride) {
  struct Run {
    int64_t begin;
    int64_t offset;
    int64_t count;
  };
  std::vector<Run> runs;
  ForEachRun(parameter.shape, parameter.part, [&](int64_t begin, int64_t offset, int64_t count) {
    runs.push_back({begin, offset, count});
  });
  if (runs.size() == 1) {
    return HashElements(key, runs[0].begin, runs[0].count, data, first, stride);
  }
  const auto num_runs = static_cast<int64_t>(runs.size());
  const int64_t per_task =
      std::max<int64_t>(1, kTaskElements / std::max<int64_t>(1, runs[0].count));
  const int64_t num_tasks = (num_runs + per_task - 1) / per_task;
  const int64_t num_mine = std::max<int64_t>(0, num_tasks - first + stride - 1) / stride;
  Hash128 hash;
  Mutex mutex;
  ParallelFor(num_mine, [&](int64_t n) {
    const int64_t begin = (first + n * stride) * per_task;
    Hash128 part;
    for (int64_t r = begin; r < std::min(begin + per_task, num_runs); ++r) {
      part ^= HashElements(key, runs[r].begin, runs[r].count, data + runs[r].offset, 0, 1);
    }
    MutexLock lock(mutex);
    hash ^= part;
  });
  return hash;
}

}  // namespace

Hash128 HashPart(const FingerprintKey& key, const Parameter& parameter, const void* data) {
  return HashRuns(key, parameter, static_cast<const float*>(data), /*first=*/0, /*stride=*/1);
}

absl::Status GatherWeights(TrainState& state) {
  GangCommunicator& replicas = state.mesh.replicas();
  if (replicas.size() == 1) return absl::OkStatus();
  const TensorView all = state.model.weights();
  const int64_t size = state.model.layout().slice_size();
  for (int r = 0; r < replicas.size(); ++r) {
    replicas.Broadcast(Elements(all, r * size, (r + 1) * size), r);
  }
  return replicas.Wait(absl::InfiniteFuture());
}

absl::Status UpdateFingerprint(TrainState& state) {
  const absl::Span<const Parameter> parameters = state.model.parameters();
  const int size = state.mesh.num_replicas();
  Hash128 mine;
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (!parameters[i].part.is_first_holder) continue;
    // Replica r of R hashes every R-th task, counted over all tensors so that small ones spread
    // too.
    const int64_t first = ((state.mesh.replica() - static_cast<int64_t>(i)) % size + size) % size;
    mine ^=
        HashRuns(state.fingerprint_keys[i], parameters[i], parameters[i].value.f32(), first, size);
  }
  LIQUID_ASSIGN_OR_RETURN(const std::vector<std::string> all,
                          state.mesh.gang().AllGatherMessages(ToHex(mine)));
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
