// Dates as strftime() prints them in the C locale.
#ifndef LIQUID_DATA_JINJA_STRFTIME_H_
#define LIQUID_DATA_JINJA_STRFTIME_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/civil_time.h"

namespace liquid::jinja {

// Conversions a A b B d e H I j m M p S y Y F T D R %, and -d, -m and so on without padding;
// InvalidArgument for others.
absl::StatusOr<std::string> FormatTime(absl::CivilSecond time, std::string_view format);

}  // namespace liquid::jinja

#endif  // LIQUID_DATA_JINJA_STRFTIME_H_
