#include "checkpoint/writer.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status.h"
#include "checkpoint/checksum.h"
#include "checkpoint/parallel_loop.h"
#include "checkpoint/sparse_writer.h"

namespace liquid {
namespace {

// What transformers, vLLM and llama.cpp look for beside the weights, but for config.json.
constexpr const char* kCompanionNames[] = {
    "generation_config.json",  "tokenizer.json",    "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "chat_template.json",      "vocab.json",        "merges.txt",
    "tokenizer.model",         "vocab.txt",
};

// Read and hashed while it is in the CPU's cache.
constexpr int64_t kBlockBytes = 1 << 20;

std::string DescribeBytes(int64_t num_bytes) {
  return absl::StrFormat("%.3f GB (%d bytes)", static_cast<double>(num_bytes) * 1e-9, num_bytes);
}

absl::StatusOr<ManifestPlainFile> DescribePlainFile(const std::string& directory,
                                                    const std::string& name) {
  LIQUID_ASSIGN_OR_RETURN(const std::string content, ReadFile(JoinPath(directory, name)));
  return ManifestPlainFile{name, static_cast<int64_t>(content.size()), HashBytes(content)};
}

absl::Status WriteRuns(const PieceWrite& write, int64_t tensor_begin, const std::byte* bytes,
                       SparseWriter& file) {
  for (const StridedBytes& run : write.runs) {
    for (int64_t i = 0; i < run.count; ++i) {
      const int64_t offset = tensor_begin + run.first + i * run.stride;
      LIQUID_RETURN_IF_ERROR(file.Write(offset, bytes, run.run_bytes));
      bytes += run.run_bytes;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Hash128> HashRange(const File& file, int64_t begin, int64_t end) {
  std::vector<std::byte> block(static_cast<size_t>(std::min(kBlockBytes, end - begin)));
  Hasher hasher;
  for (int64_t offset = begin; offset < end; offset += kBlockBytes) {
    const auto size = static_cast<size_t>(std::min(kBlockBytes, end - offset));
    LIQUID_RETURN_IF_ERROR(file.ReadAt(offset, block.data(), size));
    hasher.Update(block.data(), size);
  }
  return hasher.Digest();
}

}  // namespace

std::vector<CompanionFile> FindCompanionFiles(const std::string& config_path,
                                              const std::string& tokenizer_directory) {
  std::vector<CompanionFile> files;
  if (!config_path.empty()) files.push_back({config_path, "config.json"});
  for (const char* name : kCompanionNames) {
    const std::string source = JoinPath(tokenizer_directory, name);
    if (FileExists(source)) files.push_back({source, name});
  }
  return files;
}

absl::StatusOr<std::string> CompanionFile::Read() const {
  return source.empty() ? content : ReadFile(source);
}

CheckpointWriter::CheckpointWriter(std::string root, int64_t step, const CheckpointPlan& plan,
                                   std::vector<CompanionFile> companions, const std::string& writer)
    : root_(std::move(root)),
      step_(step),
      plan_(plan),
      companions_(std::move(companions)),
      temporary_(JoinPath(root_, TemporaryName(step, writer))) {
  LIQUID_CHECK(step >= 0, "step ", step);
}

absl::StatusOr<int64_t> CheckpointWriter::BytesNeeded() const {
  // Manifest and indexes: about 40 bytes a piece and 300 a tensor, and blocks that are not full.
  int64_t needed = plan_.num_bytes + (1 << 20) + 64 * static_cast<int64_t>(plan_.pieces.size());
  for (const PlannedFile& file : plan_.files) {
    needed += 4096 + 512 * static_cast<int64_t>(file.layout.tensors.size());
  }
  for (const CompanionFile& companion : companions_) {
    LIQUID_ASSIGN_OR_RETURN(const std::string content, companion.Read());
    needed += static_cast<int64_t>(content.size()) + 4096;
  }
  return needed;
}

absl::Status CheckpointWriter::Prepare() {
  LIQUID_RETURN_IF_ERROR(MakeDirectories(root_));
  // A leftover of another step that cannot be removed is no reason not to save.
  static_cast<void>(RemoveLeftovers(root_));
  LIQUID_RETURN_IF_ERROR(Abandon());
  LIQUID_ASSIGN_OR_RETURN(const int64_t needed, BytesNeeded());
  LIQUID_ASSIGN_OR_RETURN(const int64_t free, FreeBytes(root_));
  absl::Status status;
  if (needed > free) {
    status = absl::ResourceExhaustedError("disk full");
  } else {
    status = CreateFiles();
    if (!status.ok()) static_cast<void>(Abandon());
  }
  if (!absl::IsResourceExhausted(status)) return status;
  return absl::ResourceExhaustedError(
      absl::StrCat("no space for checkpoint ", CheckpointName(step_), " in ", root_, ": needs ",
                   DescribeBytes(needed), ", free ", DescribeBytes(free),
                   "; free some, or lower checkpoint.keep_last (", status.message(), ")"));
}

absl::Status CheckpointWriter::CreateFiles() {
  LIQUID_RETURN_IF_ERROR(MakeDirectories(temporary_));
  for (const PlannedFile& planned : plan_.files) {
    LIQUID_ASSIGN_OR_RETURN(File file, File::Create(JoinPath(temporary_, planned.name)));
    if (!lock_.has_value()) {
      LIQUID_RETURN_IF_ERROR(file.TryLock().status());  // nobody else knows the name
    }
    LIQUID_RETURN_IF_ERROR(file.Reserve(planned.layout.file_size));
    const std::string& header = planned.layout.header;
    LIQUID_RETURN_IF_ERROR(file.WriteAt(0, header.data(), header.size()));
    if (!lock_.has_value()) lock_.emplace(std::move(file));
  }
  for (const CompanionFile& companion : companions_) {
    LIQUID_ASSIGN_OR_RETURN(const std::string content, companion.Read());
    LIQUID_RETURN_IF_ERROR(WriteFile(JoinPath(temporary_, companion.name), content));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<PieceChecksum>> CheckpointWriter::WritePieces(
    absl::Span<const PieceWrite> writes, const BytesOfWrite& bytes_of, int num_threads,
    const std::atomic<bool>* stop) const {
  std::map<int32_t, SparseWriter> files;
  for (const PieceWrite& write : writes) {
    const int32_t index = write.piece.file;
    if (files.contains(index)) continue;
    const std::string& name = plan_.files[static_cast<size_t>(index)].name;
    LIQUID_ASSIGN_OR_RETURN(SparseWriter file, SparseWriter::Open(JoinPath(temporary_, name)));
    files.emplace(index, std::move(file));
  }
  std::vector<PieceChecksum> checksums(writes.size());
  LIQUID_RETURN_IF_ERROR(ParallelLoopUntilError(
      num_threads, static_cast<int64_t>(writes.size()), stop, [&](int64_t i) {
        const PieceWrite& write = writes[static_cast<size_t>(i)];
        const std::byte* bytes = bytes_of(write);
        if (write.is_whole) {
          checksums[static_cast<size_t>(i)] = {
              write.piece, HashBytes(bytes, static_cast<size_t>(write.num_bytes()))};
        }
        return WriteRuns(write, plan_.TensorOf(write.piece).begin, bytes,
                         files.at(write.piece.file));
      }));
  size_t num_whole = 0;
  for (size_t i = 0; i < writes.size(); ++i) {
    if (writes[i].is_whole) checksums[num_whole++] = checksums[i];
  }
  checksums.resize(num_whole);
  // On a disk that machines share, each must send its own pages.
  for (auto& [index, file] : files) LIQUID_RETURN_IF_ERROR(file.Sync());
  return checksums;
}

absl::StatusOr<std::vector<PieceChecksum>> CheckpointWriter::HashPieces(
    absl::Span<const Piece> pieces, int num_threads, const std::atomic<bool>* stop) const {
  std::map<int32_t, File> files;
  for (const Piece& piece : pieces) {
    if (files.contains(piece.file)) continue;
    const std::string& name = plan_.files[static_cast<size_t>(piece.file)].name;
    LIQUID_ASSIGN_OR_RETURN(File file, File::OpenForRead(JoinPath(temporary_, name)));
    files.emplace(piece.file, std::move(file));
  }
  std::vector<PieceChecksum> checksums(pieces.size());
  LIQUID_RETURN_IF_ERROR(ParallelLoopUntilError(
      num_threads, static_cast<int64_t>(pieces.size()), stop, [&](int64_t i) -> absl::Status {
        const Piece& piece = pieces[static_cast<size_t>(i)];
        const int64_t begin = plan_.TensorOf(piece).begin + plan_.FirstByte(piece);
        LIQUID_ASSIGN_OR_RETURN(const Hash128 hash, HashRange(files.at(piece.file), begin,
                                                              begin + plan_.NumBytes(piece)));
        checksums[static_cast<size_t>(i)] = {piece, hash};
        return absl::OkStatus();
      }));
  return checksums;
}

absl::StatusOr<Manifest> CheckpointWriter::MakeManifest(
    const TrainingState& state, absl::Span<const PieceChecksum> checksums) const {
  std::vector<PieceChecksum> sorted(checksums.begin(), checksums.end());
  const auto key = [](const Piece& piece) {
    return std::tie(piece.file, piece.tensor, piece.index);
  };
  std::sort(sorted.begin(), sorted.end(), [&](const PieceChecksum& a, const PieceChecksum& b) {
    return key(a.piece) < key(b.piece);
  });
  const bool is_complete =
      std::equal(sorted.begin(), sorted.end(), plan_.pieces.begin(), plan_.pieces.end(),
                 [&](const PieceChecksum& a, const Piece& b) { return key(a.piece) == key(b); });
  if (!is_complete) {
    return absl::InternalError(absl::StrCat("the ranks wrote ", sorted.size(), " pieces of ",
                                            CheckpointName(step_), ", not each of the ",
                                            plan_.pieces.size(), " planned ones once"));
  }
  Manifest manifest;
  manifest.state = state;
  size_t next = 0;
  for (const PlannedFile& planned : plan_.files) {
    ManifestTensorFile file;
    file.name = planned.name;
    file.num_bytes = planned.layout.file_size;
    file.header = HashBytes(planned.layout.header);
    for (const StoredTensor& tensor : planned.layout.tensors) {
      ManifestTensor& entry = file.tensors.emplace_back();
      entry.name = tensor.spec.name;
      const int64_t num_pieces = NumPieces(tensor.num_bytes());
      for (int64_t p = 0; p < num_pieces; ++p) entry.pieces.push_back(sorted[next++].hash);
    }
    file.checksum = TensorFileChecksum(file);
    manifest.tensor_files.push_back(std::move(file));
  }
  return manifest;
}

absl::StatusOr<CommittedCheckpoint> CheckpointWriter::Commit(
    const TrainingState& state, absl::Span<const PieceChecksum> checksums,
    const Retention& retention) {
  LIQUID_CHECK(state.step == step_, "state of step ", state.step, ", writer of ", step_);
  LIQUID_ASSIGN_OR_RETURN(Manifest manifest, MakeManifest(state, checksums));
  for (const PlannedFile& planned : plan_.files) {
    LIQUID_ASSIGN_OR_RETURN(File file, File::OpenForUpdate(JoinPath(temporary_, planned.name)));
    LIQUID_RETURN_IF_ERROR(file.Sync());
  }
  std::vector<std::string> plain_names;
  for (const CompanionFile& companion : companions_) plain_names.push_back(companion.name);
  const auto num_files = static_cast<int>(plan_.files.size());
  for (const auto& [stem, begin, end] :
       {std::tuple(plan_.model_stem, 0, plan_.num_model_files),
        std::tuple(std::string("optimizer"), plan_.num_model_files, num_files)}) {
    if (end - begin < 2) continue;  // a single file needs no index
    plain_names.push_back(absl::StrCat(stem, ".safetensors.index.json"));
    LIQUID_RETURN_IF_ERROR(
        WriteFile(JoinPath(temporary_, plain_names.back()), MakeIndexJson(plan_, begin, end)));
  }
  CommittedCheckpoint committed{
      JoinPath(root_, CheckpointName(step_)), CheckpointName(step_), "", plan_.num_bytes, {}};
  for (const std::string& name : plain_names) {
    LIQUID_ASSIGN_OR_RETURN(ManifestPlainFile file, DescribePlainFile(temporary_, name));
    committed.num_bytes += file.num_bytes;
    manifest.plain_files.push_back(std::move(file));
  }
  const std::string text = WriteManifest(manifest);
  committed.manifest_digest = ManifestDigest(std::move(manifest));
  committed.num_bytes += static_cast<int64_t>(text.size());
  LIQUID_RETURN_IF_ERROR(WriteFile(JoinPath(temporary_, kManifestName), text));
  LIQUID_RETURN_IF_ERROR(SyncDirectory(temporary_));
  LIQUID_RETURN_IF_ERROR(Publish());
  // The checkpoint is safe; what goes wrong from here on does not undo it.
  const absl::Status linked = SetLatest();
  committed.warnings = RemoveOldCheckpoints(root_, step_, retention);
  if (!linked.ok()) committed.warnings.emplace_back(linked.message());
  return committed;
}

absl::Status CheckpointWriter::Publish() {
  const std::string final_path = JoinPath(root_, CheckpointName(step_));
  const absl::Status renamed = Rename(temporary_, final_path);
  if (renamed.ok()) return SyncDirectory(root_);
  if (!FileExists(final_path)) return renamed;
  // What stands under the name goes with the temporary directory, which it becomes.
  LIQUID_RETURN_IF_ERROR(ExchangePaths(temporary_, final_path));
  LIQUID_RETURN_IF_ERROR(SyncDirectory(root_));
  static_cast<void>(Abandon());  // else the next Prepare will
  return absl::OkStatus();
}

absl::Status CheckpointWriter::SetLatest() {
  // A gang that lagged behind may be late with an older step's checkpoint.
  const auto linked = ReadSymlink(JoinPath(root_, "latest"));
  if (linked.ok() && CheckpointStep(*linked).value_or(0) > step_) return absl::OkStatus();
  return PointLatestAt(root_, step_);
}

absl::Status CheckpointWriter::Abandon() {
  absl::Status removed = RemoveRecursively(temporary_);
  lock_.reset();
  return removed;
}

}  // namespace liquid
