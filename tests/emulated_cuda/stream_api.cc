// The CUDA calls for streams, events and graphs.
#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "tests/emulated_cuda/status.h"
#include "tests/emulated_cuda/streams.h"

namespace liquid::emulated {
namespace {

using EventPointer = std::shared_ptr<Event>;  // work of streams may outlive the handle

std::map<cudaEvent_t, EventPointer>& Events() {
  static auto* const events = new std::map<cudaEvent_t, EventPointer>;
  return *events;
}

// Null for what is no event.
EventPointer FindEvent(cudaEvent_t handle) {
  const RuntimeGuard guard(RuntimeLock());
  const auto found = Events().find(handle);
  return found == Events().end() ? nullptr : found->second;
}

// For callers that will wait, and must not hold the lock then.
const Stream* FindStreamLocked(cudaStream_t handle) {
  const RuntimeGuard guard(RuntimeLock());
  return FindStream(handle);
}

double SecondsNow() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

using Graph = std::vector<Work>;

Graph* FromHandle(cudaGraph_t handle) { return reinterpret_cast<Graph*>(handle); }
Graph* FromHandle(cudaGraphExec_t handle) { return reinterpret_cast<Graph*>(handle); }

}  // namespace
}  // namespace liquid::emulated

using namespace liquid::emulated;

extern "C" {

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* handle, unsigned flags, int) {
  const RuntimeGuard guard(RuntimeLock());
  *handle = reinterpret_cast<cudaStream_t>(AddStream((flags & cudaStreamNonBlocking) == 0));
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* handle, unsigned flags) {
  return cudaStreamCreateWithPriority(handle, flags, 0);
}
cudaError_t cudaStreamCreate(cudaStream_t* handle) {
  return cudaStreamCreateWithPriority(handle, 0, 0);
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  const Stream* stream = FindStreamLocked(handle);
  if (stream == nullptr) return Remember(cudaErrorInvalidResourceHandle);
  return Remember(WorkUntil([stream] { return stream->queue.empty(); }, stream));
}
cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  const cudaError_t code = cudaStreamSynchronize(handle);
  const RuntimeGuard guard(RuntimeLock());
  Stream* stream = FindStream(handle);
  if (stream == nullptr || stream->is_default) return Remember(cudaErrorInvalidResourceHandle);
  RemoveStream(stream);
  return code;
}
cudaError_t cudaStreamQuery(cudaStream_t handle) {
  const RuntimeGuard guard(RuntimeLock());
  const Stream* stream = FindStream(handle);
  if (stream == nullptr) return Remember(cudaErrorInvalidResourceHandle);
  if (!stream->queue.empty()) DoOneStep();
  return stream->queue.empty() ? StickyError() : cudaErrorNotReady;
}
cudaError_t cudaDeviceSynchronize() { return Remember(WorkUntil(AllStreamsAreEmpty)); }
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return Remember(Enqueue(stream, "host function", [function, data] {
    function(data);
    return true;
  }));
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* handle, unsigned flags) {
  const RuntimeGuard guard(RuntimeLock());
  auto event = std::make_shared<Event>();
  event->has_timing = (flags & cudaEventDisableTiming) == 0;
  *handle = reinterpret_cast<cudaEvent_t>(event.get());
  Events()[*handle] = std::move(event);
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* handle) { return cudaEventCreateWithFlags(handle, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t handle) {
  const RuntimeGuard guard(RuntimeLock());
  return Remember(Events().erase(handle) == 1 ? cudaSuccess : cudaErrorInvalidResourceHandle);
}
cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t stream) {
  const RuntimeGuard guard(RuntimeLock());
  const EventPointer event = FindEvent(handle);
  if (event == nullptr) return Remember(cudaErrorInvalidResourceHandle);
  const uint64_t count = ++event->num_recorded;
  return Remember(Enqueue(stream, "event record", [event, count] {
    event->num_completed = std::max(event->num_completed, count);
    event->completed_at = SecondsNow();
    return true;
  }));
}
cudaError_t cudaEventRecordWithFlags(cudaEvent_t handle, cudaStream_t stream, unsigned) {
  return cudaEventRecord(handle, stream);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event_handle, unsigned) {
  const RuntimeGuard guard(RuntimeLock());
  Stream* stream = FindStream(handle);
  EventPointer event = FindEvent(event_handle);
  if (stream == nullptr || event == nullptr) return Remember(cudaErrorInvalidResourceHandle);
  const uint64_t count = event->num_recorded;
  return Remember(Push(stream, {.what = "event wait",
                                .step = nullptr,
                                .awaited = std::move(event),
                                .awaited_count = count}));
}
cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  const EventPointer event = FindEvent(handle);
  if (event == nullptr) return Remember(cudaErrorInvalidResourceHandle);
  return Remember(WorkUntil([event] { return event->IsComplete(); }));
}
cudaError_t cudaEventQuery(cudaEvent_t handle) {
  const RuntimeGuard guard(RuntimeLock());
  const EventPointer event = FindEvent(handle);
  if (event == nullptr) return Remember(cudaErrorInvalidResourceHandle);
  if (!event->IsComplete()) DoOneStep();
  return event->IsComplete() ? StickyError() : cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  const RuntimeGuard guard(RuntimeLock());
  const EventPointer first = FindEvent(begin);
  const EventPointer last = FindEvent(end);
  if (first == nullptr || last == nullptr || !first->has_timing || !last->has_timing) {
    return Remember(cudaErrorInvalidResourceHandle);
  }
  if (!first->IsComplete() || !last->IsComplete()) return Remember(cudaErrorNotReady);
  *milliseconds = static_cast<float>((last->completed_at - first->completed_at) * 1e3);
  return cudaSuccess;
}

// Captures one stream. What another stream does meanwhile is not captured.
cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode) {
  const RuntimeGuard guard(RuntimeLock());
  Stream* stream = FindStream(handle);
  if (stream == nullptr || stream->is_default || stream->capture != nullptr) {
    return Remember(cudaErrorStreamCaptureUnsupported);
  }
  stream->capture = new Graph;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  const RuntimeGuard guard(RuntimeLock());
  Stream* stream = FindStream(handle);
  if (stream == nullptr || stream->capture == nullptr) return Remember(cudaErrorInvalidValue);
  *graph = reinterpret_cast<cudaGraph_t>(std::exchange(stream->capture, nullptr));
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long) {
  *executable = reinterpret_cast<cudaGraphExec_t>(new Graph(*FromHandle(graph)));
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t handle) {
  const RuntimeGuard guard(RuntimeLock());
  Stream* stream = FindStream(handle);
  if (stream == nullptr) return Remember(cudaErrorInvalidResourceHandle);
  for (const Work& work : *FromHandle(executable)) {
    const cudaError_t code = Push(stream, work);
    if (code != cudaSuccess) return Remember(code);
  }
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete FromHandle(graph);
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete FromHandle(executable);
  return cudaSuccess;
}

}  // extern "C"
