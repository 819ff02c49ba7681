#include "data/jinja/strftime.h"

#include <cstdint>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "data/concat.h"

namespace liquid::jinja {
namespace {

constexpr std::string_view kMonths[] = {"January",   "February", "March",    "April",
                                        "May",       "June",     "July",     "August",
                                        "September", "October",  "November", "December"};
constexpr std::string_view kDays[] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                      "Friday", "Saturday", "Sunday"};

std::string Padded(int64_t value, int width, bool pad) {
  return pad ? absl::StrFormat("%0*d", width, value) : Concat(value);
}

absl::StatusOr<std::string> FormatOne(absl::CivilSecond time, char conversion, bool pad) {
  const std::string_view month = kMonths[time.month() - 1];
  const std::string_view day = kDays[static_cast<int>(absl::GetWeekday(time))];
  const int hour12 = time.hour() % 12 == 0 ? 12 : time.hour() % 12;
  switch (conversion) {
    case 'a':
      return std::string(day.substr(0, 3));
    case 'A':
      return std::string(day);
    case 'b':
    case 'h':
      return std::string(month.substr(0, 3));
    case 'B':
      return std::string(month);
    case 'd':
      return Padded(time.day(), 2, pad);
    case 'e':
      return pad ? absl::StrFormat("%2d", time.day()) : Concat(time.day());
    case 'H':
      return Padded(time.hour(), 2, pad);
    case 'I':
      return Padded(hour12, 2, pad);
    case 'j':
      return Padded(absl::GetYearDay(absl::CivilDay(time)), 3, pad);
    case 'm':
      return Padded(time.month(), 2, pad);
    case 'M':
      return Padded(time.minute(), 2, pad);
    case 'p':
      return std::string(time.hour() < 12 ? "AM" : "PM");
    case 'S':
      return Padded(time.second(), 2, pad);
    case 'y':
      return Padded(time.year() % 100, 2, pad);
    case 'Y':
      return Concat(time.year());
    case 'F':
      return FormatTime(time, "%Y-%m-%d");
    case 'T':
      return FormatTime(time, "%H:%M:%S");
    case 'D':
      return FormatTime(time, "%m/%d/%y");
    case 'R':
      return FormatTime(time, "%H:%M");
    case '%':
      return std::string("%");
    default:
      return absl::InvalidArgumentError(
          Concat("strftime_now does not support '%", std::string_view(&conversion, 1), "'"));
  }
}

}  // namespace

absl::StatusOr<std::string> FormatTime(absl::CivilSecond time, std::string_view format) {
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      out.push_back(format[i]);
      continue;
    }
    const bool unpadded = i + 1 < format.size() && format[i + 1] == '-';
    i += 1 + unpadded;
    if (i >= format.size()) return absl::InvalidArgumentError("strftime_now: '%' at the end");
    LIQUID_ASSIGN_OR_RETURN(const std::string part, FormatOne(time, format[i], !unpadded));
    out += part;
  }
  return out;
}

}  // namespace liquid::jinja
