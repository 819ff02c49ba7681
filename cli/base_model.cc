#include "cli/base_model.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/exit_code.h"
#include "base/status.h"

namespace liquid {

absl::StatusOr<std::string> FindBaseModel(const std::string& adapters, const std::string& named,
                                          const std::string& given) {
  std::string base = given.empty() ? named : given;
  std::error_code error;
  if (std::filesystem::is_directory(base, error)) return base;
  return WithExitCode(absl::NotFoundError(absl::StrCat(
                          adapters, ": its base model ",
                          base.empty() ? "is not named" : base + " is no directory here",
                          "; say with --base where it is")),
                      ExitCode::kCheckpoint);
}

}  // namespace liquid
