// liquid: the one program that people use.
#include <algorithm>
#include <cstdio>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/command_line.h"
#include "base/log.h"
#include "base/version.h"
#include "cli/verbs.h"
#include "kernels/cpu/team.h"
#include "proto/job_fields.h"

namespace liquid {
namespace {

std::vector<Verb> AddVerbs(CLI::App& app) {
  std::vector<Verb> verbs;
  const auto group = [&](const char* title, std::vector<Verb> more) {
    for (Verb& verb : more) verb.app->group(title);
    std::move(more.begin(), more.end(), std::back_inserter(verbs));
  };
  group("Train", {AddPlanVerb(app), AddPrepareVerb(app), AddInspectVerb(app), AddTrainVerb(app),
                  AddLaunchVerb(app), AddCoordinatorVerb(app)});
  group("Steer a running job", AddJobVerbs(app));
  group("Prove", {AddAuditVerb(app), AddReplayVerb(app)});
  group("Prove", AddProofVerbs(app));
  group("Use", {AddGenerateVerb(app), AddTokenizeVerb(app)});
  group("Use", AddExportVerbs(app));
  return verbs;
}

// CLI11 would only say that a subcommand is required.
bool IsUnknownVerb(const std::vector<Verb>& verbs, const std::string& word) {
  std::vector<std::string> names;
  for (const Verb& verb : verbs) names.push_back(verb.app->get_name());
  if (word.starts_with("-") || std::count(names.begin(), names.end(), word) > 0) return false;
  const std::string near = DidYouMean(word, names);
  std::fprintf(stderr, "liquid: there is no verb '%s'%s; see --help\n", word.c_str(),
               near.empty() ? "" : absl::StrCat(", did you mean '", near, "'?").c_str());
  return true;
}

int Main(int argc, char** argv) {
  LetIdleThreadsSleep(argv);
  InitializeLog("liquid", LogLevel::kInfo);
  CLI::App app(
      "Fine-tunes and trains language models; the result does not depend on who does the work.",
      "liquid");
  app.set_version_flag("--version", CodeVersion());
  app.require_subcommand(1);
  app.footer(
      "A first run:  liquid train configs/quickstart.yaml -n 2\n"
      "`liquid VERB --help` says the rest; README.md lists the exit codes.");
  const std::vector<Verb> verbs = AddVerbs(app);
  if (argc > 1 && IsUnknownVerb(verbs, argv[1])) return static_cast<int>(ExitCode::kBadConfig);
  if (const auto end = ParseCommandLine(app, argc, argv)) return static_cast<int>(*end);

  for (const Verb& verb : verbs) {
    if (!verb.app->parsed()) continue;
    const absl::StatusOr<ExitCode> result = verb.run();
    if (result.ok()) return static_cast<int>(*result);
    std::fflush(stdout);
    std::fprintf(stderr, "liquid %s: %s\n", verb.app->get_name().c_str(),
                 std::string(result.status().message()).c_str());
    return static_cast<int>(ExitCodeOf(result.status()));
  }
  return static_cast<int>(ExitCode::kBadConfig);
}

}  // namespace
}  // namespace liquid

int main(int argc, char** argv) { return liquid::Main(argc, argv); }
