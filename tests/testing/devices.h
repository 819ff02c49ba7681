// The devices of this machine, for tests that must hold on each of them.
#ifndef LIQUID_TESTS_TESTING_DEVICES_H_
#define LIQUID_TESTS_TESTING_DEVICES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/ops.h"
#include "tensor/device.h"
#include "tensor/pool.h"

namespace liquid::testing {

// Runs each TEST_P once per kind of device.
class OnEachDevice : public ::testing::TestWithParam<DeviceType> {
 protected:
  void SetUp() override {
    ASSERT_EQ(GetParam(), DeviceType::kCpu);
    device_ = CreateCpuDevice();
    stream_ = *device_->CreateStream();
    ops_ = CreateOps(*stream_);
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

inline auto AllDevices() { return ::testing::Values(DeviceType::kCpu); }
inline std::string DeviceName(const ::testing::TestParamInfo<DeviceType>& info) {
  return info.param == DeviceType::kCpu ? "Cpu" : "Unknown";
}

}  // namespace liquid::testing

#endif  // LIQUID_TESTS_TESTING_DEVICES_H_
