// Propagation of absl::Status. Debian 12's Abseil (20220623) predates
// absl/status/status_macros.h; these two macros follow its semantics and can be
// replaced by it one day.
#ifndef LIQUID_BASE_STATUS_H_
#define LIQUID_BASE_STATUS_H_

#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace liquid {

// Returns `status` with `context` put before its message: "context: message".
// An OK status is returned as it is.
absl::Status Annotate(const absl::Status& status, std::string_view context);

}  // namespace liquid

// Returns from the current function if `expr`, an absl::Status, is not OK.
#define LIQUID_RETURN_IF_ERROR(expr)                                  \
  do {                                                                \
    if (absl::Status liquid_status_ = (expr); !liquid_status_.ok()) { \
      return liquid_status_;                                          \
    }                                                                 \
  } while (false)

// Assigns the value of `expr`, an absl::StatusOr<T>, to `lhs`, or returns its
// error from the current function. Several statements: needs braces under `if`.
#define LIQUID_ASSIGN_OR_RETURN(lhs, expr) \
  LIQUID_ASSIGN_OR_RETURN_(LIQUID_CONCAT_(liquid_statusor_, __LINE__), lhs, expr)
#define LIQUID_ASSIGN_OR_RETURN_(tmp, lhs, expr) \
  auto tmp = (expr);                             \
  if (!tmp.ok()) return std::move(tmp).status(); \
  lhs = *std::move(tmp)
#define LIQUID_CONCAT_(a, b) LIQUID_CONCAT2_(a, b)
#define LIQUID_CONCAT2_(a, b) a##b

#endif  // LIQUID_BASE_STATUS_H_
