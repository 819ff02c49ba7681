// liquid: the one program that people use.
#include <cstdio>
#include <iterator>
#include <vector>

#include "base/command_line.h"
#include "base/log.h"
#include "base/version.h"
#include "cli/verbs.h"

namespace liquid {
namespace {

int Main(int argc, char** argv) {
  InitializeLog("liquid", LogLevel::kInfo);
  CLI::App app(
      "Fine-tunes and trains language models; the result does not depend on who does the work.",
      "liquid");
  app.set_version_flag("--version", CodeVersion());
  app.require_subcommand(1);
  std::vector<Verb> verbs = {AddTrainVerb(app)};
  for (auto add : {AddJobVerbs, AddProofVerbs, AddDataVerbs}) {
    std::vector<Verb> more = add(app);
    std::move(more.begin(), more.end(), std::back_inserter(verbs));
  }
  verbs.push_back(AddGenerateVerb(app));
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
