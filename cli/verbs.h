// The verbs of `liquid`. Each file of this folder named *_verb.cc is one or a few of them: it adds
// its subcommand to the application, and is run if the subcommand was given.
#ifndef LIQUID_CLI_VERBS_H_
#define LIQUID_CLI_VERBS_H_

#include <functional>
#include <memory>
#include <string>
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
std::vector<Verb> AddJobVerbs(CLI::App& liquid);    // status watch pause resume checkpoint stop
std::vector<Verb> AddProofVerbs(CLI::App& liquid);  // audit verify fingerprint
std::vector<Verb> AddDataVerbs(CLI::App& liquid);   // prepare tokenize inspect
Verb AddGenerateVerb(CLI::App& liquid);

}  // namespace liquid

#endif  // LIQUID_CLI_VERBS_H_
