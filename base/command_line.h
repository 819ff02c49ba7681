#ifndef LIQUID_BASE_COMMAND_LINE_H_
#define LIQUID_BASE_COMMAND_LINE_H_

#include <optional>

#include "CLI/App.hpp"
#include "base/exit_code.h"

namespace liquid {

// Parses the command line into what `app` is bound to. Nothing if the program is to go on; else how
// it is to end: kOk after --help or --version, kBadConfig after one line on stderr that says what is
// wrong. The one place that meets CLI11's exceptions.
std::optional<ExitCode> ParseCommandLine(CLI::App& app, int argc, char** argv);

}  // namespace liquid

#endif  // LIQUID_BASE_COMMAND_LINE_H_
