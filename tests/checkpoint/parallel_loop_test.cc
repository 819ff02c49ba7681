#include "checkpoint/parallel_loop.h"

#include <atomic>
#include <vector>

#include "gtest/gtest.h"

namespace liquid {
namespace {

TEST(ParallelLoopTest, CallsEachIndexOnce) {
  for (const int num_threads : {0, 1, 2, 7}) {
    for (const int64_t count : {0, 1, 5, 1000}) {
      std::vector<std::atomic<int>> calls(static_cast<size_t>(count));
      ParallelLoop(num_threads, count, [&](int64_t i) { ++calls[static_cast<size_t>(i)]; });
      for (const auto& n : calls) EXPECT_EQ(n, 1);
    }
  }
}

TEST(ParallelLoopTest, EndsAtTheFirstError) {
  std::atomic<int> calls = 0;
  const auto fail_at_3 = [&](int64_t i) {
    ++calls;
    return i == 3 ? absl::DataLossError("three") : absl::OkStatus();
  };
  EXPECT_EQ(ParallelLoopUntilError(1, 1000, nullptr, fail_at_3), absl::DataLossError("three"));
  EXPECT_EQ(calls, 4);
  EXPECT_TRUE(ParallelLoopUntilError(2, 3, nullptr, fail_at_3).ok());
  const std::atomic<bool> stop = true;
  calls = 0;
  EXPECT_TRUE(absl::IsCancelled(ParallelLoopUntilError(2, 1000, &stop, fail_at_3)));
  EXPECT_EQ(calls, 0);
}

TEST(ParallelLoopTest, ThereIsACpu) { EXPECT_GE(NumUsableCpus(), 1); }

}  // namespace
}  // namespace liquid
