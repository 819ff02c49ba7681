#include "tests/emulated_cuda/streams.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <thread>
#include <utility>

#include "tests/emulated_cuda/device_memory.h"
#include "tests/emulated_cuda/options.h"
#include "tests/emulated_cuda/status.h"

namespace liquid::emulated {
namespace {

struct Runtime {
  Runtime() { default_stream.is_default = true; }

  std::recursive_mutex lock;
  Stream default_stream;
  std::set<Stream*> streams{&default_stream};
  uint64_t last_sequence = 0;
  uint64_t random_state = 0;
  bool is_stepping = false;
};

Runtime& TheRuntime() {
  static auto* const runtime = new Runtime;  // never destroyed: work may be left when main returns
  return *runtime;
}

bool IsRunnable(const Stream& stream) {
  const Work& work = stream.queue.front();
  if (work.awaited != nullptr && work.awaited->num_completed < work.awaited_count) return false;
  return std::none_of(
      TheRuntime().streams.begin(), TheRuntime().streams.end(), [&](const Stream* other) {
        const bool take_turns =
            stream.is_default ? other->is_blocking : other->is_default && stream.is_blocking;
        return other != &stream && take_turns && !other->queue.empty() &&
               other->queue.front().sequence < work.sequence;
      });
}

size_t RandomBelow(size_t limit) {  // splitmix64
  uint64_t z = (TheRuntime().random_state += GetOptions().seed * 2 + 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  return ((z ^ (z >> 27)) >> 20) % limit;
}

// Those that could work, in the order in which they shall be tried.
std::vector<Stream*> Candidates(const Stream* wanted) {
  std::vector<Stream*> streams;
  for (Stream* stream : TheRuntime().streams) {
    if (!stream->queue.empty() && IsRunnable(*stream)) streams.push_back(stream);
  }
  const auto sequence = [](const Stream* stream) { return stream->queue.front().sequence; };
  if (GetOptions().lazy == 2) {
    std::sort(streams.begin(), streams.end(), [&](const Stream* a, const Stream* b) {
      return std::pair(a == wanted, sequence(a)) > std::pair(b == wanted, sequence(b));
    });
  } else if (GetOptions().seed != 0) {
    for (size_t i = streams.size(); i > 1; --i) std::swap(streams[i - 1], streams[RandomBelow(i)]);
  } else {
    std::sort(streams.begin(), streams.end(),
              [&](const Stream* a, const Stream* b) { return sequence(a) < sequence(b); });
  }
  return streams;
}

enum class Progress { kDone, kNotYet, kNothingRunnable };

Progress StepOnce(const Stream* wanted = nullptr) {
  Runtime& runtime = TheRuntime();
  if (runtime.is_stepping) return Progress::kNothingRunnable;
  const std::vector<Stream*> candidates = Candidates(wanted);
  for (Stream* stream : candidates) {
    bool is_done = true;
    if (StickyError() == cudaSuccess && stream->queue.front().step) {
      const DeviceMemoryWindow window;  // cheap where the caller has one
      runtime.is_stepping = true;
      is_done = stream->queue.front().step();
      runtime.is_stepping = false;
    }
    if (is_done) {
      stream->queue.pop_front();
      return Progress::kDone;
    }
  }
  return candidates.empty() ? Progress::kNothingRunnable : Progress::kNotYet;
}

[[noreturn]] void ReportDeadlock() {
  fprintf(stderr, "emulated CUDA: FAULT: streams wait for events that nothing will complete:");
  for (const Stream* stream : TheRuntime().streams) {
    if (!stream->queue.empty()) fprintf(stderr, " %s", stream->queue.front().what);
  }
  fprintf(stderr, "\n");
  abort();
}

// For tests in which the host waits for another process before it waits for its own streams.
void WorkInBackground() {
  static const bool once = [] {
    std::thread([] {
      for (;;) {
        Progress progress;
        {
          const RuntimeGuard guard(RuntimeLock());
          progress = StepOnce();
        }
        if (progress != Progress::kDone) usleep(100);
      }
    }).detach();
    return true;
  }();
  static_cast<void>(once);
}

}  // namespace

std::recursive_mutex& RuntimeLock() { return TheRuntime().lock; }
uint64_t LastSequence() { return TheRuntime().last_sequence; }
void DoOneStep() { StepOnce(); }

Stream* FindStream(cudaStream_t handle) {
  Runtime& runtime = TheRuntime();
  if (handle == nullptr || handle == cudaStreamLegacy || handle == cudaStreamPerThread) {
    return &runtime.default_stream;
  }
  auto* stream = reinterpret_cast<Stream*>(handle);
  return runtime.streams.contains(stream) ? stream : nullptr;
}

Stream* AddStream(bool is_blocking) {
  auto* stream = new Stream;
  stream->is_blocking = is_blocking;
  TheRuntime().streams.insert(stream);
  return stream;
}

void RemoveStream(Stream* stream) {
  TheRuntime().streams.erase(stream);
  delete stream;
}

bool AllStreamsAreEmpty() {
  return std::all_of(TheRuntime().streams.begin(), TheRuntime().streams.end(),
                     [](const Stream* stream) { return stream->queue.empty(); });
}

cudaError_t Push(Stream* stream, Work work) {
  if (StickyError() != cudaSuccess) return StickyError();
  if (stream->capture != nullptr) {
    stream->capture->push_back(std::move(work));
    return cudaSuccess;
  }
  work.sequence = ++TheRuntime().last_sequence;
  stream->queue.push_back(std::move(work));
  if (GetOptions().lazy == 0) {
    while (StepOnce() == Progress::kDone) {
    }
  }
  if (GetOptions().progress) WorkInBackground();
  return StickyError();
}

cudaError_t Enqueue(cudaStream_t stream, const char* what, Step step) {
  const RuntimeGuard guard(RuntimeLock());
  Stream* found = FindStream(stream);
  if (found == nullptr) return cudaErrorInvalidResourceHandle;
  return Push(found, {.what = what, .step = std::move(step)});
}

cudaError_t WorkUntil(const std::function<bool()>& is_done, const Stream* wanted) {
  constexpr int kTriesBeforeSleep = 200;
  constexpr int kTriesBeforeDeadlock = 100000;
  constexpr int kSleepMicroseconds = 50;
  std::unique_lock lock(RuntimeLock());
  if (is_done()) return StickyError();
  const DeviceMemoryWindow window;  // one for all the work that this wait needs
  for (int tries = 0; !is_done(); ++tries) {
    const Progress progress = StepOnce(wanted);
    if (progress == Progress::kDone) {
      tries = 0;
      continue;
    }
    // What is runnable may wait for another process for as long as that takes.
    if (progress == Progress::kNotYet) tries = std::min(tries, kTriesBeforeSleep);
    if (tries > kTriesBeforeDeadlock && !AllStreamsAreEmpty()) ReportDeadlock();
    lock.unlock();
    if (tries < kTriesBeforeSleep) {
      sched_yield();
    } else {
      usleep(kSleepMicroseconds);
    }
    lock.lock();
  }
  return StickyError();
}

}  // namespace liquid::emulated
