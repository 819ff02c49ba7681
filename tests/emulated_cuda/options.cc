#include "tests/emulated_cuda/options.h"

#include <dlfcn.h>

#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

namespace liquid::emulated {
namespace {

uint64_t Number(const char* name, uint64_t otherwise) {
  const char* text = getenv(name);
  return text == nullptr ? otherwise : strtoull(text, nullptr, 0);
}

// Whoever puts this library into LD_LIBRARY_PATH wants a device. A program that was linked with it
// (LIQUID_CUDA=EMULATED) would be slow beyond use if it took it for a GPU, so it finds none.
bool IsAskedFor() {
  const char* path = getenv("LD_LIBRARY_PATH");
  Dl_info info;
  if (path == nullptr || dladdr(reinterpret_cast<const void*>(&IsAskedFor), &info) == 0) {
    return false;
  }
  const std::string file = info.dli_fname;
  return std::string(path).find(file.substr(0, file.rfind('/'))) != std::string::npos;
}

// All of the machine's, or those that CUDA_VISIBLE_DEVICES numbers.
std::vector<int> VisibleDevices() {
  const auto num_devices =
      static_cast<int>(Number("LIQUID_EMULATED_DEVICES", IsAskedFor() ? 1 : 0));
  std::vector<int> devices;
  const char* visible = getenv("CUDA_VISIBLE_DEVICES");
  if (visible == nullptr) {
    for (int device = 0; device < num_devices; ++device) devices.push_back(device);
    return devices;
  }
  std::istringstream numbers(visible);
  for (std::string number; std::getline(numbers, number, ',');) {
    const int device = atoi(number.c_str());
    if (device < 0 || device >= num_devices) break;  // as CUDA does
    devices.push_back(device);
  }
  return devices;
}

}  // namespace

const Options& GetOptions() {
  static const Options options = {
      .seed = Number("LIQUID_EMULATED_SEED", 0),
      .lazy = Number("LIQUID_EMULATED_LAZY", 2),
      .abort = Number("LIQUID_EMULATED_ABORT", 1) != 0,
      .race_blocks = Number("LIQUID_EMULATED_RACE_BLOCKS", 0) != 0,
      .host_guard = Number("LIQUID_EMULATED_HOST_GUARD", 1) != 0,
      .progress = Number("LIQUID_EMULATED_PROGRESS", 0) != 0,
      .sm = static_cast<int>(Number("LIQUID_EMULATED_SM", 90)),
      .devices = VisibleDevices(),
      .device_bytes = Number("LIQUID_EMULATED_DEVICE_BYTES", uint64_t{4} << 30),
      .stack_bytes = Number("LIQUID_EMULATED_STACK", 256 << 10),
      .nccl_warn_seconds = static_cast<double>(Number("LIQUID_EMULATED_NCCL_WARN", 20)),
  };
  return options;
}

}  // namespace liquid::emulated
