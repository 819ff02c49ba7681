#include "coordinator/audit.h"

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "base/hash.h"
#include "coordinator/job_machine.h"
#include "gmock/gmock.h"
#include "tests/coordinator/ledger_script.h"
#include "tests/coordinator/scene.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::FingerprintOf;
using ::liquid::testing::IsOk;
using ::liquid::testing::kNumRows;
using ::liquid::testing::LeaveMessage;
using ::liquid::testing::Scene;
using ::liquid::testing::ScriptedJob;
using ::liquid::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr auto kDataLoss = absl::StatusCode::kDataLoss;

class AuditTest : public ::liquid::testing::LedgerTest {
 protected:
  // The entries of a job whose first gang dies after step 6 with a checkpoint of step 4, and whose
  // second one works up to `last_step`.
  std::vector<LedgerEntry> EntriesUpTo(int64_t last_step) {
    Scene scene;
    const int64_t first = scene.AddGang(0);
    for (int step = 1; step <= 6; ++step) scene.Work();
    scene.Disconnect(first);
    const int64_t second = scene.AddGang(4);
    while (scene.machine.record().committed_step() < last_step) scene.Work();
    if (last_step == 7) scene.Say(second, LeaveMessage(Leave::JOB_DONE, "", 7));
    return scene.Entries();
  }

  absl::Status AuditOf(std::vector<LedgerEntry> entries) {
    std::filesystem::remove_all(output_);
    Write(std::move(entries));
    return Audit(LedgerPath(output_)).status();
  }

  const Job job_ = ScriptedJob("/o");
};

TEST_F(AuditTest, ProvesThatEveryRowOfAnEpochIsTrainedOnce) {
  Write(EntriesUpTo(7));
  const auto report = Audit(LedgerPath(output_));
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->committed_steps, 7);
  EXPECT_EQ(report->num_steps, 7);
  EXPECT_EQ(report->voided_steps, 2);
  EXPECT_EQ(report->repeated_steps, 2);
  EXPECT_EQ(report->num_checkpoints, 2);
  EXPECT_EQ(report->num_generations, 3);  // joined, lost, joined
  EXPECT_EQ(report->fingerprint, FingerprintOf(7));
  EXPECT_EQ(report->job_digest, JobDigest(job_));
  ASSERT_EQ(report->epochs.size(), 3u);
  EXPECT_EQ(report->epochs[0].rows_trained, 10);
  EXPECT_EQ(report->epochs[1].rows_trained, 10);
  EXPECT_EQ(report->epochs[2].rows_trained, 5);  // the job has 2.5 epochs
  EXPECT_EQ(report->epochs[2].num_rows, 10);
}

TEST_F(AuditTest, ProvesThatEveryRowOfASourceIsTrainedOnceInItsEpochs) {
  Scene scene({"data.train=null",
               "data.mix=[{name: a, files: [/a], epochs: 1}, {name: b, files: [/b], epochs: 2}]"});
  scene.AddGang(0);
  // 2.5 epochs of 13 rows, 4 rows a step.
  while (scene.machine.record().committed_step() < 9) scene.Work();
  Write(scene.Entries());
  const auto report = Audit(LedgerPath(output_));
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->num_steps, 9);
  std::map<std::string, int64_t> rows;
  int num_incomplete = 0;
  for (const EpochCoverage& epoch : report->epochs) {
    rows[epoch.source] += epoch.rows_trained;
    EXPECT_EQ(epoch.num_rows, epoch.source == "a" ? 7 : 3);
    const int64_t last = epoch.source == "a" ? 2 : 4;  // the first that may be incomplete
    num_incomplete += epoch.rows_trained < epoch.num_rows ? 1 : 0;
    if (epoch.epoch >= last) continue;
    EXPECT_EQ(epoch.rows_trained, epoch.num_rows) << epoch.source;
  }
  EXPECT_EQ(rows["a"] + rows["b"], 33);  // llround(2.5 * 13)
  EXPECT_GE(rows["a"], 14);
  EXPECT_GE(rows["b"], 12);
  EXPECT_GE(num_incomplete, 1);
  const auto slots = ContentOfStep(LedgerPath(output_), 1);
  ASSERT_THAT(slots, IsOk());
  const JobStream stream = ::liquid::testing::StreamOf(scene.job);
  EXPECT_EQ((*slots)[0].epochs[0], stream.order().AtStream(0).source_epoch);
  EXPECT_EQ((*slots)[0].rows[0], stream.order().AtStream(0).row);

  std::vector<LedgerEntry> entries = scene.Entries();
  entries[0].mutable_job_opened()->mutable_sources(1)->set_draws(5);
  EXPECT_THAT(AuditOf(entries), StatusIs(kDataLoss, HasSubstr("steps, not 9")));
  entries[0].mutable_job_opened()->mutable_sources(1)->set_draws(6);
  entries[0].mutable_job_opened()->mutable_sources(1)->set_rows(4);
  EXPECT_THAT(AuditOf(entries), StatusIs(kDataLoss, HasSubstr("a job that cannot be")));
}

