#include "checkpoint/catalog.h"

#include <filesystem>

#include "gmock/gmock.h"
#include "tests/checkpoint/sample_checkpoint.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

namespace fs = std::filesystem;
using ::liquid::testing::IsOk;
using ::liquid::testing::SampleModel;
using ::liquid::testing::Save;
using ::liquid::testing::StatusIs;
using ::liquid::testing::TemporaryDirectory;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(CatalogTest, OneNamePerStep) {
  EXPECT_EQ(CheckpointName(100), "step-00000100");
  EXPECT_EQ(CheckpointName(1234567890), "step-1234567890");
  EXPECT_EQ(CheckpointStep("step-00000100"), 100);
  EXPECT_EQ(CheckpointStep("step-1234567890"), 1234567890);
  for (const char* name : {"", "step-", "step-100", "step-0000000100", "step-+0000100",
                           "step-0000010x", "Step-00000100", "step-00000100.tmp", "step--0000100",
                           "step-99999999999999999999", "latest"}) {
    EXPECT_EQ(CheckpointStep(name), std::nullopt) << name;
  }
}

TEST(CatalogTest, ListsCompleteOnesNewestFirstAndNamesTheRest) {
  const TemporaryDirectory root;
  for (const int64_t step : {1, 2, 3, 4, 5})
    ASSERT_THAT(Save(root.path(), step, SampleModel(1)), IsOk());
  fs::remove(root.path() + "/step-00000005/manifest.json");
  fs::resize_file(root.path() + "/step-00000004/optimizer.safetensors", 100);
  fs::rename(root.path() + "/step-00000002", root.path() + "/step-00000009");
  fs::create_directories(root.path() + "/.step-00000006.w.tmp");
  const auto catalog = ListCheckpoints(root.path());
  ASSERT_THAT(catalog, IsOk());
  ASSERT_EQ(catalog->complete.size(), 2);
  EXPECT_EQ(catalog->complete[0].step, 3);
  EXPECT_EQ(catalog->complete[0].path, root.path() + "/step-00000003");
  EXPECT_EQ(catalog->complete[1].step, 1);
  EXPECT_THAT(
      catalog->skipped,
      ElementsAre(HasSubstr(".step-00000006.w.tmp: its writer did not finish"),
                  AllOf(HasSubstr("step-00000004: "), HasSubstr("has 100 bytes instead of")),
                  AllOf(HasSubstr("step-00000005: "), HasSubstr("manifest.json")),
                  AllOf(HasSubstr("step-00000009: "), HasSubstr("of step 2"))));
  EXPECT_EQ(FindLatestCheckpoint(root.path())->step, 3);
}

TEST(CatalogTest, SaysWhyThereIsNone) {
  const TemporaryDirectory root;
  EXPECT_THAT(FindLatestCheckpoint(root.path() + "/absent"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no complete checkpoint in")));
  fs::create_directories(root.path() + "/step-00000005");
  EXPECT_THAT(FindLatestCheckpoint(root.path()),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("skipped: step-00000005: ")));
}

std::vector<CheckpointEntry> Entries(const std::vector<int64_t>& steps) {
  std::vector<CheckpointEntry> entries;
  for (const int64_t step : steps) entries.push_back({CheckpointName(step), step, std::nullopt});
  return entries;
}

TEST(CatalogTest, KeepsTheLastAndMilestonesAndWhatIsNewer) {
  EXPECT_THAT(StepsToRemove(Entries({1, 2, 3}), 3, {}), IsEmpty());
  EXPECT_THAT(StepsToRemove(Entries({1, 2, 3}), 3, {5, 0}), IsEmpty());
  EXPECT_THAT(StepsToRemove(Entries({2, 3, 1}), 3, {1, 0}), ElementsAre(2, 1));
  EXPECT_THAT(StepsToRemove(Entries({10, 20, 25, 30, 35}), 35, {2, 20}), ElementsAre(25, 10));
  // 40 and 50 are of another course of the run: neither kept instead of 30, nor removed.
  EXPECT_THAT(StepsToRemove(Entries({10, 20, 30, 40, 50}), 30, {2, 0}), ElementsAre(10));
}

TEST(CatalogTest, KeepsTheBestOfThoseThatWereEvaluated) {
  const std::vector<CheckpointEntry> entries = {
      {"", 10, 3.0}, {"", 20, 1.5}, {"", 30, std::nullopt}, {"", 40, 1.5},
      {"", 50, 2.0}, {"", 60, 2.5}, {"", 70, 0.5}};
  EXPECT_THAT(StepsToRemove(entries, 60, {.keep_last = 1, .keep_best = 1}),
              ElementsAre(50, 40, 30, 10));
  EXPECT_THAT(StepsToRemove(entries, 60, {.keep_last = 1, .keep_best = 3}), ElementsAre(30, 10));
  EXPECT_THAT(StepsToRemove(entries, 60, {.keep_last = 1, .keep_best = 9}), ElementsAre(30));
}

TEST(CatalogTest, BestLeadsToTheLowestLossSoFar) {
  const TemporaryDirectory root;
  testing::SaveOptions options;
  options.retention = {.keep_last = 1, .keep_best = 1};
  const auto save = [&](int64_t step, std::optional<double> eval_loss) {
    options.eval_loss = eval_loss;
    ASSERT_THAT(Save(root.path(), step, SampleModel(1), options), IsOk());
  };
  save(1, std::nullopt);
  EXPECT_FALSE(fs::exists(root.path() + "/best"));
  save(2, 0.5);
  save(3, 0.75);
  save(4, std::nullopt);
  EXPECT_EQ(fs::read_symlink(root.path() + "/best"), CheckpointName(2));
  EXPECT_FALSE(fs::exists(root.path() + "/" + CheckpointName(3)));
  save(5, 0.25);
  EXPECT_EQ(fs::read_symlink(root.path() + "/best"), CheckpointName(5));
  EXPECT_EQ(ListCheckpoints(root.path())->complete.size(), 1);
}

}  // namespace
}  // namespace liquid
