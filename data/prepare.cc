#include "data/prepare.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status.h"
#include "data/conversation.h"
#include "data/dataset_writer.h"
#include "data/example_encoder.h"
#include "data/jsonl_reader.h"
#include "data/loss_weights.h"
#include "data/packing.h"
#include "data/prepare_report.h"
#include "data/shown_tokens.h"
#include "data/unicode.h"
#include "nlohmann/json.hpp"

namespace liquid {
namespace {

// Part of every key: to be raised whenever the same input gives other rows.
constexpr int kPreparationVersion = 1;
constexpr size_t kMaxSampleBytes = 2000;
constexpr int64_t kExamplesPerProgress = 256;

// Everything that the rows follow from, as one text: two preparations with equal texts are equal.
absl::StatusOr<nlohmann::json> Recipe(const PrepareOptions& options,
                                      const std::vector<DatasetSource>& sources) {
  nlohmann::json recipe;
  recipe["format"] = kDatasetVersion;
  recipe["preparation"] = kPreparationVersion;
  recipe["sequence_length"] = options.sequence_length;
  recipe["packing"] = options.packing;
  recipe["overlong"] = std::string(OverlongPolicyName(options.overlong));
  recipe["max_bad_rows"] = options.max_bad_rows;
  recipe["loss_on"] = std::string(LossOnName(options.loss.loss_on));
  recipe["train_on_stop_token"] = options.loss.stop_token;
  for (const PrepareOptions::Source& source : options.sources) {
    recipe["mixture"].push_back({source.name, source.num_files});
  }
  recipe["inputs"] = nlohmann::json::array();
  const auto add = [&](const DatasetSource& source) {
    recipe["inputs"].push_back({source.path, source.num_bytes, ToHex(source.digest)});
  };
  for (const DatasetSource& source : sources) add(source);
  for (const std::string& path :
       ExampleEncoder::InputFiles(options.tokenizer, options.chat_template)) {
    LIQUID_ASSIGN_OR_RETURN(DatasetSource source, HashSource(path));
    // The tokenizer's contents count, not its place: a checkpoint carries a copy of it.
    source.path = path.substr(path.rfind('/') + 1);
    if (path == options.chat_template) source.path = "data.chat_template";
    add(source);
  }
  return recipe;
}

std::string DumpJson(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string ShortenSample(std::string text) {
  if (text.size() <= kMaxSampleBytes) return text;
  text.resize(kMaxSampleBytes);
  while (!text.empty() && IsContinuation(text.back())) text.pop_back();
  if (!text.empty() && (text.back() & 0x80) != 0) text.pop_back();  // the lead of what was cut
  return text + " ...";
}

// One run over the input files.
class Preparation {
 public:
  Preparation(const PrepareOptions& options, const std::vector<DatasetSource>& sources,
              const PrepareCallback& callback)
      : options_(options), sources_(sources), callback_(callback), reader_(options.files) {
    for (const DatasetSource& source : sources) progress_.num_bytes += source.num_bytes;
  }

  // Writes the dataset to `path`; `provenance` is completed with the report.
  absl::StatusOr<PrepareReport> Run(const std::string& path, nlohmann::json provenance);

 private:
  void OpenPacker();
  // Ends the sources of mixed data before the one that file `file` belongs to: none of their
  // documents shares a row with those of others.
  absl::Status EndSourcesBefore(size_t file);
  absl::Status AddLine(const JsonlReader::Line& line);
  // A row that cannot be used: an error if there have been too many.
  absl::Status CountBadRow(const std::string& place, const absl::Status& reason);
  absl::Status AddDocument(const std::string& place, Document document);
  // That there is something to train, and that it includes the end of a turn.
  absl::Status CheckTrained() const;
  absl::Status ReportProgress();
  absl::Status CheckSourcesUnchanged() const;

  const PrepareOptions& options_;
  const std::vector<DatasetSource>& sources_;
  const PrepareCallback& callback_;
  JsonlReader reader_;
  std::unique_ptr<ExampleEncoder> encoder_;
  std::unique_ptr<DatasetWriter> writer_;
  std::optional<Packer> packer_;
  LossWeights weights_;
  size_t source_end_ = 0;   // number of files up to the end of the source at hand
  bool has_turns_ = false;  // rows that are not plain text
  bool has_ends_ = false;   // conversations in which a token that ends a turn is trained
  PrepareReport report_;
  PrepareProgress progress_;
};

absl::StatusOr<PrepareReport> Preparation::Run(const std::string& path, nlohmann::json provenance) {
  LIQUID_ASSIGN_OR_RETURN(encoder_, ExampleEncoder::Load(options_.tokenizer, options_.chat_template,
                                                         kTrainingDate, options_.loss));
  report_.loss = options_.loss;
  LIQUID_ASSIGN_OR_RETURN(
      writer_, DatasetWriter::Create(path, {.sequence_length = options_.sequence_length,
                                            .vocab_size = encoder_->tokenizer().vocab_size(),
                                            .pad_token = encoder_->pad_token()}));
  OpenPacker();
  if (!options_.sources.empty()) source_end_ = options_.sources.front().num_files;
  while (true) {
    LIQUID_ASSIGN_OR_RETURN(const std::optional<JsonlReader::Line> line, reader_.Next());
    if (!line.has_value()) break;
    LIQUID_RETURN_IF_ERROR(EndSourcesBefore(static_cast<size_t>(line->source)));
    LIQUID_RETURN_IF_ERROR(AddLine(*line));
    if ((report_.num_examples + report_.num_bad_rows) % kExamplesPerProgress == 0) {
      LIQUID_RETURN_IF_ERROR(ReportProgress());
    }
  }
  LIQUID_RETURN_IF_ERROR(EndSourcesBefore(options_.files.size()));
  LIQUID_RETURN_IF_ERROR(packer_->Finish());
  LIQUID_RETURN_IF_ERROR(CheckSourcesUnchanged());
  LIQUID_RETURN_IF_ERROR(CheckTrained());
  report_.num_rows = writer_->num_rows();
  report_.num_documents = writer_->num_documents();
  report_.num_tokens = writer_->num_tokens();
  report_.num_target_tokens = writer_->num_targets();
  report_.fill = static_cast<double>(report_.num_tokens) /
                 (static_cast<double>(report_.num_rows) * options_.sequence_length);
  if (!report_.mixture.empty()) provenance["mixture"] = MixtureToJson(report_.mixture);
  provenance["report"] = ReportToJson(report_);
  LIQUID_ASSIGN_OR_RETURN(report_.digest, writer_->Finish(DumpJson(provenance), weights_.others()));
  LIQUID_RETURN_IF_ERROR(ReportProgress());
  return std::move(report_);
}

absl::Status Preparation::CheckTrained() const {
  const OverlongCounts& overlong = report_.overlong;
  const std::string files =
      absl::StrCat(options_.files.front(), options_.files.size() > 1 ? " and the other files" : "");
  if (writer_->num_rows() == 0) {
    std::string text = absl::StrCat(
        files, options_.files.size() > 1 ? " have" : " has",
        " nothing to train on: ", report_.num_examples, " examples, ", report_.num_bad_rows,
        " bad rows, ", overlong.num_dropped + overlong.num_untrained, " left out as too long");
    for (const std::string& row : report_.bad_rows) absl::StrAppend(&text, "; ", row);
    if (!report_.untrained_rows.empty()) {
      absl::StrAppend(&text, "; nothing trained fits into a row of ", options_.sequence_length,
                      ": ", absl::StrJoin(report_.untrained_rows, ", "));
    }
    return absl::InvalidArgumentError(text);
  }
  if (!options_.loss.stop_token) return absl::OkStatus();
  // Where all is trained, it is enough that the template writes one.
  const bool is_judged_by_rows =
      report_.chat.has_value() &&
      (report_.chat->stop_token_id < 0 || options_.loss.loss_on != LossOn::kAll);
  if (is_judged_by_rows && !has_ends_) {
    return absl::InvalidArgumentError(absl::StrCat(
        files, ": the model would never learn to stop: no trained turn of its conversations ends ",
        "with a special token; give another template in data.chat_template, or set ",
        "data.train_on_stop_token: false"));
  }
  if (!has_turns_ || overlong.num_whole_turns > 0) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      files, ": the model would never learn to stop: each of the ", overlong.num_cut_final_turns,
      " final turns is truncated to a row of ", options_.sequence_length,
      " tokens; raise data.sequence_length, or set data.overlong to split or drop"));
}

void Preparation::OpenPacker() {
  packer_.emplace(options_.sequence_length, options_.packing,
                  [this](const PackedRow& row) { return writer_->Append(row); });
}

absl::Status Preparation::EndSourcesBefore(size_t file) {
  while (report_.mixture.size() < options_.sources.size() && file >= source_end_) {
    LIQUID_RETURN_IF_ERROR(packer_->Finish());
    OpenPacker();
    MixturePart part = {.name = options_.sources[report_.mixture.size()].name,
                        .num_rows = writer_->num_rows(),
                        .num_documents = writer_->num_documents(),
                        .num_tokens = writer_->num_tokens(),
                        .num_target_tokens = writer_->num_targets()};
    for (const MixturePart& before : report_.mixture) {
      part.num_rows -= before.num_rows;
      part.num_documents -= before.num_documents;
      part.num_tokens -= before.num_tokens;
      part.num_target_tokens -= before.num_target_tokens;
    }
    if (part.num_rows == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("data.mix: ", part.name, " has nothing to train on (",
                       options_.files[source_end_ - 1], " is its last file)"));
    }
    report_.mixture.push_back(std::move(part));
    if (report_.mixture.size() < options_.sources.size()) {
      source_end_ += options_.sources[report_.mixture.size()].num_files;
    }
  }
  return absl::OkStatus();
}

