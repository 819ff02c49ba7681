#include "data/length_histogram.h"

#include <numeric>

#include "gmock/gmock.h"

namespace liquid {
namespace {

TEST(LengthHistogramTest, CountsEveryLengthOnce) {
  for (const int64_t row : {2, 3, 7, 64, 1000}) {
    LengthHistogram lengths;
    for (int64_t size = 1; size <= 10 * row; ++size) lengths.Add(size, row);
    EXPECT_EQ(lengths.longest, 10 * row);
    EXPECT_EQ(std::accumulate(lengths.counts.begin(), lengths.counts.end(), int64_t{0}), 10 * row);
    // What fits into a row is apart from what does not.
    EXPECT_EQ(std::accumulate(lengths.counts.begin(),
                              lengths.counts.begin() + LengthHistogram::kNumInRow, int64_t{0}),
              row);
    EXPECT_EQ(lengths.counts.back(), 2 * row);
  }
}

TEST(LengthHistogramTest, DrawsBars) {
  LengthHistogram lengths;
  for (int i = 0; i < 20; ++i) lengths.Add(20, 64);
  lengths.Add(1, 64);
  lengths.Add(70, 64);
  EXPECT_EQ(HistogramText(lengths, 64, 10),
            "        1 .. 8       |# 1\n"
            "        9 .. 16      |0\n"
            "       17 .. 24      |########## 20\n"
            "       25 .. 32      |0\n"
            "       33 .. 40      |0\n"
            "       41 .. 48      |0\n"
            "       49 .. 56      |0\n"
            "       57 .. 64      |0\n"
            "       65 .. 70      |# 1  longer than a row");
}

}  // namespace
}  // namespace liquid
