#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "cli/data_summary.h"
#include "cli/job_data.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "data/dataset.h"
#include "data/duplicates.h"
#include "data/prepare.h"
#include "data/prepare_report.h"
#include "data/shown_tokens.h"
#include "data/tokenizer.h"
#include "proto/job_loader.h"

namespace liquid {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kTrained[] = "\x1b[1;32m";  // bold green
constexpr char kIgnored[] = "\x1b[2m";     // dim
constexpr char kTitle[] = "\x1b[36m";      // cyan
constexpr char kPlain[] = "\x1b[0m";

constexpr size_t kMaxPairsListed = 5;

struct InspectFlags {
  std::string file;
  std::vector<std::string> overrides;
  std::string tokenizer;
  int64_t first_row = 0;
  int64_t num_rows = 1;
  bool eval = false;
  bool no_duplicates = false;
  std::string color = "auto";
  bool json = false;
};

struct Source {
  std::string dataset;    // path
  std::string tokenizer;  // directory; "" if that was not said
  // Of a job that has data.eval: what to look for in both.
  std::vector<std::string> train_files = {};
  std::vector<std::string> eval_files = {};
};

absl::StatusOr<Source> FindSource(const InspectFlags& flags) {
  if (absl::EndsWith(flags.file, ".jsonl")) {
    return absl::InvalidArgumentError(
        absl::StrCat(flags.file,
                     " is data: give the job file that names it, which says how it is "
                     "rendered, or what `liquid prepare` made of it"));
  }
  if (!absl::EndsWith(flags.file, ".dataset")) {
    LIQUID_ASSIGN_OR_RETURN(const Job job, LoadJob(flags.file, flags.overrides));
    if (flags.eval && job.data().eval().empty()) {
      return absl::InvalidArgumentError(absl::StrCat(flags.file, ": it has no data.eval"));
    }
    LIQUID_ASSIGN_OR_RETURN(const PrepareReport report,
                            PrepareJobPart(job, flags.eval ? JobPart::kEval : JobPart::kTrain));
    const auto& data = job.data();
    return Source{report.path,
                  job.model().tokenizer(),
                  {data.train().begin(), data.train().end()},
                  {data.eval().begin(), data.eval().end()}};
  }
  return Source{flags.file, flags.tokenizer};
}

// Control characters made visible, so that data cannot command a terminal.
std::string Visible(const std::string& text) {
  std::string visible;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7f) {
      absl::StrAppendFormat(&visible, "\\x%02x", byte);
    } else {
      visible.push_back(c);
    }
  }
  return visible;
}

std::string Coloured(const std::vector<ShownPiece>& pieces) {
  std::string text;
  for (const ShownPiece& piece : pieces) {
    const bool weighted = piece.trained && piece.weight != 1;
    absl::StrAppend(&text, piece.trained ? kTrained : kIgnored,
                    weighted ? absl::StrCat(piece.weight, "|") : "", Visible(piece.text), kPlain);
  }
  return text;
}

// One document of a row, ready to be shown.
struct ShownDocument {
  std::string origin;
  int64_t num_tokens = 0;
  int64_t num_trained = 0;
  std::vector<ShownPiece> pieces;
};

std::vector<ShownDocument> ShowRow(const Dataset& dataset, const Tokenizer& tokenizer,
                                   int64_t index) {
  const Dataset::Row row = dataset.row(index);
  std::vector<ShownDocument> documents;
  for (const DatasetDocument& document : row.documents) {
    const auto begin = static_cast<size_t>(document.begin);
    const auto count = static_cast<size_t>(document.num_tokens);
    const absl::Span<const uint8_t> mask = row.target_mask.subspan(begin, count);
    const auto num_ignored = std::count(mask.begin(), mask.end(), uint8_t{0});
    documents.push_back(
        {dataset.Describe(document), document.num_tokens, document.num_tokens - num_ignored,
         ShowTokens(tokenizer, row.tokens.subspan(begin, count), mask, dataset.other_weights())});
  }
  return documents;
}

void PrintJson(int64_t row, const std::vector<ShownDocument>& documents) {
  Json list = Json::array();
  for (const ShownDocument& document : documents) {
    Json pieces = Json::array();
    for (const ShownPiece& piece : document.pieces) {
      pieces.push_back({{"text", piece.text}, {"trained", piece.trained}});
      if (piece.trained && piece.weight != 1) pieces.back()["weight"] = piece.weight;
    }
    list.push_back({{"origin", document.origin},
                    {"tokens", document.num_tokens},
                    {"trained", document.num_trained},
                    {"pieces", pieces}});
  }
  PrintLine(ToJsonLine({{"row", row}, {"documents", list}}));
}

