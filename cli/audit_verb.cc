#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status.h"
#include "cli/checkpoint_audit.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "coordinator/audit.h"
#include "coordinator/ledger.h"
#include "data/dataset.h"

namespace liquid {
namespace {

using Json = nlohmann::ordered_json;

struct AuditFlags {
  std::string output;
  int64_t step = 0;  // 0: the whole job
  bool json = false;
};

Json ToJson(const AuditReport& report, const CheckpointAudit& checkpoints) {
  Json epochs = Json::array();
  for (const EpochCoverage& epoch : report.epochs) {
    epochs.push_back({{"epoch", epoch.epoch},
                      {"rows_trained", epoch.rows_trained},
                      {"num_rows", epoch.num_rows},
                      {"complete", epoch.rows_trained == epoch.num_rows}});
    if (!epoch.source.empty()) epochs.back()["source"] = epoch.source;
  }
  return {{"passed", true},
          {"entries", report.num_entries},
          {"head", report.head},
          {"job_digest", report.job_digest},
          {"dataset_digest", report.dataset_digest},
          {"committed_steps", report.committed_steps},
          {"num_steps", report.num_steps},
          {"voided_steps", report.voided_steps},
          {"repeated_steps", report.repeated_steps},
          {"generations", report.num_generations},
          {"gangs", report.num_gangs},
          {"steals", report.num_steals},
          {"wrong_answers", report.num_wrong_answers},
          {"fingerprint", report.fingerprint},
          {"epochs", epochs},
          {"checkpoints",
           {{"recorded", report.num_checkpoints},
            {"matching", checkpoints.num_matching},
            {"removed", checkpoints.num_gone},
            {"unrecorded", checkpoints.unrecorded}}}};
}

void PrintText(const AuditReport& report, const CheckpointAudit& checkpoints) {
  PrintLine(absl::StrCat("PASS  ledger: ", report.num_entries, " entries, an unbroken chain; head ",
                         report.head));
  PrintLine(absl::StrCat("PASS  steps: ", report.committed_steps, " of ", report.num_steps,
                         " committed, one after the other; ", report.voided_steps,
                         " were given up, ", report.repeated_steps, " of them done again"));
  PrintLine(absl::StrCat("PASS  gangs: ", report.num_gangs, " in ", report.num_generations,
                         " generations; ", report.num_steals, " steals; ", report.num_wrong_answers,
                         " wrong answers found"));
  for (const EpochCoverage& epoch : report.epochs) {
    const bool complete = epoch.rows_trained == epoch.num_rows;
    PrintLine(absl::StrCat("PASS  epoch ", epoch.epoch, epoch.source.empty() ? "" : " of source ",
                           epoch.source, ": ", epoch.rows_trained, " of ", epoch.num_rows,
                           " rows, each trained exactly once",
                           complete ? "" : "; not complete yet"));
  }
  PrintLine(absl::StrCat("PASS  checkpoints: ", checkpoints.num_matching,
                         " are those that the ledger recorded; ", checkpoints.num_gone,
                         " older ones are gone"));
  for (const std::string& name : checkpoints.unrecorded) {
    PrintLine(absl::StrCat("note  ", name, " is complete, but the ledger does not know it"));
  }
  if (!report.fingerprint.empty()) {
    PrintLine(absl::StrCat("weights after step ", report.committed_steps, ": fingerprint ",
                           report.fingerprint));
  }
}

absl::StatusOr<ExitCode> AuditJob(const AuditFlags& flags) {
  LIQUID_ASSIGN_OR_RETURN(const AuditReport report, Audit(LedgerPath(flags.output)));
  LIQUID_ASSIGN_OR_RETURN(const CheckpointAudit checkpoints, AuditCheckpoints(flags.output));
  if (flags.json) {
    PrintLine(ToJsonLine(ToJson(report, checkpoints)));
  } else {
    PrintText(report, checkpoints);
  }
  return ExitCode::kOk;
}

// The prepared dataset that the job was trained on, if it is still in OUTPUT/data.
std::optional<Dataset> FindDataset(const std::string& output, const std::string& digest) {
  const std::string directory = JoinPath(output, "data");
  const absl::StatusOr<std::vector<std::string>> names = ListDirectory(directory);
  if (!names.ok()) return std::nullopt;
  for (const std::string& name : *names) {
    if (!absl::EndsWith(name, ".dataset")) continue;
    absl::StatusOr<Dataset> dataset =
        Dataset::Open(JoinPath(directory, name), Dataset::Verify::kIndexOnly);
    if (dataset.ok() && ToHex(dataset->digest()) == digest) return *std::move(dataset);
  }
  return std::nullopt;
}

std::vector<std::string> OriginsOf(const std::optional<Dataset>& dataset, int64_t row) {
  std::vector<std::string> origins;
  if (!dataset.has_value() || row < 0 || row >= dataset->num_rows()) return origins;
  for (const DatasetDocument& document : dataset->row(row).documents) {
    origins.push_back(dataset->Describe(document));
  }
  return origins;
}

absl::StatusOr<ExitCode> ShowStep(const AuditFlags& flags) {
  const std::string ledger = LedgerPath(flags.output);
  LIQUID_ASSIGN_OR_RETURN(const AuditReport report, Audit(ledger));
  LIQUID_ASSIGN_OR_RETURN(const std::vector<SlotContent> slots, ContentOfStep(ledger, flags.step));
  const std::optional<Dataset> dataset = FindDataset(flags.output, report.dataset_digest);
  Json json_slots = Json::array();
  for (const SlotContent& slot : slots) {
    Json rows = Json::array();
    for (size_t i = 0; i < slot.rows.size(); ++i) {
      if (slot.rows[i] < 0) continue;
      const std::vector<std::string> origins = OriginsOf(dataset, slot.rows[i]);
      rows.push_back({{"row", slot.rows[i]}, {"epoch", slot.epochs[i]}, {"documents", origins}});
      if (flags.json) continue;
      PrintLine(absl::StrCat("slot ", slot.slot, "  gang ", slot.gang, "  row ", slot.rows[i],
                             "  epoch ", slot.epochs[i], origins.empty() ? "" : "  ",
                             absl::StrJoin(origins, ", ")));
    }
    json_slots.push_back({{"slot", slot.slot}, {"gang", slot.gang}, {"rows", rows}});
  }
  if (flags.json) PrintLine(ToJsonLine({{"step", flags.step}, {"slots", json_slots}}));
  return ExitCode::kOk;
}

}  // namespace

Verb AddAuditVerb(CLI::App& liquid) {
  auto flags = std::make_shared<AuditFlags>();
  CLI::App* app = liquid.add_subcommand(
      "audit", "Proves from the ledger that every row was trained exactly once per epoch.");
  app->add_option("OUTPUT", flags->output, "the job's output directory")->required();
  app->add_option("--step", flags->step, "show which rows that step trained")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 60));
  app->add_flag("--json", flags->json, "answer in JSON");
  return {app, [flags] { return flags->step > 0 ? ShowStep(*flags) : AuditJob(*flags); }};
}

}  // namespace liquid
