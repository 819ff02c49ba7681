// Puts the arguments of a call to the names of parameters, as Python does.
#ifndef LIQUID_DATA_JINJA_ARGUMENTS_H_
#define LIQUID_DATA_JINJA_ARGUMENTS_H_

#include <array>
#include <cstdint>
#include <string_view>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "data/concat.h"
#include "data/jinja/value.h"

namespace liquid::jinja {

// One pointer per name: into `arguments`, or null if it was not given. InvalidArgument for too
// many, unknown and repeated ones.
template <size_t N>
absl::StatusOr<std::array<const Value*, N>> Bind(const Arguments& arguments,
                                                 const std::string_view (&names)[N]) {
  std::array<const Value*, N> bound{};
  if (arguments.positional.size() > N) {
    return absl::InvalidArgumentError(
        Concat("takes at most ", N, " arguments, ", arguments.positional.size(), " given"));
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) bound[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    size_t i = 0;
    while (i < N && names[i] != name) ++i;
    if (i == N) return absl::InvalidArgumentError(Concat("no argument is named '", name, "'"));
    if (bound[i] != nullptr) {
      return absl::InvalidArgumentError(Concat("the argument '", name, "' is given twice"));
    }
    bound[i] = &value;
  }
  return bound;
}

// For functions without arguments.
inline absl::Status ExpectNoArguments(const Arguments& arguments) {
  if (arguments.positional.empty() && arguments.named.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError("takes no arguments");
}

// The integer, or `missing` if there is no argument or it is none.
inline absl::StatusOr<int64_t> IntegerOr(const Value* value, int64_t missing) {
  if (value == nullptr || value->is_none()) return missing;
  if (value->is_integral()) return value->integer();
  return absl::InvalidArgumentError(Concat("an integer is needed, not '", value->type_name(), "'"));
}

inline bool TruthyOr(const Value* value, bool missing) {
  return value == nullptr ? missing : value->truthy();
}

}  // namespace liquid::jinja

#endif  // LIQUID_DATA_JINJA_ARGUMENTS_H_