void PrintText(int64_t row, const std::vector<ShownDocument>& documents, bool color) {
  for (const ShownDocument& document : documents) {
    const std::string title =
        absl::StrCat("row ", row, "  ", document.origin, "  ", document.num_tokens, " tokens, ",
                     document.num_trained, " trained");
    PrintLine(color ? absl::StrCat(kTitle, title, kPlain) : title);
    PrintLine(color ? Coloured(document.pieces) : Visible(ShownText(document.pieces)));
  }
}

absl::StatusOr<ExitCode> Inspect(const InspectFlags& flags) {
  LIQUID_ASSIGN_OR_RETURN(const Source source, FindSource(flags));
  const auto dataset = Dataset::Open(source.dataset);
  if (!dataset.ok()) return WithExitCode(dataset.status(), ExitCode::kData);
  if (source.tokenizer.empty()) {
    return absl::InvalidArgumentError(
        "a prepared dataset holds ids alone; give its tokenizer with --tokenizer DIR");
  }
  const auto report = ReportOf(*dataset);
  if (!report.ok()) return WithExitCode(report.status(), ExitCode::kData);
  const auto tokenizer = Tokenizer::Load(source.tokenizer);
  if (!tokenizer.ok()) return WithExitCode(tokenizer.status(), ExitCode::kData);
  if (flags.first_row >= dataset->num_rows()) {
    return absl::OutOfRangeError(absl::StrCat("--row ", flags.first_row, ": there are ",
                                              dataset->num_rows(), " rows, counted from 0"));
  }
  std::optional<Duplicates> duplicates;
  if (!source.eval_files.empty() && !flags.no_duplicates) {
    auto found = FindDuplicates(source.train_files, source.eval_files, kMaxPairsListed);
    if (!found.ok()) return WithExitCode(found.status(), ExitCode::kData);
    duplicates = *std::move(found);
  }
  const bool color =
      flags.color == "always" || (flags.color == "auto" && IsTerminal(stdout) && !flags.json);
  if (!flags.json) {
    PrintLine(Visible(DataSummaryText(*dataset, *report, duplicates, TerminalWidth())));
    PrintLine(color ? absl::StrCat(kTrained, "trained", kPlain, " ", kIgnored, "ignored", kPlain)
                    : "trained parts stand in [[ ]]");
  }
  const int64_t end = std::min(dataset->num_rows(), flags.first_row + flags.num_rows);
  for (int64_t row = flags.first_row; row < end; ++row) {
    const std::vector<ShownDocument> documents = ShowRow(*dataset, **tokenizer, row);
    if (flags.json) {
      PrintJson(row, documents);
    } else {
      PrintText(row, documents, color);
    }
  }
  if (flags.json) {
    PrintLine(ToJsonLine({{"dataset", DataSummaryJson(*dataset, *report, duplicates)}}));
  }
  return ExitCode::kOk;
}

}  // namespace

Verb AddInspectVerb(CLI::App& liquid) {
  auto flags = std::make_shared<InspectFlags>();
  CLI::App* app = liquid.add_subcommand(
      "inspect", "Shows data of a job: what is trained, what is cut, what is twice.");
  app->add_option("FILE", flags->file, "job file, or a prepared .dataset")->required();
  app->add_option("--set", flags->overrides, "job setting that overrides the file's: KEY=VALUE")
      ->allow_extra_args(false);
  app->add_option("--tokenizer", flags->tokenizer, "directory of the tokenizer of a .dataset");
  app->add_option("--row", flags->first_row, "the first row to show, from 0")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 60))
      ->capture_default_str();
  app->add_option("--rows", flags->num_rows, "how many rows")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 60))
      ->capture_default_str();
  app->add_flag("--eval", flags->eval, "rows of data.eval");
  app->add_flag("--no-duplicates", flags->no_duplicates,
                "do not look for examples of data.eval in data.train");
  app->add_option("--color", flags->color, "auto, always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
  app->add_flag("--json", flags->json,
                "answer in JSON, a line for each row and a last one for the dataset");
  return {app, [flags] { return Inspect(*flags); }};
}

}  // namespace liquid
