// absl::StrCat that also takes std::string_view. Debian's Abseil brings a string_view of its own,
// which the standard's does not turn into by itself.
#ifndef LIQUID_DATA_CONCAT_H_
#define LIQUID_DATA_CONCAT_H_

#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace liquid {

inline absl::string_view Printable(std::string_view text) { return {text.data(), text.size()}; }
template <typename T>
const T& Printable(const T& value) {
  return value;
}

// The texts and numbers `args`, one after the other.
template <typename... Args>
std::string Concat(const Args&... args) {
  return absl::StrCat(Printable(args)...);
}

}  // namespace liquid

#endif  // LIQUID_DATA_CONCAT_H_
