// The CUDA calls that ask what devices there are.
#include <cstdio>
#include <cstring>

#include "tests/emulated_cuda/device_memory.h"
#include "tests/emulated_cuda/options.h"
#include "tests/emulated_cuda/status.h"
#include "tests/emulated_cuda/streams.h"

namespace liquid::emulated {
namespace {

constexpr int kVersion = CUDART_VERSION;
thread_local int current_device = 0;

int NumMultiprocessors() { return GetOptions().sm == 80 ? 108 : GetOptions().sm == 90 ? 132 : 148; }

int NumDevices() { return static_cast<int>(GetOptions().devices.size()); }
bool IsDevice(int device) { return device >= 0 && device < NumDevices(); }

}  // namespace

int CurrentDevice() { return current_device; }
int NumberInMachine(int device) {
  return IsDevice(device) ? GetOptions().devices[static_cast<size_t>(device)] : -1;
}

}  // namespace liquid::emulated

using namespace liquid::emulated;

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  *count = NumDevices();
  return *count > 0 ? cudaSuccess : Remember(cudaErrorNoDevice);
}
cudaError_t cudaSetDevice(int device) {
  if (!IsDevice(device)) return Remember(cudaErrorInvalidDevice);
  current_device = device;
  CatchAddressFaults();
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (!IsDevice(device)) return Remember(cudaErrorInvalidDevice);
  memset(properties, 0, sizeof *properties);
  const Options& options = GetOptions();
  snprintf(properties->name, sizeof properties->name, "emulated sm_%d", options.sm);
  const int number = NumberInMachine(device);
  memcpy(properties->uuid.bytes, &number, sizeof number);
  properties->major = options.sm / 10;
  properties->minor = options.sm % 10;
  properties->multiProcessorCount = NumMultiprocessors();
  properties->totalGlobalMem = options.device_bytes;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = 1024;
  properties->sharedMemPerBlock = 48 << 10;
  properties->sharedMemPerBlockOptin = options.SharedBytesPerBlock();
  properties->sharedMemPerMultiprocessor = options.SharedBytesPerMultiprocessor();
  properties->regsPerBlock = 65536;
  properties->regsPerMultiprocessor = 65536;
  properties->maxThreadsPerMultiProcessor = 2048;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (!IsDevice(device)) return Remember(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = NumMultiprocessors();
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = GetOptions().sm / 10;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = GetOptions().sm % 10;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(GetOptions().SharedBytesPerBlock());
      break;
    case cudaDevAttrMemoryPoolsSupported:
      *value = 1;
      break;
    default:
      fprintf(stderr, "emulated CUDA: cudaDeviceGetAttribute(%d) is not known here\n", attribute);
      return Remember(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char* text, int bytes, int device) {
  if (!IsDevice(device)) return Remember(cudaErrorInvalidDevice);
  snprintf(text, static_cast<size_t>(bytes), "0000:%02x:00.0", NumberInMachine(device) + 1);
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = kVersion;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = kVersion;
  return cudaSuccess;
}
cudaError_t cudaDeviceReset() { return cudaDeviceSynchronize(); }

}  // extern "C"