absl::Status Preparation::AddLine(const JsonlReader::Line& line) {
  const std::string place =
      absl::StrCat(sources_[static_cast<size_t>(line.source)].path, ":", line.number);
  if (line.too_long) {
    return CountBadRow(
        place, absl::InvalidArgumentError(absl::StrCat("the line is longer than ",
                                                       JsonlReader::kMaxLineBytes >> 20, " MiB")));
  }
  const absl::StatusOr<Example> example = ParseExample(line.text);
  if (!example.ok()) return CountBadRow(place, example.status());
  if (example->kind == Example::Kind::kMessages && !report_.chat.has_value()) {
    absl::StatusOr<ChatFacts> chat = encoder_->CheckTemplate();
    if (!chat.ok()) return Annotate(chat.status(), place);
    report_.chat = *std::move(chat);
  }
  absl::StatusOr<Document> document = encoder_->Encode(*example, &weights_);
  if (absl::IsFailedPrecondition(document.status())) return Annotate(document.status(), place);
  if (!document.ok()) return CountBadRow(place, document.status());
  document->origin = {line.source, line.number, 0};
  ++report_.num_examples;
  const bool is_text = example->kind == Example::Kind::kText;
  has_turns_ |= !is_text;
  const bool is_chat = example->kind == Example::Kind::kMessages;
  has_ends_ = has_ends_ || (is_chat && encoder_->TrainsAnEnd(*document));
  if (is_text && !encoder_->eos_token().has_value()) ++report_.num_without_end;
  return Annotate(AddDocument(place, *std::move(document)), place);
}

