#include "base/command_line.h"

#include <cstdio>

#include "CLI/Config.hpp"
#include "CLI/Formatter.hpp"

namespace liquid {

std::optional<ExitCode> ParseCommandLine(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& end) {  // --help and the like
    app.exit(end);
    return ExitCode::kOk;
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "%s: %s; see --help\n", app.get_name().c_str(), error.what());
    return ExitCode::kBadConfig;
  }
  return std::nullopt;
}

}  // namespace liquid
