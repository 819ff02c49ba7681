#include "checkpoint/reader.h"

#include <algorithm>
#include <cstring>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "checkpoint/checksum.h"
#include "checkpoint/parallel_loop.h"

namespace liquid {
namespace {

absl::Status VerifyPlainFile(const std::string& directory, const ManifestPlainFile& entry) {
  const std::string path = JoinPath(directory, entry.name);
  LIQUID_ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
  const auto size = static_cast<int64_t>(content.size());
  if (size != entry.num_bytes) {
    return absl::DataLossError(
        absl::StrCat(path, " has ", size, " bytes instead of ", entry.num_bytes));
  }
  if (HashBytes(content) == entry.checksum) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(path, ": bytes [0,", size, ") are damaged"));
}

}  // namespace

absl::StatusOr<CheckpointReader> CheckpointReader::Open(const std::string& directory) {
  CheckpointReader reader;
  LIQUID_ASSIGN_OR_RETURN(Manifest manifest, ReadManifest(directory));
  reader.manifest_ = std::make_unique<Manifest>(std::move(manifest));
  for (const ManifestTensorFile& entry : reader.manifest_->tensor_files) {
    LIQUID_ASSIGN_OR_RETURN(TensorFile file, TensorFile::Open(directory, entry));
    const int file_index = static_cast<int>(reader.files_.size());
    int tensor_index = 0;
    for (const StoredTensor& tensor : file.tensors()) {
      reader.by_name_[tensor.spec.name] = {file_index, tensor_index++};
    }
    reader.files_.push_back(std::move(file));
  }
  for (const ManifestPlainFile& entry : reader.manifest_->plain_files) {
    LIQUID_RETURN_IF_ERROR(VerifyPlainFile(directory, entry));
  }
  return reader;
}

const StoredTensor* CheckpointReader::Find(std::string_view name) const {
  const auto it = by_name_.find(name);
  if (it == by_name_.end()) return nullptr;
  const auto [file, tensor] = it->second;
  return &files_[static_cast<size_t>(file)].tensors()[static_cast<size_t>(tensor)];
}

absl::Status CheckpointReader::Read(absl::Span<const TensorRead> reads, int num_threads) const {
  std::vector<HeldPart> parts;
  parts.reserve(reads.size());
  for (const TensorRead& read : reads) parts.push_back(HoldWhole(read.spec, read.out));
  return ReadParts(parts, num_threads);
}

absl::StatusOr<std::vector<CheckpointReader::PieceRead>> CheckpointReader::PlanReads(
    absl::Span<const HeldPart> parts) const {
  std::map<std::tuple<int, int, int64_t>, std::vector<const HeldPart*>> wanted;
  for (const HeldPart& part : parts) {
    const auto it = by_name_.find(part.spec.name);
    if (it == by_name_.end()) {
      return absl::NotFoundError(absl::StrCat("the checkpoint of step ", state().step,
                                              " has no tensor ", QuoteName(part.spec.name)));
    }
    const auto [file_index, tensor_index] = it->second;
    const TensorFile& file = files_[static_cast<size_t>(file_index)];
    const StoredTensor& tensor = file.tensors()[static_cast<size_t>(tensor_index)];
    if (tensor.spec != part.spec) {
      return absl::InvalidArgumentError(
          absl::StrCat(file.path(), ": tensor ", QuoteName(part.spec.name), " is ",
                       DescribeTensor(tensor.spec.dtype, tensor.spec.shape), ", not ",
                       DescribeTensor(part.spec.dtype, part.spec.shape)));
    }
    for (const StridedBytes& run : ClipToBytes(part.spec, part.box, 0, tensor.num_bytes())) {
      const int64_t end = run.first + (run.count - 1) * run.stride + run.run_bytes;
      for (int64_t p = run.first / kPieceBytes; p * kPieceBytes < end; ++p) {
        wanted[{file_index, tensor_index, p}].push_back(&part);
      }
    }
  }
  std::vector<PieceRead> reads;
  for (auto& [key, of_piece] : wanted) {
    const auto& [file, tensor, index] = key;
    reads.push_back({{file, tensor}, index, std::move(of_piece)});
  }
  return reads;
}

absl::Status CheckpointReader::ReadPiece(const PieceRead& read,
                                         std::vector<std::byte>& scratch) const {
  const TensorFile& file = files_[static_cast<size_t>(read.place.file)];
  const StoredTensor& tensor = file.tensors()[static_cast<size_t>(read.place.tensor)];
  const FileRange range = file.RangeOfPiece(read.place.tensor, read.index);
  const int64_t begin = range.begin - tensor.begin;
  const int64_t end = range.end - tensor.begin;
  const auto clips_of = [&](const HeldPart& part) {
    return ClipToBytes(part.spec, part.box, begin, end);
  };
  // Straight to where it belongs, if that is one run of memory.
  const HeldPart& first = *read.parts.front();
  const bool is_one_run =
      first.row_bytes == ExtentOf(first.spec).columns * SizeOf(first.spec.dtype) ||
      first.box.num_rows() == 1;
  const std::vector<StridedBytes> of_first = clips_of(first);
  int64_t first_bytes = 0;
  for (const StridedBytes& clip : of_first) first_bytes += clip.num_bytes();
  if (is_one_run && first_bytes == end - begin) {
    return file.ReadPiece(read.place.tensor, read.index, AddressOf(first, begin));
  }
  scratch.resize(static_cast<size_t>(std::min(kPieceBytes, tensor.num_bytes())));
  LIQUID_RETURN_IF_ERROR(file.ReadPiece(read.place.tensor, read.index, scratch.data()));
  for (const HeldPart* part : read.parts) {
    for (const StridedBytes& clip : clips_of(*part)) {
      // A run of whole rows may lie apart in memory: row by row.
      const int64_t row_bytes =
          std::min(clip.run_bytes, part->box.num_columns() * SizeOf(part->spec.dtype));
      for (int64_t i = 0; i < clip.count; ++i) {
        const int64_t run = clip.first + i * clip.stride;
        for (int64_t done = 0; done < clip.run_bytes; done += row_bytes) {
          std::memcpy(AddressOf(*part, run + done), scratch.data() + (run + done - begin),
                      static_cast<size_t>(std::min(row_bytes, clip.run_bytes - done)));
        }
      }
    }
  }
  return absl::OkStatus();
}

absl::Status CheckpointReader::ReadParts(absl::Span<const HeldPart> parts, int num_threads) const {
  LIQUID_ASSIGN_OR_RETURN(const std::vector<PieceRead> reads, PlanReads(parts));
  const auto read_piece = [&](int64_t i) {
    thread_local std::vector<std::byte> scratch;
    return ReadPiece(reads[static_cast<size_t>(i)], scratch);
  };
  return ParallelLoopUntilError(num_threads, static_cast<int64_t>(reads.size()), /*stop=*/nullptr,
                                read_piece);
}

}  // namespace liquid
