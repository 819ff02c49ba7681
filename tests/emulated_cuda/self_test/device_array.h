// An array in device memory, for tests.
#ifndef LIQUID_TESTS_EMULATED_CUDA_SELF_TEST_DEVICE_ARRAY_H_
#define LIQUID_TESTS_EMULATED_CUDA_SELF_TEST_DEVICE_ARRAY_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <vector>

namespace liquid::emulated {

template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t count) : count_(count) {
    void* memory = nullptr;
    cudaMalloc(&memory, count * sizeof(T));
    data_ = static_cast<T*>(memory);
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice);
  }
  ~DeviceArray() { Free(); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return data_; }
  // Waits for the default stream and all that block it.
  std::vector<T> Values() const {
    std::vector<T> values(count_);
    cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost);
    return values;
  }
  void Free() {
    if (!is_freed_) cudaFree(data_);
    is_freed_ = true;
  }

 private:
  const size_t count_;
  T* data_ = nullptr;
  bool is_freed_ = false;
};

}  // namespace liquid::emulated

#endif  // LIQUID_TESTS_EMULATED_CUDA_SELF_TEST_DEVICE_ARRAY_H_
