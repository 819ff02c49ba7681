#include "data/jsonl_reader.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"

namespace liquid {
namespace {

constexpr size_t kChunkBytes = 1 << 20;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

bool IsBlank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos;
}

}  // namespace

absl::StatusOr<DatasetSource> HashSource(const std::string& path) {
  LIQUID_ASSIGN_OR_RETURN(const File file, File::OpenForRead(path));
  LIQUID_ASSIGN_OR_RETURN(const int64_t size, file.Size());
  std::string buffer(kChunkBytes, '\0');
  Hasher hasher;
  for (int64_t at = 0; at < size;) {
    const auto piece = static_cast<size_t>(std::min<int64_t>(size - at, kChunkBytes));
    LIQUID_RETURN_IF_ERROR(file.ReadAt(at, buffer.data(), piece));
    hasher.Update(buffer.data(), piece);
    at += static_cast<int64_t>(piece);
  }
  return DatasetSource{path, size, hasher.Digest()};
}

JsonlReader::JsonlReader(std::vector<std::string> paths) : paths_(std::move(paths)) {
  LIQUID_CHECK(!paths_.empty());
}

absl::Status JsonlReader::OpenNext() {
  LIQUID_ASSIGN_OR_RETURN(file_, File::OpenForRead(paths_[sources_.size()]));
  LIQUID_ASSIGN_OR_RETURN(file_bytes_, file_->Size());
  file_offset_ = 0;
  line_number_ = 0;
  hasher_ = Hasher();
  buffer_.clear();
  at_ = 0;
  skipping_ = false;
  LIQUID_RETURN_IF_ERROR(Fill());
  if (std::string_view(buffer_).starts_with(kByteOrderMark)) at_ = kByteOrderMark.size();
  return absl::OkStatus();
}

// Drops what was given and appends the file's next chunk.
absl::Status JsonlReader::Fill() {
  buffer_.erase(0, at_);
  at_ = 0;
  const auto piece =
      static_cast<size_t>(std::min<int64_t>(file_bytes_ - file_offset_, kChunkBytes));
  const size_t held = buffer_.size();
  buffer_.resize(held + piece);
  LIQUID_RETURN_IF_ERROR(file_->ReadAt(file_offset_, buffer_.data() + held, piece));
  hasher_.Update(buffer_.data() + held, piece);
  file_offset_ += static_cast<int64_t>(piece);
  num_bytes_read_ += static_cast<int64_t>(piece);
  return absl::OkStatus();
}

absl::StatusOr<std::optional<JsonlReader::Line>> JsonlReader::Next() {
  size_t searched = 0;  // bytes behind at_ that hold no line's end
  while (true) {
    if (!file_.has_value()) {
      if (sources_.size() == paths_.size()) return std::nullopt;
      LIQUID_RETURN_IF_ERROR(OpenNext());
    }
    size_t end = buffer_.find('\n', at_ + searched);
    const bool at_file_end = end == std::string::npos && file_offset_ == file_bytes_;
    if (end == std::string::npos && !at_file_end) {
      if (buffer_.size() - at_ > kMaxLineBytes) {
        skipping_ = true;
        at_ = buffer_.size();
      }
      searched = buffer_.size() - at_;
      LIQUID_RETURN_IF_ERROR(Fill());
      continue;
    }
    if (at_file_end) end = buffer_.size();
    const std::string_view text = std::string_view(buffer_).substr(at_, end - at_);
    Line line = {static_cast<int32_t>(sources_.size()), ++line_number_, text,
                 skipping_ || text.size() > kMaxLineBytes};
    if (line.too_long) line.text = {};
    at_ = std::min(end + 1, buffer_.size());
    searched = 0;
    skipping_ = false;
    if (at_file_end) {
      sources_.push_back({file_->path(), file_bytes_, hasher_.Digest()});
      file_.reset();
    }
    if (line.too_long || !IsBlank(line.text)) return line;
  }
}

}  // namespace liquid
