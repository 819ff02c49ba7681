// The devices of this machine, for tests that must hold on each of them.
#ifndef LIQUID_TESTS_TESTING_DEVICES_H_
#define LIQUID_TESTS_TESTING_DEVICES_H_

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/ops.h"
#include "tensor/device.h"
#include "tensor/pool.h"

namespace liquid::testing {

// A device, and which of its sets of kernels: on a CPU one per instruction set, best first. A GPU
// has one. There is one if the tests run on a machine with it, or in emulation;
// LIQUID_REQUIRE_CUDA=1 in the environment says that there must be.
struct TestedDevice {
  DeviceType type;
  int kernels;
};

// Runs each TEST_P once per tested device.
class OnEachDevice : public ::testing::TestWithParam<TestedDevice> {
 protected:
  void SetUp() override {
    if (GetParam().type == DeviceType::kCuda) {
      device_ = CreateCudaDevice(0).value();
      stream_ = device_->CreateStream().value();
      ops_ = CreateOps(*stream_);
    } else {
      device_ = CreateCpuDevice();
      stream_ = *device_->CreateStream();
      ops_ = std::make_unique<CpuOps>(*stream_, *SimdLoopsAt(GetParam().kernels));
    }
    pool_ = std::make_unique<TensorPool>(*device_);
  }

  // A device tensor with these values.
  PooledTensor Upload(const std::vector<float>& values, const Shape& shape) {
    return UploadAs(values, DType::kF32, shape);
  }
  PooledTensor UploadInts(const std::vector<int32_t>& values) {
    return UploadAs(values, DType::kI32, {static_cast<int64_t>(values.size())});
  }
  template <typename T>
  PooledTensor UploadAs(const std::vector<T>& values, DType dtype, const Shape& shape) {
    PooledTensor tensor = pool_->Allocate(dtype, shape);
    EXPECT_EQ(tensor.view().NumBytes(), static_cast<int64_t>(values.size() * sizeof(T)));
    stream_->CopyFromHost(tensor.view().data, values.data(), values.size() * sizeof(T));
    return tensor;
  }
  // A device tensor full of NaN: a kernel that is to assign must leave none of them.
  PooledTensor Garbage(const Shape& shape) {
    const auto count = static_cast<size_t>(shape.NumElements());
    return Upload(std::vector<float>(count, __builtin_nanf("")), shape);
  }

  template <typename T = float>
  std::vector<T> Download(const PooledTensor& tensor) {
    std::vector<T> values(static_cast<size_t>(tensor.view().NumElements()));
    stream_->CopyToHost(values.data(), tensor.view().data, values.size() * sizeof(T));
    EXPECT_TRUE(stream_->Synchronize().ok());
    return values;
  }
  static const int32_t* Ints(const PooledTensor& tensor) {
    return static_cast<const int32_t*>(tensor.view().data);
  }

  std::unique_ptr<Device> device_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Ops> ops_;
  std::unique_ptr<TensorPool> pool_;
};

inline auto AllDevices() {
  std::vector<TestedDevice> devices;
  for (int i = 0; SimdLoopsAt(i) != nullptr; ++i) devices.push_back({DeviceType::kCpu, i});
  const char* require = std::getenv("LIQUID_REQUIRE_CUDA");
  const bool is_required = require != nullptr && std::string(require) == "1";
  if (is_required || CountCudaDevices().value_or(0) > 0) devices.push_back({DeviceType::kCuda, 0});
  return ::testing::ValuesIn(devices);
}
inline std::string DeviceName(const ::testing::TestParamInfo<TestedDevice>& info) {
  if (info.param.type == DeviceType::kCuda) return "Cuda";
  std::string name = SimdLoopsAt(info.param.kernels)->isa;
  std::replace(name.begin(), name.end(), '-', '_');
  return "Cpu_" + name;
}
inline void PrintTo(const TestedDevice& device, std::ostream* out) {
  *out << (device.type == DeviceType::kCuda ? "cuda" : SimdLoopsAt(device.kernels)->isa);
}

}  // namespace liquid::testing

#endif  // LIQUID_TESTS_TESTING_DEVICES_H_
