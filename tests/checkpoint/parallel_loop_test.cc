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

TEST(ParallelLoopTest, ThereIsACpu) { EXPECT_GE(NumUsableCpus(), 1); }

}  // namespace
}  // namespace liquid
