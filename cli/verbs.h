// The verbs of `liquid`. Each file of this folder named *_verb.cc or *_verbs.cc is one or a few of
// them: it adds its subcommands to the application, and is run if its subcommand was given.
#ifndef LIQUID_CLI_VERBS_H_
#define LIQUID_CLI_VERBS_H_

#include <functional>
#include <vector>

#include "CLI/App.hpp"
#include "absl/status/statusor.h"
#include "base/exit_code.h"

namespace liquid {

// What a verb does once the command line is parsed. An error becomes one line on stderr and the
// exit code that it stands for (base/exit_code.h).
struct Verb {
  CLI::App* app;  // of the subcommand
  std::function<absl::StatusOr<ExitCode>()> run;
};

Verb AddTrainVerb(CLI::App& liquid);
Verb AddCoordinatorVerb(CLI::App& liquid);
Verb AddLaunchVerb(CLI::App& liquid);
// status watch gangs pause resume checkpoint stop drain
std::vector<Verb> AddJobVerbs(CLI::App& liquid);
Verb AddReplayVerb(CLI::App& liquid);
Verb AddAuditVerb(CLI::App& liquid);
std::vector<Verb> AddProofVerbs(CLI::App& liquid);   // verify fingerprint
std::vector<Verb> AddExportVerbs(CLI::App& liquid);  // export merge
Verb AddPlanVerb(CLI::App& liquid);
Verb AddPrepareVerb(CLI::App& liquid);
Verb AddInspectVerb(CLI::App& liquid);
Verb AddTokenizeVerb(CLI::App& liquid);
Verb AddGenerateVerb(CLI::App& liquid);

}  // namespace liquid

#endif  // LIQUID_CLI_VERBS_H_
