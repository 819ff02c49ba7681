#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "cli/plan_text.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "proto/job_loader.h"
#include "worker/job_plan.h"

namespace liquid {
namespace {

struct PlanFlags {
  std::string file;
  std::vector<std::string> overrides;
  std::string device = "cpu";
  bool json = false;
};

absl::StatusOr<ExitCode> ShowPlan(const PlanFlags& flags) {
  LIQUID_ASSIGN_OR_RETURN(const Cluster cluster, ParseCluster(flags.device));
  LIQUID_ASSIGN_OR_RETURN(const Job job, LoadJob(flags.file, flags.overrides));
  LIQUID_ASSIGN_OR_RETURN(const JobPlan plan, PlanJob(job, cluster));
  PrintLine(flags.json ? ToJsonLine(PlanToJson(job, plan)) : PlanText(job, plan));
  return plan.chosen.fits ? ExitCode::kOk : ExitCode::kOutOfMemory;
}

}  // namespace

Verb AddPlanVerb(CLI::App& liquid) {
  auto flags = std::make_shared<PlanFlags>();
  CLI::App* app = liquid.add_subcommand(
      "plan", "Predicts memory and time of a job on machines that need not be there.");
  app->add_option("FILE", flags->file, "job file; of its model config.json is enough")->required();
  app->add_option("--set", flags->overrides, "job setting that overrides the file's: KEY=VALUE")
      ->allow_extra_args(false);
  app->add_option("--device", flags->device,
                  "KIND:DEVICESxMACHINES, such as h100:8x4; kinds: cpu (this one, measured), a100, "
                  "h100, h200, b200")
      ->capture_default_str();
  app->add_flag("--json", flags->json, "answer in JSON");
  return {app, [flags] { return ShowPlan(*flags); }};
}

}  // namespace liquid
