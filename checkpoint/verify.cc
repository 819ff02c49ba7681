#include "checkpoint/verify.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/mutex.h"
#include "base/status.h"
#include "checkpoint/checksum.h"
#include "checkpoint/fingerprint.h"
#include "checkpoint/hf_directory.h"
#include "checkpoint/manifest.h"
#include "checkpoint/parallel_loop.h"
#include "checkpoint/tensor_file.h"

namespace liquid {
namespace {

std::string Text(const absl::Status& status) { return std::string(status.message()); }

// The bytes of a file that could not be opened as its manifest entry says: those that are missing
// or too many, or else the header's, as far as its length can be believed.
FileRange RangeOfDamage(const std::string& path, int64_t expected_size) {
  const absl::StatusOr<File> file = File::OpenForRead(path);
  const absl::StatusOr<int64_t> size = file.ok() ? file->Size() : file.status();
  if (!size.ok()) return {};
  if (*size != expected_size) {
    return {std::min(*size, expected_size), std::max(*size, expected_size)};
  }
  uint64_t header_size = 0;
  if (!file->ReadAt(0, &header_size, sizeof(header_size)).ok()) return {};
  const bool is_plausible = header_size <= static_cast<uint64_t>(*size - 8);
  return {0, is_plausible ? 8 + static_cast<int64_t>(header_size) : 8};
}

class ManifestVerifier {
 public:
  ManifestVerifier(const std::string& directory, const Manifest& manifest, VerifyReport& report)
      : directory_(directory), manifest_(manifest), report_(report) {}

  void Run(int num_threads) {
    for (const ManifestTensorFile& entry : manifest_.tensor_files) OpenTensorFile(entry);
    for (const ManifestPlainFile& entry : manifest_.plain_files) CheckPlainFile(entry);
    ParallelLoop(num_threads, static_cast<int64_t>(jobs_.size()),
                 [this](int64_t i) { CheckPiece(jobs_[static_cast<size_t>(i)]); });
    FindStrangers();
    // A model file that could not even be opened has been named already.
    if (report_.problems.empty()) CheckWeights(num_threads);
  }

 private:
  struct Job {
    size_t file;
    int tensor;
    int64_t piece;
  };

  void OpenTensorFile(const ManifestTensorFile& entry) {
    ++report_.num_files;
    report_.num_bytes += entry.num_bytes;
    report_.num_tensors += static_cast<int64_t>(entry.tensors.size());
    absl::StatusOr<TensorFile> file = TensorFile::Open(directory_, entry);
    if (!file.ok()) {
      const FileRange range = RangeOfDamage(JoinPath(directory_, entry.name), entry.num_bytes);
      report_.problems.push_back({entry.name, "", range.begin, range.end, Text(file.status())});
      return;
    }
    files_.push_back({&entry, *std::move(file)});
    for (size_t t = 0; t < entry.tensors.size(); ++t) {
      const auto num_pieces = static_cast<int64_t>(entry.tensors[t].pieces.size());
      for (int64_t p = 0; p < num_pieces; ++p) {
        jobs_.push_back({files_.size() - 1, static_cast<int>(t), p});
      }
    }
  }

  void CheckPiece(const Job& job) {
    const auto& [entry, file] = files_[job.file];
    const absl::Status status = file.ReadPiece(job.tensor, job.piece, nullptr);
    if (status.ok()) return;
    const FileRange range = file.RangeOfPiece(job.tensor, job.piece);
    const MutexLock lock(mutex_);
    report_.problems.push_back({entry->name, entry->tensors[static_cast<size_t>(job.tensor)].name,
                                range.begin, range.end,
                                absl::IsDataLoss(status) ? "wrong checksum" : Text(status)});
  }

  void CheckPlainFile(const ManifestPlainFile& entry) {
    ++report_.num_files;
    report_.num_bytes += entry.num_bytes;
    const absl::StatusOr<std::string> content = ReadFile(JoinPath(directory_, entry.name));
    if (!content.ok()) {
      report_.problems.push_back({entry.name, "", 0, 0, Text(content.status())});
    } else if (static_cast<int64_t>(content->size()) != entry.num_bytes) {
      report_.problems.push_back(
          {entry.name, "", std::min(static_cast<int64_t>(content->size()), entry.num_bytes),
           std::max(static_cast<int64_t>(content->size()), entry.num_bytes),
           absl::StrCat("has ", content->size(), " bytes instead of ", entry.num_bytes)});
    } else if (HashBytes(*content) != entry.checksum) {
      report_.problems.push_back({entry.name, "", 0, entry.num_bytes, "wrong checksum"});
    }
  }

