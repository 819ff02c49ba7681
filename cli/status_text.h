// The status of a job in words and in JSON.
#ifndef LIQUID_CLI_STATUS_TEXT_H_
#define LIQUID_CLI_STATUS_TEXT_H_

#include <string>

#include "nlohmann/json.hpp"
#include "proto/coordinator.pb.h"

namespace liquid {

// "pending", "running", "paused", "waiting", "done" or "failed".
std::string StateName(JobState state);

// All that is known. What is not known yet is null: loss, mfu, eta_seconds and so on.
nlohmann::ordered_json StatusToJson(const JobStatus& status);

// A few lines for people.
std::string StatusText(const JobStatus& status);
// One line: state, step, epoch, loss, speed, time to go.
std::string StatusLine(const JobStatus& status);

}  // namespace liquid

#endif  // LIQUID_CLI_STATUS_TEXT_H_
