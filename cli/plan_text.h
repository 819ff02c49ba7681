// What `liquid plan` says.
#ifndef LIQUID_CLI_PLAN_TEXT_H_
#define LIQUID_CLI_PLAN_TEXT_H_

#include <string>

#include "nlohmann/json.hpp"
#include "proto/job.pb.h"
#include "worker/job_plan.h"

namespace liquid {

std::string PlanText(const Job& job, const JobPlan& plan);
// The same and more, bytes and seconds as numbers.
nlohmann::ordered_json PlanToJson(const Job& job, const JobPlan& plan);

}  // namespace liquid

#endif  // LIQUID_CLI_PLAN_TEXT_H_