TEST_F(AuditTest, ListsTheRowsOfAStep) {
  Write(EntriesUpTo(6));
  std::multiset<int64_t> rows;
  for (int64_t step = 1; step <= 5; ++step) {
    const auto slots = ContentOfStep(LedgerPath(output_), step);
    ASSERT_THAT(slots, IsOk());
    ASSERT_EQ(slots->size(), 2u);
    EXPECT_EQ((*slots)[0].gang, step <= 4 ? 1 : 2);
    for (const SlotContent& slot : *slots) {
      rows.insert(slot.rows.begin(), slot.rows.end());
      for (const int64_t epoch : slot.epochs)
        EXPECT_EQ(epoch, step <= 2 ? 0 : step > 3 ? 1 : epoch);
    }
  }
  for (int64_t row = 0; row < kNumRows; ++row) EXPECT_EQ(rows.count(row), 2u) << row;
  EXPECT_THAT(ContentOfStep(LedgerPath(output_), 7),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("step 7 is not committed")));
}

TEST_F(AuditTest, TheLastStepHasEmptyRows) {
  Write(EntriesUpTo(7));
  const auto slots = ContentOfStep(LedgerPath(output_), 7).value();
  int64_t num_empty = 0;
  for (const SlotContent& slot : slots) {
    for (size_t i = 0; i < slot.rows.size(); ++i) {
      num_empty += slot.rows[i] < 0 ? 1 : 0;
      EXPECT_EQ(slot.epochs[i], slot.rows[i] < 0 ? -1 : 2);
    }
  }
  EXPECT_EQ(num_empty, 3);  // 25 rows, 7 steps of 4
}

TEST_F(AuditTest, KnowsTheStatusWithoutACoordinator) {
  Write(EntriesUpTo(6));
  EXPECT_EQ(ReadJobStatus(output_)->state(), WAITING);
  EXPECT_EQ(ReadJobStatus(output_)->step(), 6);
  std::filesystem::remove_all(output_);
  Write(EntriesUpTo(7));
  EXPECT_EQ(ReadJobStatus(output_)->state(), DONE);
  EXPECT_THAT(ReadJobStatus("/nowhere"), StatusIs(absl::StatusCode::kNotFound, HasSubstr("")));
}

TEST_F(AuditTest, AnyChangedByteOfAnyColumnIsFoundAndItsEntryNamed) {
  const std::vector<LedgerEntry> entries = EntriesUpTo(7);
  for (size_t k = 1; k <= entries.size(); ++k) {
    std::filesystem::remove_all(output_);
    std::vector<LedgerEntry> written = entries;
    ASSERT_THAT(OpenEmpty()->Append(absl::MakeSpan(written)), IsOk());
    const std::string bytes = written[k - 1].SerializeAsString();
    const auto names_entry = StatusIs(kDataLoss, HasSubstr(absl::StrCat("entry ", k)));
    // Every 7th byte, others in each entry, and always the last.
    for (size_t i = k % 7; i <= bytes.size() + 6; i += 7) {
      std::string changed = bytes;
      const size_t at = std::min(i, bytes.size() - 1);
      changed[at] = static_cast<char>(changed[at] ^ (1 << (at % 8)));
      const std::string restore = absl::StrCat("UPDATE entries SET entry=x'",
                                               absl::BytesToHexString(bytes), "' WHERE number=", k);
      Sql(absl::StrCat("UPDATE entries SET entry=x'", absl::BytesToHexString(changed),
                       "' WHERE number=", k));
      EXPECT_THAT(Audit(LedgerPath(output_)), names_entry) << "byte " << at;
      Sql(restore);
    }
    ASSERT_THAT(Audit(LedgerPath(output_)), IsOk());
    Sql(
        absl::StrCat("UPDATE entries SET hash=replace(hash, substr(hash, 9, 1), "
                     "CASE substr(hash, 9, 1) WHEN '0' THEN '1' ELSE '0' END) WHERE number=",
                     k));
    EXPECT_THAT(Audit(LedgerPath(output_)), names_entry);
  }
}

