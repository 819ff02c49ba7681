// The memory of a model's pass on each device, against the plan backend's: activations, workspace
// of the operations, and what else the model takes are equal. On GPUs too, or in emulation.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "kernels/cpu/team.h"
#include "kernels/plan/plan_ops.h"
#include "model/weights.h"
#include "tensor/plan/plan_device.h"
#include "tests/model/model_on_device.h"
#include "tests/model/tiny_config.h"
#include "tests/testing/devices.h"

namespace liquid {
namespace {

using testing::ModelOnDevice;

struct Bytes {
  int64_t pool = 0;
  int64_t activations = 0;
  int64_t workspace = 0;
  friend bool operator==(const Bytes&, const Bytes&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Bytes& bytes) {
    return out << "pool " << bytes.pool << ", activations " << bytes.activations << ", workspace "
               << bytes.workspace;
  }
};

// Of one pass over `num_rows` rows of 70 tokens, all scored.
Bytes BytesOfPass(Model& model, const Ops& ops, const TensorPool& pool, int64_t num_rows,
                  Recompute recompute) {
  constexpr int64_t kLength = 70;
  std::vector<int32_t> ones(static_cast<size_t>(num_rows * kLength), 1);
  std::vector<int32_t> starts(ones.size(), 0);
  std::vector<int32_t> positions(ones.size());
  for (size_t i = 0; i < positions.size(); ++i) {
    positions[i] = static_cast<int32_t>(static_cast<int64_t>(i) % kLength);
  }
  std::vector<float> nll(ones.size());
  const TokenBatch batch = {num_rows, kLength, ones, ones, positions, starts};
  model.ForwardBackward(
      batch, 1.0f, recompute, [](int, ConstTensorView) {}, absl::MakeSpan(nll));
  return {pool.allocated_bytes(), model.activations().allocated_bytes(), ops.WorkspaceBytes()};
}

class PlanTest : public ::testing::TestWithParam<testing::TestedDevice> {};

TEST_P(PlanTest, APassTakesWhatThePlanSays) {
  SizeTeam(/*ranks_on_machine=*/64);  // one thread
  const DeviceType type = GetParam().type;
  WorkspaceRules rules = RulesOfThisCpu();
  rules.device = type;
  for (const testing::Form family : testing::AllForms()) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      const Recompute recompute = dtype == DType::kF32 ? Recompute::kNone : Recompute::kBlock;
      const int64_t num_rows = dtype == DType::kF32 ? 1 : 2;
      SCOPED_TRACE(absl::StrCat(testing::NameOf(family), " ", num_rows, " rows"));
      ModelConfig config = testing::TinyConfig(family, 2);
      config.max_position_embeddings = 128;
      const auto real = ModelOnDevice::Create(config, {}, dtype, type);
      ASSERT_TRUE(real.ok()) << real.status();
      InitializeWeights(1, *real->model);

      const auto device = *PlanDevice::Create(type);
      const auto stream = *device->CreateStream();
      PlanOps ops(*stream, rules);
      TensorPool pool(*device);
      const auto model = *CreateModel(config, ops, *stream, pool, {}, dtype);
      EXPECT_EQ(BytesOfPass(*model, ops, pool, num_rows, recompute),
                BytesOfPass(*real->model, *real->ops, *real->pool, num_rows, recompute));
    }
  }
}

// One of a kind: the sets of a CPU's kernels take the same memory.
std::vector<testing::TestedDevice> OneOfEachType() {
  std::vector<testing::TestedDevice> devices = {{DeviceType::kCpu, 0}};
  if (CountCudaDevices().value_or(0) > 0) devices.push_back({DeviceType::kCuda, 0});
  return devices;
}
INSTANTIATE_TEST_SUITE_P(Devices, PlanTest, ::testing::ValuesIn(OneOfEachType()),
                         testing::DeviceName);

TEST(PlanDeviceTest, WhatIsAllocatedIsCountedAndMayNotBeTouched) {
  const auto device = *PlanDevice::Create(DeviceType::kCuda);
  EXPECT_EQ(device->type(), DeviceType::kCuda);
  EXPECT_FALSE(device->has_memory());
  {
    const Buffer first = *device->Allocate(size_t{100} << 30);
    const Buffer second = *device->Allocate(3);
    const Buffer host = *device->AllocateHost(5);
    EXPECT_EQ(device->allocated_bytes(), (int64_t{100} << 30) + 3);
    EXPECT_EQ(device->host_bytes(), 5);
    EXPECT_EQ(second.get() - first.get(), int64_t{100} << 30);
    EXPECT_DEATH(*first = std::byte{1}, "");
  }
  EXPECT_EQ(device->allocated_bytes(), 0);
  EXPECT_TRUE(absl::IsResourceExhausted(device->Allocate(size_t{1} << 50).status()));
}

}  // namespace
}  // namespace liquid