  // Files that were not written with the checkpoint would be read by other programs all the same.
  void FindStrangers() {
    std::set<std::string> known = {std::string(kManifestName)};
    for (const ManifestTensorFile& entry : manifest_.tensor_files) known.insert(entry.name);
    for (const ManifestPlainFile& entry : manifest_.plain_files) known.insert(entry.name);
    const absl::StatusOr<std::vector<std::string>> names = ListDirectory(directory_);
    if (!names.ok()) return;
    for (const std::string& name : *names) {
      const bool is_weights =
          name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json");
      if (!is_weights || known.contains(name)) continue;
      report_.problems.push_back({name, "", 0, 0, "is not in the manifest"});
    }
  }

  void CheckWeights(int num_threads) {
    const absl::StatusOr<Hash128> fingerprint = FingerprintDirectory(directory_, num_threads);
    if (!fingerprint.ok()) {
      report_.problems.push_back({"", "", 0, 0, Text(fingerprint.status())});
    } else if (*fingerprint != manifest_.state.weights_fingerprint) {
      report_.problems.push_back(
          {"", "", 0, 0,
           absl::StrCat("the weights' fingerprint is ", ToHex(*fingerprint), ", the manifest says ",
                        ToHex(manifest_.state.weights_fingerprint))});
    }
  }

  struct OpenedFile {
    const ManifestTensorFile* entry;
    TensorFile file;
  };

  const std::string& directory_;
  const Manifest& manifest_;
  VerifyReport& report_;
  std::vector<OpenedFile> files_;
  std::vector<Job> jobs_;
  Mutex mutex_;  // of report_.problems while threads check pieces
};

void VerifyStructure(const std::string& directory, VerifyReport& report) {
  const absl::StatusOr<WeightSource> source = WeightSource::OpenAny(directory);
  if (!source.ok()) {
    report.problems.push_back({"", "", 0, 0, Text(source.status())});
    return;
  }
  report.num_tensors = static_cast<int64_t>(source->tensors().size());
  for (const SafetensorsFile& file : source->files()) {
    ++report.num_files;
    const std::string name = file.path().substr(file.path().find_last_of('/') + 1);
    report.num_bytes += file.data_begin();
    for (const StoredTensor& tensor : file.tensors()) {
      report.num_bytes += tensor.num_bytes();
      const absl::StatusOr<TensorRef> listed = source->Find(tensor.spec.name);
      if (listed.ok() && listed->tensor == &tensor) continue;
      report.problems.push_back(
          {name, tensor.spec.name, tensor.begin, tensor.end,
           listed.ok() ? "is also in another file, which the index names" : "is not in the index"});
    }
  }
}

}  // namespace

std::string VerifyProblem::ToString() const {
  std::string text;
  if (!file.empty()) absl::StrAppend(&text, file, ": ");
  if (!tensor.empty()) {
    // The quoting of names is for terminals: what a file calls its tensors is not trusted.
    absl::StrAppend(&text, "tensor ", QuoteName(tensor), ": ");
  }
  if (end > 0) absl::StrAppend(&text, "bytes [", begin, ",", end, "): ");
  return text + what;
}

absl::StatusOr<VerifyReport> VerifyDirectory(const std::string& directory, int num_threads) {
  LIQUID_RETURN_IF_ERROR(ListDirectory(directory).status());
  VerifyReport report;
  if (FileExists(JoinPath(directory, kManifestName))) {
    report.has_manifest = true;
    const absl::StatusOr<Manifest> manifest = ReadManifest(directory);
    if (manifest.ok()) {
      ManifestVerifier(directory, *manifest, report).Run(num_threads);
    } else {
      const auto text = ReadFile(JoinPath(directory, kManifestName));
      report.problems.push_back({std::string(kManifestName), "", 0,
                                 text.ok() ? static_cast<int64_t>(text->size()) : 0,
                                 Text(manifest.status())});
      VerifyStructure(directory, report);
    }
  } else {
    VerifyStructure(directory, report);
  }
  std::stable_sort(report.problems.begin(), report.problems.end(),
                   [](const VerifyProblem& a, const VerifyProblem& b) {
                     return std::tie(a.file, a.begin, a.end) < std::tie(b.file, b.begin, b.end);
                   });
  return report;
}

}  // namespace liquid
