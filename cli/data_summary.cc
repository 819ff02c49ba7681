#include "cli/data_summary.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "data/length_histogram.h"
#include "data/prepare_report.h"

namespace liquid {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMinBarWidth = 8;
constexpr int kMaxBarWidth = 60;
constexpr int kBarMargin = 50;  // columns for what stands beside a bar

std::string DuplicatesText(const Duplicates& duplicates) {
  if (duplicates.num_duplicates == 0) {
    return absl::StrCat("no duplicates: none of the ", duplicates.num_eval,
                        " examples of data.eval is in data.train");
  }
  std::string text = absl::StrCat("duplicates: ", duplicates.num_duplicates, " of the ",
                                  duplicates.num_eval, " examples of data.eval are in data.train");
  for (const Duplicates::Pair& pair : duplicates.pairs) {
    absl::StrAppend(&text, "\n  ", pair.eval, " is ", pair.train);
  }
  const auto listed = static_cast<int64_t>(duplicates.pairs.size());
  if (listed < duplicates.num_duplicates) {
    absl::StrAppend(&text, "\n  and ", duplicates.num_duplicates - listed, " more");
  }
  return text;
}

}  // namespace

std::string DataSummaryText(const Dataset& dataset, const PrepareReport& report,
                            const std::optional<Duplicates>& duplicates, int width) {
  std::string text = absl::StrCat(dataset.num_rows(), " rows of ", dataset.sequence_length(),
                                  " tokens, ", dataset.num_documents(), " documents, ",
                                  dataset.num_tokens(), " tokens, ", dataset.num_target_tokens(),
                                  " trained\n", LossText(report), MixtureText(dataset.mixture()));
  if (dataset.has_weights()) {
    absl::StrAppend(&text, "\nweights besides 1: ", absl::StrJoin(dataset.other_weights(), ", "));
  }
  if (report.num_bad_rows > 0) {
    absl::StrAppend(&text, "\nbad rows that were skipped: ", report.num_bad_rows);
    for (const std::string& row : report.bad_rows) absl::StrAppend(&text, "\n  ", row);
  }
  absl::StrAppend(&text, "\nlengths of documents in tokens, before they are cut to a row of ",
                  dataset.sequence_length(), ":\n",
                  HistogramText(report.lengths, dataset.sequence_length(),
                                std::clamp(width - kBarMargin, kMinBarWidth, kMaxBarWidth)),
                  LeftOutText(report));
  if (duplicates.has_value()) absl::StrAppend(&text, "\n", DuplicatesText(*duplicates));
  return text;
}

Json DataSummaryJson(const Dataset& dataset, const PrepareReport& report,
                     const std::optional<Duplicates>& duplicates) {
  Json json = Json(ReportToJson(report));
  json["sequence_length"] = dataset.sequence_length();
  if (!dataset.mixture().empty()) json["mixture"] = Json(MixtureToJson(dataset.mixture()));
  json["weights"] =
      std::vector<float>(dataset.other_weights().begin(), dataset.other_weights().end());
  Json ends = Json::array();
  for (size_t i = 0; i + 1 < LengthHistogram::kNumBuckets; ++i) {
    ends.push_back(BucketEnd(i, dataset.sequence_length()));
  }
  json["length_ends"] = ends;
  if (!duplicates.has_value()) return json;
  Json pairs = Json::array();
  for (const Duplicates::Pair& pair : duplicates->pairs) {
    pairs.push_back({{"eval", pair.eval}, {"train", pair.train}});
  }
  json["duplicates"] = {{"eval_examples", duplicates->num_eval},
                        {"count", duplicates->num_duplicates},
                        {"pairs", pairs}};
  return json;
}

}  // namespace liquid
