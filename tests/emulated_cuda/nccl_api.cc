// The calls of NCCL.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <list>
#include <utility>
#include <vector>

#include "tests/emulated_cuda/device_memory.h"
#include "tests/emulated_cuda/nccl_arithmetic.h"
#include "tests/emulated_cuda/nccl_operations.h"
#include "tests/emulated_cuda/streams.h"

// What is queued keeps the communicator beyond its handle.
struct ncclComm {
  std::shared_ptr<liquid::emulated::Communicator> communicator;
};

namespace liquid::emulated {
namespace {

thread_local int group_depth = 0;
thread_local std::vector<Operation> group;
thread_local std::string last_error;

ncclResult_t Refuse(ncclResult_t result, const std::string& why) {
  fprintf(stderr, "emulated NCCL: %s\n", why.c_str());
  last_error = why;
  return result;
}

// The operations of one group on one stream. Those between the same two ranks keep their order, as
// do collectives; otherwise they progress together.
class Batch {
 public:
  explicit Batch(std::shared_ptr<Communicator> communicator)
      : communicator_(std::move(communicator)) {}

  void Add(const Operation& operation) {
    const bool sends = operation.kind == Kind::kSend;
    const bool receives = operation.kind == Kind::kReceive;
    Lane& lane = FindLane(sends, receives, sends || receives ? operation.peer : -1);
    lane.tasks.push_back(sends      ? RunSend(operation)
                         : receives ? RunReceive(operation)
                                    : RunCollective(operation));
  }

  // Returns whether all are done.
  bool Poll() {
    if (communicator_->is_aborted()) return true;
    bool is_done = true;
    for (Lane& lane : lanes_) {
      while (!lane.tasks.empty() && lane.tasks.front().Poll()) lane.tasks.pop_front();
      is_done = is_done && lane.tasks.empty();
    }
    return is_done;
  }

 private:
  struct Lane {
    bool sends;
    bool receives;
    int peer;
    std::list<Task> tasks;
  };

  Lane& FindLane(bool sends, bool receives, int peer) {
    for (Lane& lane : lanes_) {
      if (lane.sends == sends && lane.receives == receives && lane.peer == peer) return lane;
    }
    return lanes_.emplace_back(Lane{sends, receives, peer, {}});
  }

  const std::shared_ptr<Communicator> communicator_;
  std::list<Lane> lanes_;
};

ncclResult_t EnqueueGroup() {
  std::vector<Operation> operations = std::exchange(group, {});
  while (!operations.empty()) {
    const Operation& first = operations.front();
    const cudaStream_t stream = first.stream;
    const auto batch = std::make_shared<Batch>(first.communicator);
    const auto rest = std::stable_partition(
        operations.begin(), operations.end(),
        [communicator = first.communicator, stream](const Operation& operation) {
          return operation.communicator == communicator && operation.stream == stream;
        });
    std::for_each(operations.begin(), rest,
                  [&batch](const Operation& operation) { batch->Add(operation); });
    if (Enqueue(stream, "NCCL", [batch] { return batch->Poll(); }) != cudaSuccess) {
      return ncclUnhandledCudaError;
    }
    operations.erase(operations.begin(), rest);
  }
  return ncclSuccess;
}

// Counts of elements that `in` and `out` have; zero where this rank does not use it.
ncclResult_t Submit(ncclComm_t handle, Kind kind, const void* in, size_t in_count, void* out,
                    size_t out_count, size_t count, ncclDataType_t type, ncclRedOp_t reduction,
                    int peer, cudaStream_t stream) {
  if (handle == nullptr) return ncclInvalidArgument;
  const std::shared_ptr<Communicator>& communicator = handle->communicator;
  const std::string name = NameOf(kind);
  if (!communicator->AllHaveJoined()) {
    return Refuse(ncclInvalidUsage, name + ": the communicator is not ready");
  }
  if (BytesOf(type) == 0) return Refuse(ncclInvalidArgument, name + ": a type not emulated");
  if (reduction > ncclAvg) return Refuse(ncclInvalidArgument, name + ": a reduction not emulated");
  if (peer < 0 || peer >= communicator->num_ranks()) {
    return Refuse(ncclInvalidArgument, name + ": no rank " + std::to_string(peer));
  }
  {
    const RuntimeGuard guard(RuntimeLock());
    if (!IsDeviceRange(in, in_count * BytesOf(type))) {
      return Refuse(ncclInvalidArgument, name + ": what it sends is no device memory");
    }
    if (!IsDeviceRange(out, out_count * BytesOf(type))) {
      return Refuse(ncclInvalidArgument, name + ": what it receives into is no device memory");
    }
  }
  group.push_back({communicator, kind, in, out, count, type, reduction, peer, stream});
  return group_depth > 0 ? ncclSuccess : EnqueueGroup();
}

ncclResult_t Join(ncclComm_t* handle, const std::string& name, int num_ranks, int rank,
                  bool is_blocking) {
  if (num_ranks > kMaxRanks || rank < 0 || rank >= num_ranks) return ncclInvalidArgument;
  auto communicator = Communicator::Join(name, num_ranks, rank);
  if (communicator == nullptr) return ncclSystemError;
  if (is_blocking && !communicator->WaitForAll()) return ncclSystemError;
  if (is_blocking && communicator->TwoShareADevice()) {
    return Refuse(ncclInvalidUsage, "two ranks use the same device");
  }
  *handle = new ncclComm{std::move(communicator)};
  return is_blocking ? ncclSuccess : ncclInProgress;
}

bool IsBlocking(const ncclConfig_t* config) { return config == nullptr || config->blocking != 0; }

}  // namespace
}  // namespace liquid::emulated