TEST_F(AuditTest, AMissingOrMovedEntryIsFound) {
  Write(EntriesUpTo(7));
  Sql("DELETE FROM entries WHERE number=9");
  EXPECT_THAT(Audit(LedgerPath(output_)),
              StatusIs(kDataLoss, HasSubstr("entry 9 is missing: the next one is 10")));
  Sql("UPDATE entries SET number=9 WHERE number=(SELECT max(number) FROM entries)");
  EXPECT_THAT(Audit(LedgerPath(output_)), StatusIs(kDataLoss, HasSubstr("entry 9 was changed")));
}

// A chain that is right all the same, of entries that cannot be.
TEST_F(AuditTest, EntriesThatDoNotFollowAreFound) {
  const std::vector<LedgerEntry> good = EntriesUpTo(6);
  const auto changed = [&good](auto change) {
    std::vector<LedgerEntry> entries = good;
    for (LedgerEntry& entry : entries) {
      if (change(&entry)) break;
    }
    return entries;
  };
  const auto step = [](int64_t number, auto change) {
    return [number, change](LedgerEntry* entry) {
      const bool found = entry->has_commit() && entry->commit().report().step() == number;
      if (found) change(entry->mutable_commit()->mutable_report());
      return found;
    };
  };
  EXPECT_THAT(AuditOf(good), IsOk());
  EXPECT_THAT(AuditOf(changed(step(3, [](StepReport* r) { r->set_step(4); }))),
              StatusIs(kDataLoss, HasSubstr("step 4 is committed after step 2")));
  EXPECT_THAT(AuditOf(changed(step(3, [](StepReport* r) { r->set_stream_begin(7); }))),
              StatusIs(kDataLoss, HasSubstr("step 3 has rows 7 to 12")));
  EXPECT_THAT(
      AuditOf(changed(step(3, [](StepReport* r) { r->mutable_slots(0)->set_begin(1); }))),
      StatusIs(kDataLoss, HasSubstr("step 3 is committed with slots 1-1 instead of all 2")));
  EXPECT_THAT(AuditOf(changed([](LedgerEntry* entry) {
                if (entry->has_commit()) entry->mutable_commit()->mutable_shares(0)->set_gang(2);
                return entry->has_commit();
              })),
              StatusIs(kDataLoss, HasSubstr("step 1: slots 0-1 were not leased to gang 2")));
  EXPECT_THAT(AuditOf(changed([](LedgerEntry* entry) {
                if (entry->has_commit()) entry->mutable_commit()->clear_shares();
                return entry->has_commit();
              })),
              StatusIs(kDataLoss, HasSubstr("step 1 is committed by 0 gangs of 1")));
  EXPECT_THAT(AuditOf(changed(step(2, [](StepReport* r) { r->set_generation(9); }))),
              StatusIs(kDataLoss, HasSubstr("is of generation 9, but leased in generation 1")));
  EXPECT_THAT(AuditOf(changed([](LedgerEntry* entry) {
                if (entry->has_lease()) {
                  entry->mutable_lease()->mutable_shares(0)->mutable_slots(0)->set_end(1);
                }
                return entry->has_lease();
              })),
              StatusIs(kDataLoss, HasSubstr("step 1: its leases are not each slot once")));
  EXPECT_THAT(AuditOf(changed(step(6, [](StepReport* r) { r->set_fingerprint("x"); }))),
              StatusIs(kDataLoss, HasSubstr("step 6 was done again and came out different")));
  EXPECT_THAT(AuditOf(changed([](LedgerEntry* entry) {
                if (entry->has_lease()) entry->mutable_lease()->mutable_shares(0)->set_gang(9);
                return entry->has_lease();
              })),
              StatusIs(kDataLoss, HasSubstr("not a member of generation 1")));
  EXPECT_THAT(AuditOf(changed([](LedgerEntry* entry) {
                if (entry->has_checkpoint()) {
                  entry->mutable_checkpoint()->mutable_report()->set_step(5);
                }
                return entry->has_checkpoint();
              })),
              StatusIs(kDataLoss, HasSubstr("checkpoint of step 5, which is not committed")));
  EXPECT_THAT(AuditOf(changed([](LedgerEntry* entry) {
                if (entry->has_job_opened()) entry->mutable_job_opened()->set_num_rows(9);
                return entry->has_job_opened();
              })),
              StatusIs(kDataLoss, AllOf(HasSubstr("entry 1"), HasSubstr("steps, not 7"))));
}

}  // namespace
}  // namespace liquid
