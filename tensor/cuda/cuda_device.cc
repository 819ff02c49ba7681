#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/handle.h"
#include "base/status.h"
#include "tensor/cuda/cuda_status.h"
#include "tensor/cuda/cuda_stream.h"
#include "tensor/device.h"

namespace liquid {
namespace {

using StreamHandle = Handle<cudaStream_t, cudaStreamDestroy>;
using EventHandle = Handle<cudaEvent_t, cudaEventDestroy>;
using GraphHandle = Handle<cudaGraph_t, cudaGraphDestroy>;
using GraphExecHandle = Handle<cudaGraphExec_t, cudaGraphExecDestroy>;

// A thread's calls go to its current device, which is a property of the thread.
absl::Status MakeCurrent(int ordinal) {
  return FromCuda(cudaSetDevice(ordinal), absl::StrCat("CUDA device ", ordinal));
}

class CudaRecording final : public Recording {
 public:
  CudaRecording(CudaStream& stream, GraphExecHandle graph)
      : stream_(stream), graph_(std::move(graph)) {}
  void Enqueue() override {
    stream_.Latch(cudaGraphLaunch(graph_.get(), stream_.native()), "cudaGraphLaunch");
  }

 private:
  CudaStream& stream_;
  const GraphExecHandle graph_;
};

class CudaStreamOfDevice final : public CudaStream {
 public:
  CudaStreamOfDevice(Device& device, int ordinal, StreamHandle stream, EventHandle event)
      : device_(device), ordinal_(ordinal), stream_(std::move(stream)), event_(std::move(event)) {}

  Device& device() override { return device_; }
  cudaStream_t native() const override { return stream_.get(); }

  void Latch(cudaError_t code, std::string_view what) override {
    if (code != cudaSuccess) status_.Update(FromCuda(code, what));
  }

  void Latch(absl::Status status) override { status_.Update(status); }

  void CopyFromHost(void* out, const void* host, size_t num_bytes) override {
    Copy(out, host, num_bytes, cudaMemcpyHostToDevice, "a copy to the device");
  }
  void CopyToHost(void* host, const void* in, size_t num_bytes) override {
    // A copy into memory that is not pinned waits in CUDA, where nobody watches.
    if (IsWatched()) Latch(PollUntilIdle(), "work on the device");
    Copy(host, in, num_bytes, cudaMemcpyDeviceToHost, "a copy from the device");
  }
  void CopyOnDevice(void* out, const void* in, size_t num_bytes) override {
    Copy(out, in, num_bytes, cudaMemcpyDeviceToDevice, "a copy on the device");
  }