using namespace liquid::emulated;

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static std::atomic<int> count{0};
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  memset(id, 0, sizeof *id);
  snprintf(id->internal, sizeof id->internal, "/liquid-emulated-nccl-%d-%lx-%d", getpid(),
           static_cast<long>(now), count++);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* handle, int num_ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  return Join(handle, id.internal, num_ranks, rank, IsBlocking(config));
}
ncclResult_t ncclCommInitRank(ncclComm_t* handle, int num_ranks, ncclUniqueId id, int rank) {
  return Join(handle, id.internal, num_ranks, rank, /*is_blocking=*/true);
}
// The new communicator is ready at once, whatever the configuration says.
ncclResult_t ncclCommSplit(ncclComm_t handle, int color, int key, ncclComm_t* result,
                           ncclConfig_t*) {
  Communicator& parent = *handle->communicator;
  parent.own_state().color = color;
  parent.own_state().key = key;
  parent.HostBarrier();
  std::vector<std::pair<int, int>> members;  // key, rank in the parent
  for (int rank = 0; rank < parent.num_ranks(); ++rank) {
    const RankState& state = parent.state_of(rank);
    if (state.color == color) members.push_back({state.key, rank});
  }
  std::sort(members.begin(), members.end());
  parent.HostBarrier();
  const std::string name =
      parent.name() + "-" + std::to_string(parent.NextSplitNumber()) + "." + std::to_string(color);
  *result = nullptr;
  if (color == NCCL_SPLIT_NOCOLOR) return ncclSuccess;
  const auto own = std::find_if(members.begin(), members.end(), [&parent](const auto& member) {
    return member.second == parent.rank();
  });
  return Join(result, name, static_cast<int>(members.size()),
              static_cast<int>(own - members.begin()), /*is_blocking=*/true);
}
ncclResult_t ncclCommFinalize(ncclComm_t) { return ncclSuccess; }
ncclResult_t ncclCommDestroy(ncclComm_t handle) {
  delete handle;
  return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t handle) {
  handle->communicator->Abort();
  delete handle;
  return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t handle, ncclResult_t* result) {
  const Communicator& communicator = *handle->communicator;
  *result = communicator.failure();
  if (*result != ncclSuccess) return ncclSuccess;
  if (!communicator.AllHaveJoined()) {
    *result = ncclInProgress;
  } else if (communicator.TwoShareADevice()) {
    *result = Refuse(ncclInvalidUsage, "two ranks use the same device");
  }
  return ncclSuccess;
}
ncclResult_t ncclCommCount(const ncclComm_t handle, int* count) {
  *count = handle->communicator->num_ranks();
  return ncclSuccess;
}
ncclResult_t ncclCommCuDevice(const ncclComm_t handle, int* device) {
  *device = handle->communicator->device();
  return ncclSuccess;
}
ncclResult_t ncclCommUserRank(const ncclComm_t handle, int* rank) {
  *rank = handle->communicator->rank();
  return ncclSuccess;
}
const char* ncclGetLastError(ncclComm_t handle) {
  if (handle != nullptr) last_error = handle->communicator->failure_text();
  return last_error.c_str();
}
const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclUnhandledCudaError:
      return "unhandled cuda error";
    case ncclSystemError:
      return "unhandled system error";
    case ncclInvalidArgument:
      return "invalid argument";
    case ncclInvalidUsage:
      return "invalid usage";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInProgress:
      return "NCCL operation in progress";
    default:
      return "internal error";
  }
}

