#include "tests/emulated_cuda/status.h"

#include <atomic>
#include <utility>

namespace liquid::emulated {
namespace {

std::atomic<cudaError_t> sticky_error{cudaSuccess};
thread_local cudaError_t last_error = cudaSuccess;

struct Name {
  cudaError_t code;
  const char* name;
  const char* text;
};
constexpr Name kNames[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration",
     "invalid configuration argument"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress",
     "an illegal memory access was encountered"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
};

const Name& Find(cudaError_t code) {
  static constexpr Name kOther = {cudaErrorUnknown, "cudaErrorUnknown", "unrecognized error code"};
  for (const Name& name : kNames) {
    if (name.code == code) return name;
  }
  return kOther;
}

}  // namespace

void MakeSticky(cudaError_t code) {
  cudaError_t expected = cudaSuccess;
  sticky_error.compare_exchange_strong(expected, code);
}

cudaError_t StickyError() { return sticky_error; }

cudaError_t Remember(cudaError_t code) {
  if (code != cudaSuccess) last_error = code;
  return code;
}

}  // namespace liquid::emulated

using namespace liquid::emulated;

extern "C" {

const char* cudaGetErrorString(cudaError_t code) { return Find(code).text; }
const char* cudaGetErrorName(cudaError_t code) { return Find(code).name; }

cudaError_t cudaGetLastError() {
  const cudaError_t code = std::exchange(last_error, cudaSuccess);
  return code != cudaSuccess ? code : StickyError();
}
cudaError_t cudaPeekAtLastError() { return last_error != cudaSuccess ? last_error : StickyError(); }

}  // extern "C"
