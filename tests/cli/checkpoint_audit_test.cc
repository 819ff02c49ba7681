#include "cli/checkpoint_audit.h"

#include <string>

#include "base/file.h"
#include "checkpoint/catalog.h"
#include "checkpoint/manifest.h"
#include "gmock/gmock.h"
#include "tests/checkpoint/sample_checkpoint.h"
#include "tests/coordinator/ledger_script.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::SampleModel;
using ::liquid::testing::Save;
using ::liquid::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CheckpointAuditTest : public ::liquid::testing::LedgerTest {
 protected:
  std::string Directory(int64_t step) const {
    return JoinPath(JoinPath(output_, "checkpoints"), CheckpointName(step));
  }

  // A checkpoint of `step`, and the entries of a ledger that know it: first the commit.
  void SaveAndRecord(int64_t step, uint8_t seed) {
    const SampleModel sample(seed);
    ASSERT_THAT(Save(JoinPath(output_, "checkpoints"), step, sample), IsOk());
    LedgerEntry commit;
    commit.mutable_commit()->mutable_report()->set_step(step);
    commit.mutable_commit()->mutable_report()->set_fingerprint(ToHex(sample.Fingerprint()));
    LedgerEntry checkpoint;
    CheckpointReport* report = checkpoint.mutable_checkpoint()->mutable_report();
    report->set_step(step);
    report->set_directory(CheckpointName(step));
    report->set_manifest_digest(ManifestDigest(*ReadManifest(Directory(step))));
    entries_.push_back(commit);
    entries_.push_back(checkpoint);
  }

  std::vector<LedgerEntry> entries_;
};

TEST_F(CheckpointAuditTest, CountsWhatIsThereGoneAndUnknown) {
  SaveAndRecord(1, 1);
  SaveAndRecord(2, 2);
  SaveAndRecord(3, 3);
  entries_.pop_back();  // killed between publishing and telling
  Write(entries_);
  ASSERT_THAT(RemoveRecursively(Directory(1)), IsOk());
  const auto audit = AuditCheckpoints(output_);
  ASSERT_THAT(audit, IsOk());
  EXPECT_EQ(audit->num_matching, 1);
  EXPECT_EQ(audit->num_gone, 1);
  EXPECT_THAT(audit->unrecorded, ElementsAre("step-00000003"));
}

TEST_F(CheckpointAuditTest, NamesACheckpointThatIsNotTheRecordedOne) {
  SaveAndRecord(2, 2);
  Write(entries_);
  ASSERT_THAT(RemoveRecursively(Directory(2)), IsOk());
  ASSERT_THAT(Save(JoinPath(output_, "checkpoints"), 2, SampleModel(9)), IsOk());
  EXPECT_THAT(AuditCheckpoints(output_),
              StatusIs(absl::StatusCode::kDataLoss,
                       AllOf(HasSubstr("step-00000002"), HasSubstr("digest"))));
}

TEST_F(CheckpointAuditTest, NamesWeightsThatWereNotCommitted) {
  SaveAndRecord(2, 2);
  entries_[0].mutable_commit()->mutable_report()->set_fingerprint(std::string(32, '0'));
  Write(entries_);
  EXPECT_THAT(AuditCheckpoints(output_),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("fingerprint")));
}

TEST_F(CheckpointAuditTest, NamesTheCheckpointThatALedgerWithoutItsEndLacks) {
  SaveAndRecord(2, 2);
  SaveAndRecord(3, 3);
  entries_.resize(2);
  Write(entries_);
  EXPECT_THAT(AuditCheckpoints(output_),
              StatusIs(absl::StatusCode::kDataLoss,
                       AllOf(HasSubstr("step-00000003"), HasSubstr("only up to step 2"),
                             HasSubstr("the ledger's end is missing"))));
}

TEST_F(CheckpointAuditTest, NamesWeightsOfAnUnknownCheckpointThatWereNotCommitted) {
  SaveAndRecord(2, 2);
  entries_[0].mutable_commit()->mutable_report()->set_fingerprint(std::string(32, '0'));
  entries_.pop_back();
  Write(entries_);
  EXPECT_THAT(AuditCheckpoints(output_),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("fingerprint")));
}

TEST_F(CheckpointAuditTest, NeedsALedger) {
  EXPECT_THAT(AuditCheckpoints(output_), StatusIs(absl::StatusCode::kNotFound, HasSubstr("")));
}

}  // namespace
}  // namespace liquid
