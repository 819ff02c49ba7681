// The model that adapters are for.
#ifndef LIQUID_CLI_BASE_MODEL_H_
#define LIQUID_CLI_BASE_MODEL_H_

#include <string>

#include "absl/status/statusor.h"

namespace liquid {

// The directory of the model that the adapters in `adapters` go beside: `given`, or if that is ""
// `named`, which they name themselves. NotFound, with ExitCode::kCheckpoint, if it is not there.
absl::StatusOr<std::string> FindBaseModel(const std::string& adapters, const std::string& named,
                                          const std::string& given);

}  // namespace liquid

#endif  // LIQUID_CLI_BASE_MODEL_H_
