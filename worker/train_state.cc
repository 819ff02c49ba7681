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

std::vector<FingerprintKey> KeysOf(const Model& model, DType dtype) {
  std::vector<FingerprintKey> keys;
  for (const Parameter& parameter : model.parameters()) {
    TensorSpec spec = SpecOf(parameter);
    spec.dtype = dtype;
    keys.emplace_back(spec);
  }
  return keys;
}

// Tasks begin and end at bounds of the key's chunks.
std::vector<HashTask> HashTasksOf(const FingerprintKey& key, const Parameter& parameter) {
  const int64_t chunk = key.chunk_bytes() / SizeOf(parameter.value.dtype);
  const int64_t most = std::max(chunk, kTaskElements / chunk * chunk);
  std::vector<HashTask> tasks;
  int64_t room = 0;  // in the last task
  ForEachRun(parameter.shape, parameter.part, [&](int64_t begin, int64_t offset, int64_t count) {
    for (int64_t done = 0; done < count;) {
      const int64_t size = std::min(most, count - done);
      if (size > room) {
        tasks.emplace_back();
        room = most;
      }
      tasks.back().runs.push_back({begin + done, offset + done, size});
      room -= size;
      done += size;
    }
  });
  return tasks;
}

std::vector<std::vector<HashTask>> AllHashTasks(const Model& model,
                                                absl::Span<const FingerprintKey> keys) {
  std::vector<std::vector<HashTask>> tasks;
  for (const Parameter& parameter : model.parameters()) {
    tasks.push_back(HashTasksOf(keys[tasks.size()], parameter));
  }
  return tasks;
}

// This rank's slice of the model's weights.
TensorView SliceOfWeights(const TrainState& state) {
  const int64_t size = state.model.layout().slice_size();
  const int64_t begin = state.mesh.replica() * size;
  return Elements(state.model.weights(), begin, begin + size);
}

std::vector<TensorView> TensorsOf(const TrainState& state) {
  std::vector<TensorView> tensors = {state.model.weights(), state.exp_avg.view(),
                                     state.exp_avg_sq.view()};
  if (state.master_weights) tensors.push_back(state.master_weights.view());
  const TensorView frozen = state.model.frozen_weights();
  const bool are_saved = state.model.adapter() == nullptr;
  if (frozen.data != nullptr && are_saved) tensors.push_back(frozen);
  return tensors;
}

