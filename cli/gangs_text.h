// The gangs of a job as a table and in JSON.
#ifndef LIQUID_CLI_GANGS_TEXT_H_
#define LIQUID_CLI_GANGS_TEXT_H_

#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "proto/coordinator.pb.h"

namespace liquid {

// "working", "joining", "draining", "silent" or "stuck".
std::string PhaseName(GangStatus::Phase phase);

// The part of a step's slots that each gang's speed earns it, in their order; together 1. 0 for
// gangs that do not work, and for all while no speed is known.
std::vector<double> SharesOf(const JobStatus& status);

nlohmann::ordered_json GangsToJson(const JobStatus& status);

// A table with a head line; what is not known is "-". One line if there are none.
std::string GangsText(const JobStatus& status);

}  // namespace liquid

#endif  // LIQUID_CLI_GANGS_TEXT_H_
