#include "parallel/overlapped_reduction.h"

#include <algorithm>
#include <random>
#include <thread>

#include "gmock/gmock.h"
#include "parallel/thread/thread_communicator.h"
#include "tensor/device.h"

namespace liquid {
namespace {

// Ranks as threads; each has an array of its own, the same ranges for all.
class OverlappedReductionTest : public ::testing::TestWithParam<int> {
 protected:
  using Ranges = std::vector<std::pair<int64_t, int64_t>>;

  int size() const { return GetParam(); }

  const std::unique_ptr<Device> device_ = CreateCpuDevice();
  const std::unique_ptr<Stream> stream_ = *device_->CreateStream();

  void OnEveryRank(const std::function<void(GangCommunicator& group, int rank)>& run) const {
    auto world = CreateThreadWorld(size(), absl::Seconds(30));
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < size(); ++rank) {
      threads.emplace_back([&, rank] { run(*world[rank], rank); });
    }
  }
  std::vector<float> Values(int rank, int64_t count) const {
    std::mt19937 random(static_cast<uint32_t>(rank));
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = normal(random);
    return values;
  }
  static TensorView View(std::vector<float>& values) {
    return {values.data(), {static_cast<int64_t>(values.size())}};
  }

  // Whether the ranges that are added, in this order, come to what all at once comes to.
  void ExpectTheSum(int64_t slice_size, const Ranges& ranges) const {
    OnEveryRank([&](GangCommunicator& group, int rank) {
      std::vector<float> flat = Values(rank, slice_size * size());
      std::vector<float> expected(static_cast<size_t>(slice_size));
      group.ReduceScatterPartsSum(View(expected), View(flat));
      const std::vector<float> before = flat;
      std::vector<float> slice(static_cast<size_t>(slice_size), -1.0f);
      OverlappedReduction reduction(group, *stream_);
      for (const auto& [begin, end] : ranges) {
        reduction.Add(View(slice), View(flat), begin, end);
        EXPECT_TRUE(reduction.has_begun());
      }
      reduction.Finish();
      EXPECT_FALSE(reduction.has_begun());
      EXPECT_EQ(slice, expected);
      EXPECT_EQ(flat, before);
    });
  }
};

TEST_P(OverlappedReductionTest, RangesInAnyOrderAndWhatIsLeftOutComeToTheSum) {
  const int64_t slice_size = 1000;
  const int64_t total = slice_size * size();
  ExpectTheSum(slice_size, {{0, total}});
  ExpectTheSum(slice_size, {{total - 10, total}, {total - 500, total - 10}, {5, 900}});
  ExpectTheSum(slice_size, {{1, 2}, {2, 700}, {total - 1, total}, {700, 800}});
}

TEST_P(OverlappedReductionTest, BucketsThatReachOverSlicesGoToTheirOwners) {
  const int64_t slice_size = OverlappedReduction::kBucketElements * 3 / 4;
  Ranges ranges;
  for (int64_t end = slice_size * size(); end > 0; end -= 70'000) {
    ranges.push_back({std::max<int64_t>(end - 70'000, 0), end});
  }
  ExpectTheSum(slice_size, ranges);
}

TEST_P(OverlappedReductionTest, WhatIsCancelledCanBeginAnew) {
  OnEveryRank([&](GangCommunicator& group, int /*rank*/) {
    const int64_t total = 10 * size();
    std::vector<float> flat(static_cast<size_t>(total), 1.0f);
    std::vector<float> slice(10);
    OverlappedReduction reduction(group, *stream_);
    reduction.Add(View(slice), View(flat), 2, 5);
    reduction.Add(View(slice), View(flat), 7, 10);
    reduction.Cancel();
    EXPECT_FALSE(reduction.has_begun());
    std::fill(flat.begin(), flat.end(), 2.0f);
    reduction.Add(View(slice), View(flat), 4, 6);
    reduction.Finish();
    EXPECT_EQ(slice, std::vector<float>(10, 2.0f * static_cast<float>(size())));
  });
}

INSTANTIATE_TEST_SUITE_P(Sizes, OverlappedReductionTest, ::testing::Values(1, 2, 3, 4));

}  // namespace
}  // namespace liquid
