#include "kernels/ops.h"

#include <omp.h>

#include "gmock/gmock.h"
#include "kernels/cpu/parallel_for.h"
#include "tests/testing/devices.h"

namespace liquid {
namespace {

class OpsTest : public testing::OnEachDevice {};
INSTANTIATE_TEST_SUITE_P(, OpsTest, testing::AllDevices(), testing::DeviceName);

TEST_P(OpsTest, TheRecipeNamesWhatTheBitsDependOn) {
  EXPECT_EQ(CreateOps(*stream_)->Recipe(DType::kBF16), CreateOps(*stream_)->Recipe(DType::kBF16));
  if (GetParam().type == DeviceType::kCuda) {
    EXPECT_THAT(ops_->Recipe(DType::kF32),
                ::testing::MatchesRegex("cuda sm_[0-9]+, cuBLASLt [0-9]+, 0 products of digest [0-9a-f]+"));
    return;
  }
  EXPECT_THAT(ops_->Recipe(DType::kF32),
              ::testing::MatchesRegex("cpu x86-64-v[34], oneDNN [0-9]+\\.[0-9]+\\.[0-9]+"));
  EXPECT_THAT(ops_->Recipe(DType::kBF16),
              ::testing::MatchesRegex(".*, bf16 products (by AVX512-BF16|of converted fp32)"));
}

TEST(ParallelFor, VisitsEachChunkOnceWithNoThreadsLeftForLibraries) {
  const int before = omp_get_max_threads();
  omp_set_num_threads(3);
  std::vector<int> visits(1000);
  std::vector<int> inner_threads(1000);
  ParallelFor(1000, [&](int64_t chunk) {
    ++visits[chunk];
    inner_threads[chunk] = omp_get_max_threads();
  });
  EXPECT_EQ(visits, std::vector<int>(1000, 1));
  EXPECT_EQ(inner_threads, std::vector<int>(1000, 1));
  EXPECT_EQ(omp_get_max_threads(), 3);  // the caller's setting stays
  omp_set_num_threads(before);
}

TEST(ParallelFor, RangesCoverTheCountWithAShortLastOne) {
  std::vector<int> visits(10);
  ParallelForRanges(10, 4, [&](int64_t begin, int64_t end) {
    EXPECT_EQ(begin % 4, 0);
    EXPECT_EQ(end, std::min<int64_t>(10, begin + 4));
    for (int64_t i = begin; i < end; ++i) ++visits[i];
  });
  EXPECT_EQ(visits, std::vector<int>(10, 1));
}

}  // namespace
}  // namespace liquid
