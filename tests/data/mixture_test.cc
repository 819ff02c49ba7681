#include "data/mixture.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Part {
  int64_t rows;
  double epochs;
  double weight;
};

absl::StatusOr<std::vector<RowSource>> Mix(const std::vector<Part>& parts) {
  Data data;
  std::vector<MixturePart> prepared;
  for (const Part& part : parts) {
    MixedSource& source = *data.add_mix();
    source.set_name("s" + std::to_string(prepared.size()));
    source.set_epochs(part.epochs);
    source.set_weight(part.weight);
    prepared.push_back({.name = source.name(), .num_rows = part.rows});
  }
  return MixedSources(data, prepared);
}

std::vector<int64_t> Draws(const std::vector<Part>& parts) {
  const auto sources = Mix(parts);
  EXPECT_THAT(sources, IsOk());
  std::vector<int64_t> draws;
  for (size_t i = 0; i < parts.size(); ++i) {
    EXPECT_EQ((*sources)[i].num_rows, parts[i].rows);
    draws.push_back((*sources)[i].draws);
  }
  return draws;
}

TEST(MixtureTest, EpochsArePassesOverASource) {
  EXPECT_THAT(Draws({{10, 1, 0}, {7, 3, 0}}), ElementsAre(10, 21));
  EXPECT_THAT(Draws({{10, 0.25, 0}, {3, 1.5, 0}}), ElementsAre(3, 5));  // 2.5 and 4.5, away from 0
}

TEST(MixtureTest, WeightsShareOutAsManyRowsAsThereAre) {
  EXPECT_THAT(Draws({{10, 0, 1}, {10, 0, 1}}), ElementsAre(10, 10));
  EXPECT_THAT(Draws({{90, 0, 1}, {10, 0, 3}}), ElementsAre(25, 75));
  // 100/3 each, and one more for the first of the equal rests.
  EXPECT_THAT(Draws({{50, 0, 2}, {30, 0, 2}, {20, 0, 2}}), ElementsAre(34, 33, 33));
  // 0.7, 1.4, 4.9 of 7: the rests 0.9 and 0.7 are the largest.
  EXPECT_THAT(Draws({{4, 0, 1}, {2, 0, 2}, {1, 0, 7}}), ElementsAre(1, 1, 5));
  for (int rows = 3; rows < 60; ++rows) {
    int64_t sum = 0;
    for (const int64_t draws : Draws({{rows, 0, 0.3}, {2, 0, 0.45}, {1, 0, 0.25}})) sum += draws;
    EXPECT_EQ(sum, rows + 3);
  }
}

TEST(MixtureTest, AShareOfNothingIsRefusedByName) {
  EXPECT_THAT(Mix({{10, 0, 1e-6}, {10, 0, 1}}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("data.mix: s0 has 10 of 20 rows, and weight 1e-06 draws none")));
  EXPECT_THAT(Mix({{10, 1, 0}, {4, 0.1, 0}}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("s1 has 4 of 14 rows, and epochs 0.1 draws none")));
}

TEST(MixtureTest, DataOfOtherSourcesIsRefused) {
  Data data;
  data.add_mix()->set_epochs(1);
  EXPECT_THAT(MixedSources(data, {}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("the prepared data has 0 sources, data.mix 1")));
  EXPECT_THAT(Mix({}), IsOk());
}

}  // namespace
}  // namespace liquid