absl::Status Preparation::CountBadRow(const std::string& place, const absl::Status& reason) {
  std::string text = absl::StrCat(place, ": ", reason.message());
  ++report_.num_bad_rows;
  if (report_.num_bad_rows > options_.max_bad_rows) {
    absl::StrAppend(&text, " (data.max_bad_rows tolerates ", options_.max_bad_rows, ")");
    for (const std::string& earlier : report_.bad_rows) absl::StrAppend(&text, "; ", earlier);
    return absl::InvalidArgumentError(text);
  }
  if (report_.bad_rows.size() < kMaxRowsListed) report_.bad_rows.push_back(std::move(text));
  return absl::OkStatus();
}

absl::Status Preparation::AddDocument(const std::string& place, Document document) {
  if (report_.first_sample.empty()) {
    report_.first_sample = ShortenSample(ShownText(
        ShowTokens(encoder_->tokenizer(), document.tokens, document.trained, weights_.others())));
  }
  report_.lengths.Add(static_cast<int64_t>(document.tokens.size()), options_.sequence_length);
  report_.num_left_out += document.num_left_out;
  if (document.num_left_out > 0 && report_.left_out_rows.size() < kMaxRowsListed) {
    report_.left_out_rows.push_back(place);
  }
  const int64_t untrained = report_.overlong.num_untrained;
  LIQUID_ASSIGN_OR_RETURN(const std::vector<Document> pieces,
                          FitDocument(std::move(document), options_.overlong,
                                      options_.sequence_length, &report_.overlong));
  if (report_.overlong.num_untrained > untrained &&
      report_.untrained_rows.size() < kMaxRowsListed) {
    report_.untrained_rows.push_back(place);
  }
  for (const Document& piece : pieces) LIQUID_RETURN_IF_ERROR(packer_->Add(piece));
  return absl::OkStatus();
}

