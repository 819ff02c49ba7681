#include "coordinator/admission.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "coordinator/refuse.h"
#include "data/epoch_order.h"
#include "proto/job_loader.h"

namespace liquid {
namespace {

template <typename A, typename B>
absl::Status MustAgree(const char* what, const A& ours, const B& theirs) {
  if (ours == theirs) return absl::OkStatus();
  return Refuse(what, " differs: the job has ", ours, ", the gang has ", theirs);
}

std::string SourcesText(const google::protobuf::RepeatedPtrField<SourceRows>& sources) {
  std::string text;
  for (const SourceRows& source : sources) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", source.draws(), " of ", source.rows(),
                    " rows of ", source.name());
  }
  return text.empty() ? "none" : text;
}

// Is it the same job, data and arithmetic?
absl::Status CheckIdentity(const Job& job, const std::string& job_digest, const JobRecord& record,
                           const Join& join, bool is_first) {
  LIQUID_RETURN_IF_ERROR(MustAgree("the job digest", job_digest, join.job_digest()));
  LIQUID_RETURN_IF_ERROR(
      MustAgree("tensor_parallel", job.model().tensor_parallel(), join.tensor_parallel()));
  if (!record.is_open()) {
    if (join.applied_step() < 0) return Refuse("the first gang brings the starting state");
    if (join.num_rows() < 1) return Refuse("the training data has no row");
    if (EpochLength(join.num_rows(), join.sources()) < 1) {
      return Refuse("the training data cannot have ", join.num_rows(), " rows of ",
                    SourcesText(join.sources()));
    }
    if (join.fingerprint().empty()) return Refuse("the gang shows no fingerprint of its weights");
    JobRecord trial;
    return Annotate(trial.Apply(OpeningEntry(job, job_digest, join)), "this job is not possible");
  }
  const JobOpened& opened = record.opened();
  LIQUID_RETURN_IF_ERROR(
      MustAgree("the dataset digest", opened.dataset_digest(), join.dataset_digest()));
  LIQUID_RETURN_IF_ERROR(MustAgree("the number of rows", opened.num_rows(), join.num_rows()));
  LIQUID_RETURN_IF_ERROR(MustAgree("the mixture of the data", SourcesText(opened.sources()),
                                   SourcesText(join.sources())));
  LIQUID_RETURN_IF_ERROR(MustAgree("the code version", opened.code_version(), join.code_version()));
  if (is_first && LayoutDiffers(job, record)) return absl::OkStatus();
  LIQUID_RETURN_IF_ERROR(MustAgree("the recipe", opened.recipe(), join.recipe()));
  return MustAgree("the probe's gradient", opened.probe(), join.probe());
}

// Are its weights those of a step that the ledger knows?
absl::Status CheckState(const JobRecord& record, const Join& join) {
  const int64_t step = join.applied_step();
  const int64_t committed = record.committed_step();
  // Ready will say what it has: nothing, or also steps that were done while no coordinator was
  // here.
  if (step == -1 || (step > committed && join.gang() != 0)) return absl::OkStatus();
  if (step < 0 || step > committed) {
    return Refuse("the gang has the weights after step ", step,
                  join.checkpoint().empty() ? "" : absl::StrCat(" (", join.checkpoint(), ")"),
                  ", but the ledger has no commit of it, only up to step ", committed,
                  "; start from an older checkpoint (checkpoint.resume), or use another output");
  }
  if (!record.is_open()) return absl::OkStatus();
  const std::string what = absl::StrCat("the fingerprint of the weights after step ", step);
  return MustAgree(what.c_str(), record.FingerprintAfter(step), join.fingerprint());
}

}  // namespace

absl::Status CheckJoin(const Job& job, const std::string& job_digest, const JobRecord& record,
                       const Join& join, bool is_first) {
  LIQUID_RETURN_IF_ERROR(CheckIdentity(job, job_digest, record, join, is_first));
  return CheckState(record, join);
}

bool LayoutDiffers(const Job& job, const JobRecord& record) {
  const JobOpened& opened = record.opened();
  return job.model().tensor_parallel() != opened.tensor_parallel() ||
         job.model().sequence_parallel() != opened.sequence_parallel();
}

LedgerEntry LayoutEntry(const Job& job, const Join& join) {
  LedgerEntry entry;
  LayoutChange& change = *entry.mutable_layout_change();
  change.set_tensor_parallel(job.model().tensor_parallel());
  change.set_sequence_parallel(job.model().sequence_parallel());
  change.set_recipe(join.recipe());
  change.set_probe(join.probe());
  return entry;
}

LedgerEntry OpeningEntry(const Job& job, const std::string& job_digest, const Join& join) {
  const Training& training = job.training();
  LedgerEntry entry;
  JobOpened& opened = *entry.mutable_job_opened();
  opened.set_job_digest(job_digest);
  opened.set_job_text(EffectiveYaml(job));
  opened.set_dataset_digest(join.dataset_digest());
  opened.set_num_rows(join.num_rows());
  opened.set_seed(training.seed());
  opened.set_shuffle(job.data().shuffle());
  opened.set_epochs(training.epochs());
  opened.set_slots_per_step(training.slots_per_step());
  opened.set_rows_per_slot(training.rows_per_slot());
  opened.set_code_version(join.code_version());
  opened.set_recipe(join.recipe());
  opened.set_probe(join.probe());
  opened.set_initial_fingerprint(join.fingerprint());
  opened.set_tensor_parallel(join.tensor_parallel());
  opened.set_sequence_parallel(job.model().sequence_parallel());
  opened.set_gradient_sum(training.gradient_sum());
  *opened.mutable_sources() = join.sources();
  opened.set_num_steps(StreamOf(opened).num_steps());
  return entry;
}

std::vector<LedgerEntry> HistoryEntries(const JobRecord& record, int64_t step, const Ready& ready) {
  std::vector<LedgerEntry> entries;
  if (step < record.committed_step()) {
    Voided& voided = *entries.emplace_back().mutable_voided();
    voided.set_from_step(step + 1);
    voided.set_to_step(record.committed_step());
    voided.set_reason(absl::StrCat(
        "no gang has a newer state than ",
        ready.checkpoint().empty() ? absl::StrCat("that of step ", step) : ready.checkpoint()));
  }
  const bool is_known = record.last_checkpoint().directory() == ready.checkpoint();
  if (!ready.checkpoint().empty() && !is_known && step <= record.committed_step()) {
    CheckpointReport& report = *entries.emplace_back().mutable_checkpoint()->mutable_report();
    report.set_generation(record.generation());
    report.set_step(step);
    report.set_directory(ready.checkpoint());
    report.set_manifest_digest(ready.manifest_digest());
  }
  return entries;
}

std::string DescribeGang(const GangStatus& gang) {
  return absl::StrCat("gang ", gang.gang(), " (", gang.name(), ", ", gang.num_ranks(),
                      gang.num_ranks() == 1 ? " rank)" : " ranks)");
}

}  // namespace liquid
