// Slots that are carried out by what was recorded of an earlier one: the same bits as each by
// itself.
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "model/weights.h"
#include "tests/model/model_on_device.h"
#include "tests/testing/devices.h"

namespace liquid::testing {
namespace {

constexpr int64_t kLimit = int64_t{1} << 55;

ModelConfig SmallConfig() {
  ModelConfig config;
  config.family = Family::kLlama;
  config.vocab_size = 64;
  config.hidden_size = 32;
  config.intermediate_size = 48;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 8;
  config.max_position_embeddings = 4096;
  config.tie_word_embeddings = true;
  config.pad_token_id = 3;
  config.windows = {0, 0};
  return config;
}

// A row of two documents of so many tokens, which `seed` decides.
OwnedBatch Row(int32_t first_length, int32_t second_length, int32_t seed) {
  std::vector<std::vector<int32_t>> documents;
  for (const int32_t length : {first_length, second_length}) {
    documents.emplace_back();
    for (int32_t i = 0; i < length; ++i) documents.back().push_back((seed + 7 * i * i) % 64);
  }
  return PackedRow(documents);
}

// What slots come to: their losses, and the exact sums of all gradients.
struct Sums {
  std::vector<std::vector<float>> nll;
  std::vector<std::vector<int64_t>> sums;
  int num_sunk = 0;  // gradients that the host was given

  friend bool operator==(const Sums& a, const Sums& b) {
    return a.nll == b.nll && a.sums == b.sums;
  }
};

Sums SumsOf(const std::vector<OwnedBatch>& slots, DType dtype, DeviceType device,
            Recompute recompute, Repetition repetition, const Tuning& tuning) {
  ModelOnDevice it = *ModelOnDevice::Create(SmallConfig(), {}, dtype, device, tuning);
  InitializeWeights(7, *it.model);
  InitializeAdapters(7, *it.model);
  std::vector<PooledTensor> sums;
  for (const Parameter& parameter : it.model->parameters()) {
    sums.push_back(it.pool->Allocate(DType::kI64, parameter.shape));
    it.ops->Fill({sums.back().view().data, DType::kF32, {2 * parameter.shape.NumElements()}}, 0.0f);
  }
  const PooledTensor flag = it.pool->Allocate(DType::kI32, {1});
  it.ops->Fill({flag.view().data, DType::kF32, {1}}, 0.0f);
  Sums result;
  float loss_scale = 1.0f / 16;
  for (const OwnedBatch& slot : slots) {
    std::vector<float>& nll = result.nll.emplace_back(slot.tokens.size());
    it.model->ForwardBackward(
        slot.view(), loss_scale, recompute,
        [&](int index, ConstTensorView gradient) {
          ++result.num_sunk;
          it.ops->Accumulate(sums[index].view(), gradient, kLimit,
                             static_cast<int32_t*>(flag.view().data));
        },
        absl::MakeSpan(nll), repetition);
    loss_scale *= 0.75f;  // another one in each
  }
  for (const PooledTensor& sum : sums) {
    auto& values = result.sums.emplace_back(static_cast<size_t>(sum.view().NumElements()));
    it.stream->CopyToHost(values.data(), sum.view().data, values.size() * sizeof(int64_t));
    EXPECT_TRUE(it.stream->Synchronize().ok());
  }
  return result;
}

class RepetitionTest : public OnEachDevice {
 protected:
  void ExpectTheSameBits(const std::vector<OwnedBatch>& slots, int num_recorded,
                         DType dtype = DType::kBF16, Recompute recompute = Recompute::kNone,
                         const Tuning& tuning = {}) {
    const DeviceType device = GetParam().type;
    const Sums each = SumsOf(slots, dtype, device, recompute, Repetition::kNone, tuning);
    const Sums repeated = SumsOf(slots, dtype, device, recompute, Repetition::kOfShape, tuning);
    EXPECT_EQ(repeated, each);
    const auto of_one = each.num_sunk / static_cast<int>(slots.size());
    const int saved = device == DeviceType::kCuda ? num_recorded * of_one : 0;
    EXPECT_EQ(repeated.num_sunk, each.num_sunk - saved);
  }
};
INSTANTIATE_TEST_SUITE_P(, RepetitionTest, AllDevices(), DeviceName);

TEST_P(RepetitionTest, SlotsOfOneShapeAreRecordedOnceAndKeepTheirBits) {
  std::vector<OwnedBatch> slots;
  for (int32_t i = 0; i < 5; ++i) slots.push_back(Row(3 + 2 * i, 21 - 2 * i, 11 * i));
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Recompute recompute : {Recompute::kNone, Recompute::kBlock}) {
      ExpectTheSameBits(slots, /*num_recorded=*/3, dtype, recompute);
    }
  }
}

TEST_P(RepetitionTest, ShapesTakeTurns) {
  std::vector<OwnedBatch> slots;
  for (int32_t i = 0; i < 3; ++i) {
    slots.push_back(Row(10, 6, i));
    slots.push_back(Row(20, 12, i));
  }
  ExpectTheSameBits(slots, /*num_recorded=*/2);
}

TEST_P(RepetitionTest, WeightsOfTargetsAreThoseOfEachSlot) {
  std::vector<OwnedBatch> slots;
  for (int32_t i = 0; i < 6; ++i) {
    slots.push_back(Row(10, 6, i));
    if (i % 2 == 0) continue;
    for (size_t n = 0; n < slots.back().tokens.size(); ++n) {
      slots.back().weights.push_back(0.5f + static_cast<float>((n * 3 + i) % 4));
    }
  }
  ExpectTheSameBits(slots, /*num_recorded=*/2);
}

TEST_P(RepetitionTest, WhatIsRandomIsThatOfEachSlotAlsoOfAdapters) {
  Tuning tuning;
  tuning.adapter = {.rank = 4, .alpha = 8, .target_modules = {"all-linear"}, .dropout = 0.3};
  tuning.neftune_alpha = 5;
  std::vector<OwnedBatch> slots;
  for (int32_t i = 0; i < 6; ++i) {
    slots.push_back(Row(10, 6, i));
    if (i % 2 == 0) slots.back().row_keys = {1000 + static_cast<uint64_t>(i)};
  }
  ExpectTheSameBits(slots, /*num_recorded=*/2, DType::kBF16, Recompute::kNone, tuning);
}

// Positions beyond the tables of angles that were recorded.
TEST_P(RepetitionTest, TablesThatGrowAreRecordedAnew) {
  std::vector<OwnedBatch> slots;
  for (int32_t i = 0; i < 3; ++i) slots.push_back(Row(10, 6, i));
  slots.push_back(Row(257, 4, 1));
  for (int32_t i = 0; i < 3; ++i) slots.push_back(Row(9, 7, i));
  ExpectTheSameBits(slots, /*num_recorded=*/3);
}

}  // namespace
}  // namespace liquid::testing
