#include "base/exit_code.h"

#include <cstdlib>
#include <functional>
#include <string>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "base/log.h"
#include "base/out_of_memory.h"

namespace liquid {
namespace {

constexpr char kPayload[] = "liquid/exit_code";

std::function<std::string()>& Advice() {
  static auto* const advice = new std::function<std::string()>([] {
    return std::string(
        "less of it takes a lower training.rows_per_slot, model.recompute: block, or a higher "
        "model.tensor_parallel");
  });
  return *advice;
}

}  // namespace

bool IsExitCode(int code) {
  return (code >= static_cast<int>(ExitCode::kOk) &&
          code <= static_cast<int>(ExitCode::kNoDevice)) ||
         code == static_cast<int>(ExitCode::kPreempted);
}

absl::Status WithExitCode(absl::Status status, ExitCode code) {
  status.SetPayload(kPayload, absl::Cord(absl::StrCat(static_cast<int>(code))));
  return status;
}

void ExitOutOfMemory(const absl::Status& why) {
  const int code = static_cast<int>(ExitCode::kOutOfMemory);
  LogError("out of memory: ", why.message(), "; ", Advice()(), " (exit code ", code, ")");
  std::_Exit(code);  // what else is under way would only fail after it
}

void SetOutOfMemoryAdvice(std::function<std::string()> advice) { Advice() = std::move(advice); }

ExitCode ExitCodeOf(const absl::Status& status) {
  if (const auto payload = status.GetPayload(kPayload); payload.has_value()) {
    int code = 0;
    if (absl::SimpleAtoi(std::string(*payload), &code)) return static_cast<ExitCode>(code);
  }
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return ExitCode::kOk;
    case absl::StatusCode::kDataLoss:
      return ExitCode::kCheckpoint;
    case absl::StatusCode::kResourceExhausted:
      return ExitCode::kDiskFull;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kAborted:
      return ExitCode::kPeerLost;
    case absl::StatusCode::kCancelled:
      return ExitCode::kPreempted;
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
      return ExitCode::kFailure;
    default:
      return ExitCode::kBadConfig;
  }
}

}  // namespace liquid