absl::Status Preparation::ReportProgress() {
  if (callback_ == nullptr) return absl::OkStatus();
  progress_.num_bytes_done = reader_.num_bytes_read();
  progress_.num_examples = report_.num_examples;
  return callback_(progress_);
}

absl::Status Preparation::CheckSourcesUnchanged() const {
  for (size_t i = 0; i < sources_.size(); ++i) {
    if (reader_.sources()[i].digest != sources_[i].digest) {
      return absl::AbortedError(
          absl::StrCat(sources_[i].path, " changed while it was read; prepare again"));
    }
  }
  return absl::OkStatus();
}

// The report of the dataset at `path`, if it is sound and was made as `key` says.
std::optional<PrepareReport> FindPrepared(const std::string& path, const std::string& key) {
  if (!FileExists(path)) return std::nullopt;
  const absl::StatusOr<Dataset> dataset = Dataset::Open(path);
  if (!dataset.ok()) {
    LogWarning(dataset.status().message(), "; preparing it again");
    return std::nullopt;
  }
  const auto provenance = nlohmann::json::parse(dataset->provenance(), nullptr, false);
  PrepareReport report;
  if (!provenance.contains("key") || provenance["key"] != key || !provenance.contains("report") ||
      !ReportFromJson(provenance["report"], &report)) {
    LogWarning(path, ": not made by this program; preparing it again");
    return std::nullopt;
  }
  report.path = path;
  report.reused = true;
  report.digest = dataset->digest();
  report.mixture = dataset->mixture();
  return report;
}

absl::Status CheckOptions(const PrepareOptions& options) {
  if (options.files.empty()) return absl::InvalidArgumentError("no data files are given");
  if (options.sequence_length < 2 || options.sequence_length > kDatasetMaxSequenceLength) {
    return absl::InvalidArgumentError(absl::StrCat("data.sequence_length is ",
                                                   options.sequence_length, ", not 2 to ",
                                                   kDatasetMaxSequenceLength));
  }
  return absl::OkStatus();
}

// What a dataset is made from, and where it lies in the cache.
struct Origin {
  std::vector<DatasetSource> sources;
  nlohmann::json provenance;
  std::string key;
  std::string path;
};

absl::StatusOr<Origin> OriginOf(const PrepareOptions& options) {
  LIQUID_RETURN_IF_ERROR(CheckOptions(options));
  Origin origin;
  for (const std::string& path : options.files) {
    LIQUID_ASSIGN_OR_RETURN(DatasetSource source, HashSource(path));
    origin.sources.push_back(std::move(source));
  }
  LIQUID_ASSIGN_OR_RETURN(origin.provenance["options"], Recipe(options, origin.sources));
  origin.key = ToHex(HashBytes(DumpJson(origin.provenance["options"])));
  origin.provenance["key"] = origin.key;
  for (const DatasetSource& source : origin.sources) {
    origin.provenance["sources"].push_back(
        {{"path", source.path}, {"num_bytes", source.num_bytes}, {"digest", ToHex(source.digest)}});
  }
  origin.path = JoinPath(options.cache, origin.key + ".dataset");
  return origin;
}

}  // namespace

absl::StatusOr<std::optional<PrepareReport>> FindPreparedDataset(const PrepareOptions& options) {
  LIQUID_ASSIGN_OR_RETURN(const Origin origin, OriginOf(options));
  return FindPrepared(origin.path, origin.key);
}

absl::StatusOr<PrepareReport> PrepareDataset(const PrepareOptions& options,
                                             const PrepareCallback& progress) {
  LIQUID_ASSIGN_OR_RETURN(const Origin origin, OriginOf(options));
  LIQUID_RETURN_IF_ERROR(MakeDirectories(options.cache));
  if (std::optional<PrepareReport> report = FindPrepared(origin.path, origin.key)) {
    return *std::move(report);
  }
  LIQUID_ASSIGN_OR_RETURN(
      PrepareReport report,
      Preparation(options, origin.sources, progress).Run(origin.path, origin.provenance));
  report.path = origin.path;
  return report;
}

}  // namespace liquid
