// What `liquid inspect` says of a prepared dataset as a whole.
#ifndef LIQUID_CLI_DATA_SUMMARY_H_
#define LIQUID_CLI_DATA_SUMMARY_H_

#include <optional>
#include <string>

#include "data/dataset.h"
#include "data/duplicates.h"
#include "data/prepare.h"
#include "nlohmann/json.hpp"

namespace liquid {

// Lines for people, without the last one's end: counts, what is trained and by which template,
// what was cut, lengths of documents as bars for a terminal of `width` columns, and examples of
// the eval files that are trained.
std::string DataSummaryText(const Dataset& dataset, const PrepareReport& report,
                            const std::optional<Duplicates>& duplicates, int width);
nlohmann::ordered_json DataSummaryJson(const Dataset& dataset, const PrepareReport& report,
                                       const std::optional<Duplicates>& duplicates);

}  // namespace liquid

#endif  // LIQUID_CLI_DATA_SUMMARY_H_
