#include "data/dataset_writer.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "data/dataset.h"
#include "data/dataset_format.h"

namespace liquid {
namespace {

constexpr size_t kBufferBytes = 1 << 20;
constexpr const char* kEntriesSuffix = ".entries";
constexpr const char* kDocumentsSuffix = ".documents";

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

}  // namespace

absl::StatusOr<HashedAppender> HashedAppender::Create(const std::string& path, int64_t offset) {
  LIQUID_ASSIGN_OR_RETURN(File file, File::Create(path));
  return HashedAppender(std::move(file), offset);
}

absl::Status HashedAppender::Append(const void* data, size_t num_bytes) {
  hasher_.Update(data, num_bytes);
  const auto* bytes = static_cast<const char*>(data);
  buffer_.insert(buffer_.end(), bytes, bytes + num_bytes);
  return buffer_.size() < kBufferBytes ? absl::OkStatus() : Flush();
}

absl::Status HashedAppender::Flush() {
  LIQUID_RETURN_IF_ERROR(file_.WriteAt(offset_, buffer_.data(), buffer_.size()));
  offset_ += static_cast<int64_t>(buffer_.size());
  buffer_.clear();
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<DatasetWriter>> DatasetWriter::Create(const std::string& path,
                                                                     const Options& options) {
  LIQUID_CHECK(options.sequence_length >= 2 && options.sequence_length <= kDatasetMaxSequenceLength,
               "sequence_length=", options.sequence_length);
  LIQUID_CHECK(options.pad_token >= 0 && options.pad_token < options.vocab_size,
               "pad_token=", options.pad_token, " vocab_size=", options.vocab_size);
  const std::string stem = absl::StrCat(path, ".partial.", getpid());
  LIQUID_ASSIGN_OR_RETURN(HashedAppender rows, HashedAppender::Create(stem, sizeof(DatasetHeader)));
  LIQUID_ASSIGN_OR_RETURN(HashedAppender entries, HashedAppender::Create(stem + kEntriesSuffix, 0));
  LIQUID_ASSIGN_OR_RETURN(HashedAppender documents,
                          HashedAppender::Create(stem + kDocumentsSuffix, 0));
  return std::unique_ptr<DatasetWriter>(new DatasetWriter(
      path, stem, options, std::move(rows), std::move(entries), std::move(documents)));
}

DatasetWriter::DatasetWriter(std::string path, std::string stem, const Options& options,
                             HashedAppender rows, HashedAppender entries, HashedAppender documents)
    : path_(std::move(path)),
      stem_(std::move(stem)),
      options_(options),
      rows_(std::move(rows)),
      entries_(std::move(entries)),
      documents_(std::move(documents)) {
  const int64_t used = int64_t{options.sequence_length} * 5;
  row_bytes_.resize(static_cast<size_t>(AlignDatasetOffset(used)));
}

DatasetWriter::~DatasetWriter() {
  // After Finish() the first is gone already. A destructor has no use for an error.
  for (const std::string& path : {stem_, stem_ + kEntriesSuffix, stem_ + kDocumentsSuffix}) {
    RemoveRecursively(path).IgnoreError();
  }
}

absl::Status DatasetWriter::Append(const PackedRow& row) {
  const auto capacity = static_cast<size_t>(options_.sequence_length);
  LIQUID_CHECK(!row.documents.empty() && row.tokens.size() <= capacity &&
                   row.tokens.size() == row.target_mask.size(),
               row.tokens.size(), " tokens of ", capacity, ", ", row.target_mask.size(), " masks");
  std::vector<int32_t> tokens(row.tokens);
  for (const int32_t token : tokens) {
    LIQUID_CHECK(token >= 0 && token < options_.vocab_size, "token ", token);
  }
  tokens.resize(capacity, options_.pad_token);
  std::fill(row_bytes_.begin(), row_bytes_.end(), 0);
  std::memcpy(row_bytes_.data(), tokens.data(), capacity * sizeof(int32_t));
  std::copy(row.target_mask.begin(), row.target_mask.end(),
            row_bytes_.begin() + static_cast<ptrdiff_t>(capacity * sizeof(int32_t)));
  LIQUID_RETURN_IF_ERROR(rows_.Append(row_bytes_.data(), row_bytes_.size()));

  const auto num_ignored = std::count(row.target_mask.begin(), row.target_mask.end(), uint8_t{0});
  const DatasetRowEntry entry = {
      num_documents_, static_cast<int32_t>(row.tokens.size()),
      static_cast<int32_t>(static_cast<ptrdiff_t>(row.target_mask.size()) - num_ignored)};
  for (const uint8_t mask : row.target_mask) largest_mask_ = std::max(largest_mask_, mask);
  LIQUID_RETURN_IF_ERROR(entries_.Append(&entry, sizeof(entry)));
  for (const PackedRow::Piece& piece : row.documents) {
    const DatasetDocument document = {piece.begin, piece.num_tokens, piece.origin.source,
                                      piece.origin.part, piece.origin.line};
    LIQUID_RETURN_IF_ERROR(documents_.Append(&document, sizeof(document)));
  }
  ++num_rows_;
  num_documents_ += static_cast<int64_t>(row.documents.size());
  num_tokens_ += entry.num_tokens;
  num_targets_ += entry.num_targets;
  return absl::OkStatus();
}

absl::Status DatasetWriter::AppendSection(HashedAppender* section) {
  LIQUID_RETURN_IF_ERROR(section->Flush());
  std::vector<char> buffer(kBufferBytes);
  for (int64_t at = 0; at < section->offset();) {
    const auto size = static_cast<size_t>(
        std::min<int64_t>(section->offset() - at, static_cast<int64_t>(buffer.size())));
    LIQUID_RETURN_IF_ERROR(section->file().ReadAt(at, buffer.data(), size));
    LIQUID_RETURN_IF_ERROR(rows_.Append(buffer.data(), size));
    at += static_cast<int64_t>(size);
  }
  const char zeros[kDatasetAlignment] = {};
  const int64_t padding = AlignDatasetOffset(rows_.offset()) - rows_.offset();
  return rows_.Append(zeros, static_cast<size_t>(padding));
}

absl::StatusOr<Hash128> DatasetWriter::Finish(std::string_view provenance,
                                              absl::Span<const float> weights) {
  LIQUID_CHECK(weights.size() <= kDatasetMaxWeights && largest_mask_ < 2 + weights.size(), "mask ",
               int{largest_mask_}, ", ", weights.size(), " weights");
  DatasetHeader header = {};
  std::copy(weights.begin(), weights.end(), header.weights);
  std::copy(std::begin(kDatasetMagic), std::end(kDatasetMagic), header.magic);
  header.version = kDatasetVersion;
  header.sequence_length = options_.sequence_length;
  header.vocab_size = options_.vocab_size;
  header.pad_token = options_.pad_token;
  header.num_rows = num_rows_;
  header.num_documents = num_documents_;
  header.num_tokens = num_tokens_;
  header.num_targets = num_targets_;
  header.rows_digest = rows_.Digest();
  rows_.RestartDigest();
  LIQUID_RETURN_IF_ERROR(AppendSection(&entries_));
  LIQUID_RETURN_IF_ERROR(AppendSection(&documents_));
  header.index_digest = rows_.Digest();
  header.num_provenance_bytes = static_cast<int64_t>(provenance.size());
  header.provenance_digest = HashBytes(provenance);
  header.header_digest = HashBytes(&header, offsetof(DatasetHeader, header_digest));
  LIQUID_RETURN_IF_ERROR(rows_.Append(provenance.data(), provenance.size()));
  LIQUID_RETURN_IF_ERROR(rows_.Flush());
  LIQUID_RETURN_IF_ERROR(rows_.file().WriteAt(0, &header, sizeof(header)));
  LIQUID_RETURN_IF_ERROR(rows_.file().Sync());
  LIQUID_RETURN_IF_ERROR(Rename(stem_, path_));
  LIQUID_RETURN_IF_ERROR(SyncDirectory(DirectoryOf(path_)));
  return DatasetDigest(header);
}

}  // namespace liquid
