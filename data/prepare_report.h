// A PrepareReport as it is kept in the prepared file, and parts of it as text.
#ifndef LIQUID_DATA_PREPARE_REPORT_H_
#define LIQUID_DATA_PREPARE_REPORT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/dataset.h"
#include "data/prepare.h"
#include "nlohmann/json.hpp"

namespace liquid {

// How many rows of each kind a report names.
inline constexpr size_t kMaxRowsListed = 10;

// What does not depend on the place of the file: all but path, reused, digest and mixture.
nlohmann::json ReportToJson(const PrepareReport& report);
// The same into `*report`; false if something is missing.
bool ReportFromJson(const nlohmann::json& json, PrepareReport* report);
// What the file of `dataset` remembers of its preparation. DataLoss if it is of another program.
absl::StatusOr<PrepareReport> ReportOf(const Dataset& dataset);

// Parts of PrepareReportText. What is trained: of whom, by which template, up to which token; lines
// without the last one's end.
std::string LossText(const PrepareReport& report);
// Documents and turns that did not fit, messages that the template left out: lines that begin with
// their ends; "" if there are none.
std::string LeftOutText(const PrepareReport& report);
// What each source of mixed data has: a line each, that begins with its end; "" if it is not mixed.
std::string MixtureText(const std::vector<MixturePart>& mixture);

// "mixture" of a dataset's provenance (docs/formats/dataset.md).
nlohmann::json MixtureToJson(const std::vector<MixturePart>& mixture);

}  // namespace liquid

#endif  // LIQUID_DATA_PREPARE_REPORT_H_
