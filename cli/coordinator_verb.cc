#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "cli/job_target.h"
#include "cli/launch.h"
#include "cli/verbs.h"

namespace liquid {
namespace {

// Becomes liquid-coordinator, so that whoever started this sees one process and its exit code.
absl::StatusOr<ExitCode> RunCoordinator(CoordinatorCommand command) {
  LIQUID_ASSIGN_OR_RETURN(command.program, FindProgram("liquid-coordinator"));
  std::vector<std::string> words = CoordinatorCommandLine(command);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  execv(arguments[0], arguments.data());
  return ErrnoStatus(errno, "run", command.program);
}

}  // namespace

Verb AddCoordinatorVerb(CLI::App& liquid) {
  auto command = std::make_shared<CoordinatorCommand>();
  CLI::App* app = liquid.add_subcommand("coordinator",
                                        "Serves a job to gangs of any machines, until it is done.");
  app->add_option("FILE", command->file, "job file")->required();
  app->add_option("--listen", command->listen,
                  "HOST:PORT instead of coordinator.listen; beyond this machine it needs "
                  "--token-file");
  app->add_option("--set", command->overrides, "job setting that overrides the file's: KEY=VALUE")
      ->allow_extra_args(false);
  app->add_flag("--stay", command->stay, "go on answering after the job has ended");
  AddTokenFile(*app, command->token_file);
  app->footer(
      "On each machine then: mpirun -n K liquid-worker --coordinator HOST:PORT --token-file F.\n"
      "docs/clusters.md says more.");
  return {app, [command] { return RunCoordinator(*command); }};
}

}  // namespace liquid