ncclResult_t ncclGroupStart() {
  ++group_depth;
  return ncclSuccess;
}
ncclResult_t ncclGroupEnd() {
  if (group_depth == 0) return ncclInvalidUsage;
  return --group_depth > 0 ? ncclSuccess : EnqueueGroup();
}

ncclResult_t ncclAllReduce(const void* in, void* out, size_t count, ncclDataType_t type,
                           ncclRedOp_t reduction, ncclComm_t handle, cudaStream_t stream) {
  return Submit(handle, Kind::kAllReduce, in, count, out, count, count, type, reduction, 0, stream);
}
ncclResult_t ncclReduceScatter(const void* in, void* out, size_t count, ncclDataType_t type,
                               ncclRedOp_t reduction, ncclComm_t handle, cudaStream_t stream) {
  return Submit(handle, Kind::kReduceScatter, in, count * handle->communicator->num_ranks(), out,
                count, count, type, reduction, 0, stream);
}
ncclResult_t ncclAllGather(const void* in, void* out, size_t count, ncclDataType_t type,
                           ncclComm_t handle, cudaStream_t stream) {
  return Submit(handle, Kind::kAllGather, in, count, out, count * handle->communicator->num_ranks(),
                count, type, ncclSum, 0, stream);
}
ncclResult_t ncclAlltoAll(const void* in, void* out, size_t count, ncclDataType_t type,
                          ncclComm_t handle, cudaStream_t stream) {
  const size_t total = count * handle->communicator->num_ranks();
  return Submit(handle, Kind::kAllToAll, in, total, out, total, count, type, ncclSum, 0, stream);
}
ncclResult_t ncclBroadcast(const void* in, void* out, size_t count, ncclDataType_t type, int root,
                           ncclComm_t handle, cudaStream_t stream) {
  const size_t in_count = handle->communicator->rank() == root ? count : 0;
  return Submit(handle, Kind::kBroadcast, in, in_count, out, count, count, type, ncclSum, root,
                stream);
}
ncclResult_t ncclReduce(const void* in, void* out, size_t count, ncclDataType_t type,
                        ncclRedOp_t reduction, int root, ncclComm_t handle, cudaStream_t stream) {
  const size_t out_count = handle->communicator->rank() == root ? count : 0;
  return Submit(handle, Kind::kReduce, in, count, out, out_count, count, type, reduction, root,
                stream);
}
ncclResult_t ncclSend(const void* in, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t handle, cudaStream_t stream) {
  return Submit(handle, Kind::kSend, in, count, nullptr, 0, count, type, ncclSum, peer, stream);
}
ncclResult_t ncclRecv(void* out, size_t count, ncclDataType_t type, int peer, ncclComm_t handle,
                      cudaStream_t stream) {
  return Submit(handle, Kind::kReceive, nullptr, 0, out, count, count, type, ncclSum, peer, stream);
}

}  // extern "C"
