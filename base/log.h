// Log lines for people: to stderr, "12:34:56 rank 0 I text". Thread-safe.
#ifndef LIQUID_BASE_LOG_H_
#define LIQUID_BASE_LOG_H_

#include <string>

#include "absl/strings/str_cat.h"

namespace liquid {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Says who writes ("rank 3", "coordinator") and from which level on. Call it once, early in main().
void InitializeLog(const std::string& who, LogLevel level);
void WriteLog(LogLevel level, const std::string& text);

template <typename... Args>
void LogDebug(const Args&... args) {
  WriteLog(LogLevel::kDebug, absl::StrCat(args...));
}
template <typename... Args>
void LogInfo(const Args&... args) {
  WriteLog(LogLevel::kInfo, absl::StrCat(args...));
}
template <typename... Args>
void LogWarning(const Args&... args) {
  WriteLog(LogLevel::kWarning, absl::StrCat(args...));
}
template <typename... Args>
void LogError(const Args&... args) {
  WriteLog(LogLevel::kError, absl::StrCat(args...));
}

}  // namespace liquid

#endif  // LIQUID_BASE_LOG_H_