  std::unique_ptr<Recording> Record(const std::function<void()>& enqueue) override {
    status_.Update(MakeCurrent(ordinal_));
    // Relaxed: what other threads do meanwhile, and allocations, are none of its business.
    Latch(cudaStreamBeginCapture(native(), cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
    if (!status_.ok()) return nullptr;
    enqueue();
    cudaGraph_t graph = nullptr;
    Latch(cudaStreamEndCapture(native(), &graph), "cudaStreamEndCapture");
    const GraphHandle owner(graph);
    if (!status_.ok()) return nullptr;
    cudaGraphExec_t executable = nullptr;
    Latch(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
    if (!status_.ok()) return nullptr;
    return std::make_unique<CudaRecording>(*this, GraphExecHandle(executable));
  }

  void WaitFor(Stream& other) override {
    awaited_ = &AsCudaStream(other);
    Latch(cudaEventRecord(event_.get(), AsCudaStream(other).native()), "cudaEventRecord");
    Latch(cudaStreamWaitEvent(native(), event_.get(), 0), "cudaStreamWaitEvent");
  }

  absl::Status Synchronize() override {
    status_.Update(MakeCurrent(ordinal_));
    Latch(IsWatched() ? PollUntilIdle() : cudaStreamSynchronize(native()), "work on the device");
    return status_;
  }

  void SetWatch(const void* owner, std::function<void()> watch) override {
    if (watch == nullptr) {
      watches_.erase(owner);
    } else {
      watches_[owner] = std::move(watch);
    }
  }

  void Watch() override {
    for (const auto& [owner, watch] : watches_) watch();
    // One step: two streams may wait for each other's past.
    CudaStream* const awaited = std::exchange(awaited_, nullptr);
    if (awaited == nullptr) return;
    awaited->Watch();
    awaited_ = awaited;
  }

 private:
  bool IsWatched() const { return !watches_.empty() || awaited_ != nullptr; }

  // At full attention first, since most waits are short; then ever more asleep.
  cudaError_t PollUntilIdle() {
    constexpr int kSpins = 2000;  // a millisecond or two
    auto nap = std::chrono::microseconds(5);
    for (int round = 0;; ++round) {
      const cudaError_t code = cudaStreamQuery(native());
      if (code != cudaErrorNotReady) return code;
      if (round < kSpins) continue;
      Watch();
      std::this_thread::sleep_for(nap);
      nap = std::min(nap * 2, std::chrono::microseconds(50));
    }
  }

  void Copy(void* out, const void* in, size_t num_bytes, cudaMemcpyKind kind, const char* what) {
    if (num_bytes == 0) return;
    status_.Update(MakeCurrent(ordinal_));
    Latch(cudaMemcpyAsync(out, in, num_bytes, kind, native()), what);
  }

  Device& device_;
  const int ordinal_;
  const StreamHandle stream_;
  const EventHandle event_;  // of the newest WaitFor: what waits has taken its state
  absl::Status status_;      // the first failure
  std::map<const void*, std::function<void()>> watches_;
  CudaStream* awaited_ = nullptr;  // of the newest WaitFor: it outlives the waits here
};

class CudaDevice final : public Device {
 public:
  CudaDevice(int ordinal, std::string name) : ordinal_(ordinal), name_(std::move(name)) {}
  DeviceType type() const override { return DeviceType::kCuda; }
  std::string name() const override { return name_; }
  int64_t TotalBytes(int /*num_ranks*/) const override {
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    const bool known = cudaSetDevice(ordinal_) == cudaSuccess &&
                       cudaMemGetInfo(&free_bytes, &total_bytes) == cudaSuccess;
    return known ? static_cast<int64_t>(total_bytes) : 0;
  }

  absl::StatusOr<Buffer> Allocate(size_t num_bytes) override {
    LIQUID_RETURN_IF_ERROR(MakeCurrent(ordinal_));
    void* data = nullptr;
    const cudaError_t code = cudaMalloc(&data, num_bytes);
    if (code == cudaErrorMemoryAllocation) {
      size_t free_bytes = 0;
      size_t total_bytes = 0;
      cudaMemGetInfo(&free_bytes, &total_bytes);
      return absl::ResourceExhaustedError(absl::StrCat("CUDA device ", ordinal_, ": cannot get ",
                                                       num_bytes, " bytes, ", free_bytes, " of ",
                                                       total_bytes, " are free"));
    }
    LIQUID_RETURN_IF_ERROR(FromCuda(code, "cudaMalloc"));
    return Buffer(static_cast<std::byte*>(data), [](std::byte* p) { cudaFree(p); });
  }

  absl::StatusOr<Buffer> AllocateHost(size_t num_bytes) override {
    LIQUID_RETURN_IF_ERROR(MakeCurrent(ordinal_));
    void* data = nullptr;
    LIQUID_RETURN_IF_ERROR(FromCuda(cudaMallocHost(&data, num_bytes),
                                    absl::StrCat(num_bytes, " bytes of pinned host memory")));
    return Buffer(static_cast<std::byte*>(data), [](std::byte* p) { cudaFreeHost(p); });
  }

  absl::StatusOr<std::unique_ptr<Stream>> CreateStream() override {
    LIQUID_RETURN_IF_ERROR(MakeCurrent(ordinal_));
    cudaStream_t stream = nullptr;
    LIQUID_RETURN_IF_ERROR(
        FromCuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "a CUDA stream"));
    StreamHandle owned_stream(stream);
    cudaEvent_t event = nullptr;
    LIQUID_RETURN_IF_ERROR(
        FromCuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "a CUDA event"));
    return std::make_unique<CudaStreamOfDevice>(*this, ordinal_, std::move(owned_stream),
                                                EventHandle(event));
  }

 private:
  const int ordinal_;
  const std::string name_;
};

}  // namespace

absl::StatusOr<int> CountCudaDevices() {
  int count = 0;
  LIQUID_RETURN_IF_ERROR(FromCuda(cudaGetDeviceCount(&count), "no CUDA device"));
  return count;
}

absl::StatusOr<std::unique_ptr<Device>> CreateCudaDevice(int ordinal) {
  LIQUID_ASSIGN_OR_RETURN(const int count, CountCudaDevices());
  if (ordinal < 0 || ordinal >= count) {
    return absl::UnavailableError(absl::StrCat("no CUDA device ", ordinal, ": this machine has ",
                                               count, ", numbered from 0"));
  }
  LIQUID_RETURN_IF_ERROR(MakeCurrent(ordinal));
  cudaDeviceProp properties{};
  LIQUID_RETURN_IF_ERROR(FromCuda(cudaGetDeviceProperties(&properties, ordinal),
                                  absl::StrCat("CUDA device ", ordinal)));
  const absl::string_view uuid(properties.uuid.bytes, sizeof(properties.uuid.bytes));
  return std::make_unique<CudaDevice>(ordinal, absl::StrCat("GPU-", absl::BytesToHexString(uuid)));
}

}  // namespace liquid
