// What people and tools are told of a preparation, and what its file remembers of it.
#include "data/prepare_report.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "data/masking.h"

namespace liquid {
namespace {

using Json = nlohmann::json;

// One table for both directions, so that neither forgets a count.
struct Count {
  const char* key;
  int64_t* value;
};
std::vector<Count> Counts(PrepareReport* report) {
  OverlongCounts& overlong = report->overlong;
  return {{"examples", &report->num_examples},
          {"rows", &report->num_rows},
          {"documents", &report->num_documents},
          {"tokens", &report->num_tokens},
          {"target_tokens", &report->num_target_tokens},
          {"overlong", &overlong.num_overlong},
          {"truncated", &overlong.num_truncated},
          {"split", &overlong.num_split},
          {"dropped", &overlong.num_dropped},
          {"untrained", &overlong.num_untrained},
          {"tokens_cut", &overlong.num_tokens_cut},
          {"bad_rows", &report->num_bad_rows}};
}

// `part` of `whole` in percent.
std::string Percent(int64_t part, int64_t whole) {
  return absl::StrFormat(
      "%.1f%%", whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

}  // namespace

Json ReportToJson(const PrepareReport& report) {
  PrepareReport copy = report;
  Json json;
  for (const Count& count : Counts(&copy)) json[count.key] = *count.value;
  json["bad_row_list"] = report.bad_rows;
  json["first_sample"] = report.first_sample;
  json["fill"] = report.fill;
  return json;
}

bool ReportFromJson(const Json& json, PrepareReport* report) {
  if (!json.is_object()) return false;
  for (const Count& count : Counts(report)) {
    const auto value = json.find(count.key);
    if (value == json.end() || !value->is_number_integer()) return false;
    *count.value = value->get<int64_t>();
  }
  const auto sample = json.find("first_sample");
  const auto fill = json.find("fill");
  const auto rows = json.find("bad_row_list");
  if (sample == json.end() || !sample->is_string() || fill == json.end() || !fill->is_number() ||
      rows == json.end() || !rows->is_array()) {
    return false;
  }
  report->first_sample = sample->get<std::string>();
  report->fill = fill->get<double>();
  for (const Json& row : *rows) {
    if (!row.is_string()) return false;
    report->bad_rows.push_back(row.get<std::string>());
  }
  return true;
}

std::string PrepareReportText(const PrepareReport& report) {
  const OverlongCounts& overlong = report.overlong;
  std::string text = absl::StrCat(
      report.num_examples, " examples, ", report.num_documents, " documents in ", report.num_rows,
      " rows, filled to ", absl::StrFormat("%.1f%%", 100 * report.fill), "; ", report.num_tokens,
      " tokens, ", report.num_target_tokens, " trained (",
      Percent(report.num_target_tokens, report.num_tokens), "); digest ", ToHex(report.digest));
  if (overlong.num_overlong > 0) {
    absl::StrAppend(&text, "\n  longer than a row: ", overlong.num_overlong, " (",
                    overlong.num_truncated, " truncated, ", overlong.num_split, " split, ",
                    overlong.num_dropped, " dropped; ", overlong.num_tokens_cut,
                    " tokens left out)");
  }
  if (overlong.num_untrained > 0) {
    absl::StrAppend(&text,
                    "\n  left out, as nothing trained fits into a row: ", overlong.num_untrained);
  }
  if (report.num_bad_rows > 0) {
    absl::StrAppend(&text, "\n  bad rows that were skipped: ", report.num_bad_rows);
    for (const std::string& row : report.bad_rows) absl::StrAppend(&text, "\n    ", row);
  }
  absl::StrAppend(&text, "\n  first sample, [[trained]]: ", report.first_sample);
  return text;
}

std::string PrepareReportJson(const PrepareReport& report) {
  Json json = ReportToJson(report);
  json["path"] = report.path;
  json["reused"] = report.reused;
  json["digest"] = ToHex(report.digest);
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::vector<ShownPiece> ShowTokens(const Tokenizer& tokenizer, absl::Span<const int32_t> tokens,
                                   absl::Span<const uint8_t> mask) {
  std::vector<ShownPiece> pieces;
  StreamDecoder decoder(&tokenizer, /*skip_special_tokens=*/false);
  for (const MaskRun& run : MaskRuns(mask.first(tokens.size()))) {
    ShownPiece piece;
    piece.trained = run.trained;
    for (size_t t = run.begin; t < run.end; ++t) piece.text += decoder.Add(tokens[t]);
    pieces.push_back(std::move(piece));
  }
  if (!pieces.empty()) pieces.back().text += decoder.Finish();
  return pieces;
}

std::string ShownText(const std::vector<ShownPiece>& pieces) {
  std::string text;
  for (const ShownPiece& piece : pieces) {
    absl::StrAppend(&text, piece.trained ? "[[" : "", piece.text, piece.trained ? "]]" : "");
  }
  return text;
}

}  // namespace liquid
