// A PrepareReport as it is kept in the prepared file. For prepare.cc.
#ifndef LIQUID_DATA_PREPARE_REPORT_H_
#define LIQUID_DATA_PREPARE_REPORT_H_

#include "data/prepare.h"
#include "nlohmann/json.hpp"

namespace liquid {

// What does not depend on the place of the file: all but path, reused and digest.
nlohmann::json ReportToJson(const PrepareReport& report);
// The same into `*report`; false if something is missing.
bool ReportFromJson(const nlohmann::json& json, PrepareReport* report);

}  // namespace liquid

#endif  // LIQUID_DATA_PREPARE_REPORT_H_