// In kF32: what gradients are.
int64_t LargestPartBytes(const Model& model) {
  int64_t largest = 0;
  for (const Parameter& parameter : model.parameters()) {
    if (parameter.trains) largest = std::max(largest, parameter.part.shape.NumElements());
  }
  return largest * SizeOf(DType::kF32);
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
      master_weights(m.weights().dtype == DType::kF32
                         ? PooledTensor()
                         : pool.AllocateF32({m.layout().slice_size()})),
      exp_avg(pool.AllocateF32({m.layout().slice_size()})),
      exp_avg_sq(pool.AllocateF32({m.layout().slice_size()})),
      on_host(m.stream(), TensorsOf(*this)),
      gradient_on_host(m.stream(), LargestPartBytes(m)),
      fingerprint_keys(KeysOf(m, m.weights().dtype)),
      gradient_keys(KeysOf(m, DType::kF32)),
      hash_tasks(AllHashTasks(m, fingerprint_keys)) {
  LIQUID_CHECK(m.layout().num_slices() == g.num_replicas() &&
               m.tensor_parallel().size() == g.tensor_size());
  Reset();
}

void TrainState::Reset() {
  for (const PooledTensor* moments : {&exp_avg, &exp_avg_sq}) ops.Fill(moments->view(), 0.0f);
  if (master_weights) ops.Copy(master_weights.view(), SliceOfWeights(*this));
  applied_step = 0;
}

TensorView TrainState::own_weights() const {
  return master_weights ? master_weights.view() : SliceOfWeights(*this);
}

namespace {

// Runs of the part whose elements of `size` bytes are at `data`: neighbours by one copy.
void FetchRuns(const TrainState& state, absl::Span<const HashTask::Run> runs, const std::byte* data,
               int64_t size) {
  for (size_t i = 0; i < runs.size();) {
    const int64_t begin = runs[i].offset;
    int64_t end = begin;
    for (; i < runs.size() && runs[i].offset == end; ++i) end += runs[i].count;
    state.on_host.Fetch(data + begin * size, (end - begin) * size);
  }
}

// The XOR of every `stride`-th of `tasks`, from `first` on, of the part whose elements of `size`
// bytes are at `data`.
Hash128 HashTasks(const FingerprintKey& key, absl::Span<const HashTask> tasks,
                  const std::byte* data, int64_t size, int64_t first, int64_t stride) {
  const auto num_tasks = static_cast<int64_t>(tasks.size());
  const int64_t num_mine = std::max<int64_t>(0, num_tasks - first + stride - 1) / stride;
  Hash128 hash;
  Mutex mutex;
  ParallelFor(num_mine, [&](int64_t n) {
    Hash128 sum;
    for (const HashTask::Run& run : tasks[static_cast<size_t>(first + n * stride)].runs) {
      sum ^= key.HashPart(run.begin * size, data + run.offset * size, run.count * size);
    }
    MutexLock lock(mutex);
    hash ^= sum;
  });
  return hash;
}

}  // namespace

Hash128 HashGradient(TrainState& state, int index, ConstTensorView gradient) {
  const auto i = static_cast<size_t>(index);
  return HashTasks(state.gradient_keys[i], state.hash_tasks[i], state.gradient_on_host.Of(gradient),
                   SizeOf(gradient.dtype), /*first=*/0, /*stride=*/1);
}

std::string DigestOfReplica(absl::Span<const std::string> of_ranks, int64_t replica,
                            int64_t tensor_size) {
  if (tensor_size == 1) return of_ranks[static_cast<size_t>(replica)];
  std::string all;
  for (int64_t t = 0; t < tensor_size; ++t) {
    all += of_ranks[static_cast<size_t>(replica * tensor_size + t)];
  }
  return ToHex(HashBytes(all));
}

absl::Status GatherWeights(TrainState& state) {
  if (state.master_weights) {
    state.ops.Copy(SliceOfWeights(state), state.master_weights.view());
  }
  GangCommunicator& replicas = state.mesh.replicas();
  if (replicas.size() == 1) return absl::OkStatus();
  const TensorView all = state.model.weights();
  const int64_t size = state.model.layout().slice_size();
  for (int r = 0; r < replicas.size(); ++r) {
    replicas.Broadcast(Elements(all, r * size, (r + 1) * size), r);
  }
  return replicas.Wait(absl::InfiniteFuture());
}

namespace {

// This replica's share of the hash of the saved weights that train, or of those that do not.
Hash128 HashOwnShare(TrainState& state, bool trains) {
  const absl::Span<const Parameter> parameters = state.model.parameters();
  const int size = state.mesh.num_replicas();
  const int64_t element = SizeOf(state.model.weights().dtype);
  // Replica r of R hashes every R-th task, counted over all tensors so that small ones spread too.
  const auto first_task = [&](size_t i) {
    return ((state.mesh.replica() - static_cast<int64_t>(i)) % size + size) % size;
  };
  const auto is_hashed = [trains](const Parameter& parameter) {
    return parameter.trains == trains && parameter.is_saved && parameter.part.is_first_holder;
  };
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (!is_hashed(parameters[i])) continue;
    const auto* const data = static_cast<const std::byte*>(parameters[i].value.data);
    for (size_t task = first_task(i); task < state.hash_tasks[i].size(); task += size) {
      FetchRuns(state, state.hash_tasks[i][task].runs, data, element);
    }
  }
  state.on_host.Wait();
  Hash128 hash;
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (!is_hashed(parameters[i])) continue;
    hash ^= HashTasks(state.fingerprint_keys[i], state.hash_tasks[i],
                      state.on_host.At(parameters[i].value.data), element, first_task(i), size);
  }
  return hash;
}

}  // namespace

absl::Status UpdateFingerprint(TrainState& state) {
  state.frozen_hash = HashOwnShare(state, /*trains=*/false);
  return UpdateFingerprintAfterStep(state);
}

absl::Status UpdateFingerprintAfterStep(TrainState& state) {
  Hash128 mine = HashOwnShare(state, /*trains=*/true);
  mine ^= state.frozen_hash;
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
