#include "data/epoch_order.h"

#include <cmath>
#include <map>
#include <set>
#include <vector>

#include "gmock/gmock.h"

namespace liquid {
namespace {

using ::testing::ElementsAre;

std::vector<int64_t> Epoch(const EpochOrder& order, int64_t epoch) {
  std::vector<int64_t> rows;
  for (int64_t p = 0; p < order.epoch_length(); ++p) rows.push_back(order.RowAt(epoch, p));
  return rows;
}

TEST(EpochOrderTest, VisitsEveryRowOnceAtAnySize) {
  for (const int64_t num_rows : {1,  2,  3,   4,   5,   6,   7,    8,    9,    15,   16,  17,
                                 31, 33, 100, 255, 256, 257, 1000, 1023, 1025, 4097, 9734}) {
    const EpochOrder order(42, num_rows, true);
    for (int64_t epoch = 0; epoch < 3; ++epoch) {
      const std::vector<int64_t> rows = Epoch(order, epoch);
      const std::set<int64_t> distinct(rows.begin(), rows.end());
      EXPECT_EQ(static_cast<int64_t>(distinct.size()), num_rows) << num_rows << " " << epoch;
      EXPECT_EQ(*distinct.begin(), 0);
      EXPECT_EQ(*distinct.rbegin(), num_rows - 1);
    }
  }
}

// Computed by a separate implementation in another language: an order that changes silently would
// make every ledger and every resumed job wrong.
TEST(EpochOrderTest, NeverChangesBetweenVersions) {
  EXPECT_THAT(Epoch(EpochOrder(42, 10, true), 0), ElementsAre(5, 7, 2, 0, 4, 6, 8, 3, 1, 9));
  EXPECT_THAT(Epoch(EpochOrder(42, 10, true), 1), ElementsAre(2, 4, 3, 9, 1, 8, 0, 7, 6, 5));
  const EpochOrder thousand(7, 1000, true);
  const std::vector<int64_t> expected = {953, 342, 579, 996, 408, 954, 841, 983};
  for (size_t p = 0; p < expected.size(); ++p) {
    EXPECT_EQ(thousand.RowAt(3, static_cast<int64_t>(p)), expected[p]);
  }
}

TEST(EpochOrderTest, WorksAtSizesThatNoArrayHolds) {
  const int64_t trillion = int64_t{1} << 40;
  const EpochOrder order(~uint64_t{0}, trillion, true);
  EXPECT_EQ(order.RowAt(5, 0), 143257051447);
  EXPECT_EQ(order.RowAt(5, 1), 671032909052);
  EXPECT_EQ(order.RowAt(5, trillion / 2), 359172374939);
  EXPECT_EQ(order.RowAt(5, trillion - 1), 140883610570);
  const EpochOrder odd(0, 3 * (int64_t{1} << 50) + 1, true);  // far from a power of two
  EXPECT_EQ(odd.RowAt(0, 0), 1496191476958626);
  EXPECT_EQ(odd.RowAt(0, 1), 27172414462336);
  EXPECT_EQ(odd.RowAt(0, int64_t{1} << 50), 3340212449141216);
  std::set<int64_t> distinct;
  for (int64_t p = 0; p < 10000; ++p) distinct.insert(order.RowAt(0, p));
  EXPECT_EQ(distinct.size(), 10000u);
}

TEST(EpochOrderTest, DiffersByEpochAndBySeed) {
  const EpochOrder order(1, 1000, true);
  EXPECT_NE(Epoch(order, 0), Epoch(order, 1));
  EXPECT_NE(Epoch(order, 0), Epoch(EpochOrder(2, 1000, true), 0));
  EXPECT_EQ(Epoch(order, 0), Epoch(EpochOrder(1, 1000, true), 0));
}

TEST(EpochOrderTest, UnshuffledIsTheOrderOfTheRows) {
  EXPECT_THAT(Epoch(EpochOrder(9, 4, false), 7), ElementsAre(0, 1, 2, 3));
}

// Chi-square of how often each row comes first, and of how often it comes in the middle, over many
// epochs. With 12 degrees of freedom 45 is exceeded once in 100,000 times; the
// seed is fixed, so the test is not flaky.
TEST(EpochOrderTest, FavoursNoRow) {
  constexpr int kNumRows = 13;
  constexpr int kNumEpochs = 13000;
  const EpochOrder order(123, kNumRows, true);
  std::vector<double> first(kNumRows, 0);
  std::vector<double> middle(kNumRows, 0);
  for (int epoch = 0; epoch < kNumEpochs; ++epoch) {
    ++first[order.RowAt(epoch, 0)];
    ++middle[order.RowAt(epoch, kNumRows / 2)];
  }
  for (const std::vector<double>& counts : {first, middle}) {
    const double expected = static_cast<double>(kNumEpochs) / kNumRows;
    double chi_square = 0;
    for (const double count : counts) chi_square += std::pow(count - expected, 2) / expected;
    EXPECT_LT(chi_square, 45);
    EXPECT_GT(chi_square, 1);  // not suspiciously even either
  }
}

// All 24 orders of four rows, and all 6 of three, are reached about equally often.
TEST(EpochOrderTest, ReachesEveryPermutationOfAFewRows) {
  for (const auto& [num_rows, factorial] : std::map<int, size_t>{{3, 6}, {4, 24}, {5, 120}}) {
    const EpochOrder order(5, num_rows, true);
    std::map<std::vector<int64_t>, int> seen;
    const int num_epochs = static_cast<int>(factorial) * 200;
    for (int epoch = 0; epoch < num_epochs; ++epoch) ++seen[Epoch(order, epoch)];
    EXPECT_EQ(seen.size(), factorial);
    for (const auto& [rows, count] : seen) {
      EXPECT_GT(count, 100);
      EXPECT_LT(count, 320);
    }
  }
}

// Neighbours in the order must not be neighbours in the dataset: the mean distance of a random
// order of n rows is n / 3.
TEST(EpochOrderTest, SeparatesNeighbours) {
  constexpr int64_t kNumRows = 4099;
  const std::vector<int64_t> rows = Epoch(EpochOrder(77, kNumRows, true), 0);
  double sum = 0;
  for (size_t i = 1; i < rows.size(); ++i)
    sum += static_cast<double>(std::abs(rows[i] - rows[i - 1]));
  const double mean = sum / static_cast<double>(rows.size() - 1);
  EXPECT_NEAR(mean / kNumRows, 1.0 / 3.0, 0.02);
}

TEST(EpochOrderTest, StreamIsTheConcatenationOfEpochs) {
  const EpochOrder order(3, 7, true);
  for (int64_t stream = 0; stream < 30; ++stream) {
    const EpochOrder::StreamRow at = order.AtStream(stream);
    EXPECT_EQ(at.epoch, stream / 7);
    EXPECT_EQ(at.position, stream % 7);
    EXPECT_EQ(at.row, order.RowAt(at.epoch, at.position));
  }
}

// Sources of all sorts: whole epochs and parts of them, and shares that are no epochs at all.
const std::vector<std::vector<RowSource>> kMixtures = {
    {{7, 7}},
    {{7, 14}, {5, 5}},
    {{10, 3}, {4, 9}, {1, 5}},
    {{1, 1}, {1, 1}},
    {{64, 16}, {3, 100}},
    {{9, 1}, {9, 17}},
    {{100, 250}},
    {{5, 5}, {6, 6}, {7, 7}, {8, 8}},
};

TEST(MixedEpochOrderTest, EveryRowComesOnceInEachEpochOfItsSource) {
  for (const bool shuffle : {true, false}) {
    for (const std::vector<RowSource>& sources : kMixtures) {
      const EpochOrder order(5, sources, shuffle);
      constexpr int64_t kEpochs = 40;
      // By source and its epoch: how often each row came.
      std::map<std::pair<int, int64_t>, std::map<int64_t, int>> visits;
      for (int64_t at = 0; at < kEpochs * order.epoch_length(); ++at) {
        const EpochOrder::StreamRow row = order.AtStream(at);
        ++visits[{row.source, row.source_epoch}][row.row];
      }
      int64_t first_row = 0;
      for (int s = 0; s < order.num_sources(); ++s) {
        const RowSource source = order.source(s);
        EXPECT_EQ(source.num_rows, sources[s].num_rows);
        EXPECT_EQ(source.draws, sources[s].draws);
        int64_t left = kEpochs * source.draws;
        for (int64_t epoch = 0; left > 0; ++epoch) {
          const std::map<int64_t, int>& rows = visits[{s, epoch}];
          EXPECT_EQ(static_cast<int64_t>(rows.size()), std::min(left, source.num_rows));
          for (const auto& [row, count] : rows) {
            EXPECT_EQ(count, 1);
            EXPECT_GE(row, first_row);
            EXPECT_LT(row, first_row + source.num_rows);
          }
          left -= source.num_rows;
        }
        EXPECT_EQ(left <= 0, true);
        first_row += source.num_rows;
      }
      EXPECT_EQ(order.num_rows(), first_row);
    }
  }
}

TEST(MixedEpochOrderTest, EachEpochOfTheJobHasTheShareOfEachSource) {
  for (const std::vector<RowSource>& sources : kMixtures) {
    const EpochOrder order(8, sources, true);
    for (int64_t epoch = 0; epoch < 5; ++epoch) {
      std::vector<int64_t> draws(sources.size());
      for (int64_t p = 0; p < order.epoch_length(); ++p) ++draws[order.At(epoch, p).source];
      for (size_t s = 0; s < sources.size(); ++s) EXPECT_EQ(draws[s], sources[s].draws);
    }
  }
}

// The definition, with arrays: an epoch's draws in their order, each the next of its source.
TEST(MixedEpochOrderTest, IsWhatItsDefinitionEnumerates) {
  const std::vector<RowSource> sources = {{10, 3}, {4, 9}, {1, 5}};
  const EpochOrder order(77, sources, true);
  const EpochPermutation draws(77, 17, true);
  for (int64_t epoch = 0; epoch < 6; ++epoch) {
    for (int64_t p = 0; p < 17; ++p) {
      const EpochOrder::StreamRow at = order.At(epoch, p);
      const int64_t drawn = draws.At(epoch, p);
      const int source = drawn < 3 ? 0 : drawn < 12 ? 1 : 2;
      EXPECT_EQ(at.source, source);
      const int64_t begin = source == 0 ? 0 : source == 1 ? 3 : 12;
      const int64_t number = epoch * sources[source].draws + drawn - begin;
      EXPECT_EQ(at.source_epoch, number / sources[source].num_rows);
      const EpochOrder::StreamRow again = order.AtStream(epoch * 17 + p);
      EXPECT_EQ(again.row, at.row);
      EXPECT_EQ(again.source_epoch, at.source_epoch);
    }
  }
}

TEST(MixedEpochOrderTest, SourcesAreShuffledEachInItsOwnWayAndMixed) {
  const EpochOrder order(3, {{100, 100}, {100, 100}}, true);
  std::vector<int64_t> first, second;
  int changes = 0;
  for (int64_t p = 0; p < 200; ++p) {
    const EpochOrder::StreamRow at = order.At(0, p);
    (at.source == 0 ? first : second).push_back(at.row - 100 * at.source);
    changes += p > 0 && at.source != order.At(0, p - 1).source ? 1 : 0;
  }
  EXPECT_NE(first, second);
  EXPECT_FALSE(std::is_sorted(first.begin(), first.end()));
  EXPECT_GT(changes, 60);  // about 100 are to be expected
}

TEST(MixedEpochOrderTest, UnshuffledSourcesFollowEachOther) {
  const EpochOrder order(9, {{3, 2}, {2, 4}}, false);
  const auto rows = [&](int64_t epoch) { return Epoch(order, epoch); };
  EXPECT_THAT(rows(0), ElementsAre(0, 1, 3, 4, 3, 4));
  EXPECT_THAT(rows(1), ElementsAre(2, 0, 3, 4, 3, 4));
}

TEST(MixedEpochOrderTest, NeverChangesBetweenVersions) {
  EXPECT_THAT(Epoch(EpochOrder(42, {{4, 4}, {3, 6}}, true), 0),
              ElementsAre(6, 6, 1, 0, 5, 4, 5, 3, 2, 4));
  EXPECT_THAT(Epoch(EpochOrder(42, {{4, 4}, {3, 6}}, true), 1),
              ElementsAre(0, 4, 2, 4, 3, 6, 1, 5, 6, 5));
}

TEST(MixedEpochOrderTest, StreamsAreCutAtTheLengthOfAnEpoch) {
  const JobStream stream(EpochOrder(1, {{10, 5}, {2, 6}}, true), 1.5, 4, 1);
  EXPECT_EQ(stream.num_stream_rows(), 17);  // llround(1.5 * 11)
  EXPECT_DOUBLE_EQ(stream.EpochsAfter(2), 8.0 / 11);
}

TEST(EpochOrderDeathTest, RefusesPositionsOutsideTheEpoch) {
  const EpochOrder order(3, 7, true);
  EXPECT_DEATH(order.RowAt(0, 7), "position=7 of 7");
  EXPECT_DEATH(order.RowAt(0, -1), "position=-1");
  EXPECT_DEATH(EpochOrder(0, 0, true), "num_rows=0");
}

TEST(JobStreamTest, EveryRowIsInExactlyOneSlotPerEpoch) {
  const EpochOrder order(11, 37, true);
  const JobStream stream(order, 3, 4, 2);  // 111 rows in steps of 8: epochs end inside steps
  EXPECT_EQ(stream.num_stream_rows(), 111);
  EXPECT_EQ(stream.num_steps(), 14);
  std::vector<int> visits(37, 0);
  int empty = 0;
  std::vector<int64_t> rows;
  for (int64_t step = 1; step <= stream.num_steps(); ++step) {
    for (int slot = 0; slot < 4; ++slot) {
      stream.SlotRows(step, slot, &rows);
      ASSERT_EQ(rows.size(), 2u);
      for (const int64_t row : rows) {
        if (row < 0) {
          ++empty;
          EXPECT_EQ(step, stream.num_steps());
        } else {
          ++visits[row];
        }
      }
    }
  }
  EXPECT_EQ(empty, 14 * 8 - 111);
  EXPECT_THAT(visits, ::testing::Each(3));
}

TEST(JobStreamTest, TakesFractionsOfEpochs) {
  const JobStream stream(EpochOrder(1, 10, true), 1.25, 4, 1);
  EXPECT_EQ(stream.num_stream_rows(), 13);  // llround(12.5)
  EXPECT_EQ(stream.num_steps(), 4);
  EXPECT_EQ(stream.StreamBegin(4), 12);
  EXPECT_EQ(stream.StreamEnd(4), 13);
  EXPECT_DOUBLE_EQ(stream.EpochsAfter(0), 0);
  EXPECT_DOUBLE_EQ(stream.EpochsAfter(1), 0.4);
  EXPECT_DOUBLE_EQ(stream.EpochsAfter(4), 1.3);
  const JobStream tiny(EpochOrder(1, 10, true), 0.01, 4, 1);
  EXPECT_EQ(tiny.num_stream_rows(), 1);
  EXPECT_EQ(tiny.num_steps(), 1);
}

TEST(JobStreamDeathTest, StepsAreNumberedFromOne) {
  const JobStream stream(EpochOrder(1, 10, true), 1, 5, 1);
  std::vector<int64_t> rows;
  EXPECT_DEATH(stream.SlotRows(0, 0, &rows), "step=0");
  EXPECT_DEATH(stream.SlotRows(3, 0, &rows), "step=3");
  EXPECT_DEATH(stream.SlotRows(1, 5, &rows), "slot=5");
}

}  // namespace
}  // namespace liquid
