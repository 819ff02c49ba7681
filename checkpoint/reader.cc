#include "checkpoint/reader.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/mutex.h"
#include "base/status.h"
#include "checkpoint/checksum.h"
#include "checkpoint/parallel_loop.h"

namespace liquid {

absl::StatusOr<CheckpointReader> CheckpointReader::Open(const std::string& directory) {
  CheckpointReader reader;
  const std::string manifest_path = JoinPath(directory, kManifestName);
  LIQUID_ASSIGN_OR_RETURN(const std::string text, ReadFile(manifest_path));
  LIQUID_ASSIGN_OR_RETURN(Manifest manifest, ParseManifest(text, manifest_path));
  reader.manifest_ = std::make_unique<Manifest>(std::move(manifest));
  reader.manifest_digest_ = ManifestDigest(text);
  for (const ManifestTensorFile& entry : reader.manifest_->tensor_files) {
    LIQUID_ASSIGN_OR_RETURN(TensorFile file, TensorFile::Open(directory, entry));
    const int file_index = static_cast<int>(reader.files_.size());
    int tensor_index = 0;
    for (const StoredTensor& tensor : file.tensors()) {
      reader.by_name_[tensor.spec.name] = {file_index, tensor_index++};
    }
    reader.files_.push_back(std::move(file));
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
  struct Job {
    Place place;
    int64_t piece;
    std::byte* out;
  };
  std::vector<Job> jobs;
  for (const TensorRead& read : reads) {
    const auto it = by_name_.find(read.spec.name);
    if (it == by_name_.end()) {
      return absl::NotFoundError(absl::StrCat("the checkpoint of step ", state().step,
                                              " has no tensor ", QuoteName(read.spec.name)));
    }
    const TensorFile& file = files_[static_cast<size_t>(it->second.file)];
    const StoredTensor& tensor = file.tensors()[static_cast<size_t>(it->second.tensor)];
    if (tensor.spec != read.spec) {
      return absl::InvalidArgumentError(
          absl::StrCat(file.path(), ": tensor ", QuoteName(read.spec.name), " is ",
                       DescribeTensor(tensor.spec.dtype, tensor.spec.shape), ", not ",
                       DescribeTensor(read.spec.dtype, read.spec.shape)));
    }
    const int64_t num_pieces = NumPieces(tensor.num_bytes());
    for (int64_t p = 0; p < num_pieces; ++p) {
      jobs.push_back({it->second, p, static_cast<std::byte*>(read.out) + p * kPieceBytes});
    }
  }
  Mutex mutex;
  absl::Status first_error;
  ParallelLoop(num_threads, static_cast<int64_t>(jobs.size()), [&](int64_t i) {
    const Job& job = jobs[static_cast<size_t>(i)];
    const absl::Status status =
        files_[static_cast<size_t>(job.place.file)].ReadPiece(job.place.tensor, job.piece, job.out);
    if (status.ok()) return;
    const MutexLock lock(mutex);
    if (first_error.ok()) first_error = status;
  });
  return first_error;
}

}  // namespace liquid
