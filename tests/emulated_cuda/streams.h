// Streams are queues of work, and nothing runs but while some thread waits. Which work runs next is
// legal but unkind: see LIQUID_EMULATED_LAZY and LIQUID_EMULATED_SEED in README.md.
#ifndef LIQUID_TESTS_EMULATED_CUDA_STREAMS_H_
#define LIQUID_TESTS_EMULATED_CUDA_STREAMS_H_

#include <cuda_runtime_api.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace liquid::emulated {

// One for the whole runtime. Work runs under it.
std::recursive_mutex& RuntimeLock();
using RuntimeGuard = std::lock_guard<std::recursive_mutex>;

struct Event {
  uint64_t num_recorded = 0;   // calls of cudaEventRecord
  uint64_t num_completed = 0;  // the latest of them that the stream has reached
  double completed_at = 0;     // seconds
  bool has_timing = true;

  bool IsComplete() const { return num_completed >= num_recorded; }
};

// Returns true when it is done, false for "not yet, try something else". Device memory is
// accessible meanwhile.
using Step = std::function<bool()>;

struct Work {
  const char* what;
  Step step;                                 // may be empty
  std::shared_ptr<Event> awaited = nullptr;  // not before it has completed so often
  uint64_t awaited_count = 0;
  uint64_t sequence = 0;  // among all streams
};

struct Stream {
  std::deque<Work> queue;
  bool is_default = false;
  bool is_blocking = true;               // takes turns with the default stream
  std::vector<Work>* capture = nullptr;  // takes the work instead
};

// All of these need RuntimeLock().
// Null for what is no stream.
Stream* FindStream(cudaStream_t handle);
Stream* AddStream(bool is_blocking);
void RemoveStream(Stream* stream);
bool AllStreamsAreEmpty();
cudaError_t Push(Stream* stream, Work work);
// The sequence number of the youngest work.
uint64_t LastSequence();
// Does one piece of work of any stream, if it can.
void DoOneStep();

cudaError_t Enqueue(cudaStream_t stream, const char* what, Step step);

// Works until `is_done`, for `wanted` before others. Returns the sticky error. `is_done` is called
// under RuntimeLock(), which the caller must not hold: other threads may have to enqueue what is
// waited for.
cudaError_t WorkUntil(const std::function<bool()>& is_done, const Stream* wanted = nullptr);

// The device that the calling thread has chosen.
int CurrentDevice();
int NumberInMachine(int device);  // whatever CUDA_VISIBLE_DEVICES calls it here; -1: it is none

}  // namespace liquid::emulated

#endif  // LIQUID_TESTS_EMULATED_CUDA_STREAMS_H_
