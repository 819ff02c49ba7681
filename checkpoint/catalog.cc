#include "checkpoint/catalog.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status.h"
#include "checkpoint/manifest.h"

namespace liquid {
namespace {

constexpr std::string_view kPrefix = "step-";
constexpr size_t kMinDigits = 8;

bool IsLeftover(std::string_view name) {
  return name.starts_with(".step-") && (name.ends_with(".tmp") || name.ends_with(".old"));
}

absl::Status CheckSize(const std::string& directory, const std::string& name, int64_t num_bytes) {
  LIQUID_ASSIGN_OR_RETURN(const File file, File::OpenForRead(JoinPath(directory, name)));
  LIQUID_ASSIGN_OR_RETURN(const int64_t size, file.Size());
  if (size != num_bytes) {
    return absl::DataLossError(
        absl::StrCat(file.path(), " has ", size, " bytes instead of ", num_bytes));
  }
  return absl::OkStatus();
}

}  // namespace

std::string CheckpointName(int64_t step) { return absl::StrFormat("step-%08d", step); }
std::string TemporaryName(int64_t step, std::string_view writer) {
  return absl::StrCat(".", CheckpointName(step), ".",
                      absl::string_view(writer.data(), writer.size()), ".tmp");
}
std::string RemovedName(int64_t step) { return absl::StrCat(".", CheckpointName(step), ".old"); }

std::optional<int64_t> CheckpointStep(std::string_view name) {
  int64_t step = 0;
  if (!name.starts_with(kPrefix) || name.size() < kPrefix.size() + kMinDigits) return std::nullopt;
  const std::string_view digits = name.substr(kPrefix.size());
  if (!absl::SimpleAtoi(absl::string_view(digits.data(), digits.size()), &step)) {
    return std::nullopt;
  }
  // One name per step: no sign, no further zeros.
  if (step < 0 || CheckpointName(step) != name) return std::nullopt;
  return step;
}

namespace {

// The checkpoint of `step` in `directory`, if it is complete.
absl::StatusOr<CheckpointEntry> LookAt(const std::string& directory, int64_t step) {
  LIQUID_ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(directory));
  if (manifest.state.step != step) {
    return absl::DataLossError(
        absl::StrCat(directory, ": its manifest is of step ", manifest.state.step));
  }
  for (const ManifestTensorFile& file : manifest.tensor_files) {
    LIQUID_RETURN_IF_ERROR(CheckSize(directory, file.name, file.num_bytes));
  }
  for (const ManifestPlainFile& file : manifest.plain_files) {
    LIQUID_RETURN_IF_ERROR(CheckSize(directory, file.name, file.num_bytes));
  }
  return CheckpointEntry{directory, step, manifest.state.eval_loss};
}

}  // namespace

absl::Status CheckComplete(const std::string& directory, int64_t step) {
  return LookAt(directory, step).status();
}

absl::StatusOr<CheckpointCatalog> ListCheckpoints(const std::string& root) {
  CheckpointCatalog catalog;
  if (!FileExists(root)) return catalog;
  LIQUID_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(root));
  for (const std::string& name : names) {
    if (IsLeftover(name)) {
      catalog.skipped.push_back(absl::StrCat(name, ": its writer did not finish"));
      continue;
    }
    const std::optional<int64_t> step = CheckpointStep(name);
    if (!step.has_value()) continue;  // `latest`, and what people put there
    const std::string path = JoinPath(root, name);
    absl::StatusOr<CheckpointEntry> entry = LookAt(path, *step);
    if (entry.ok()) {
      catalog.complete.push_back(*std::move(entry));
    } else {
      catalog.skipped.push_back(absl::StrCat(name, ": ", entry.status().message()));
    }
  }
  std::sort(catalog.complete.begin(), catalog.complete.end(),
            [](const CheckpointEntry& a, const CheckpointEntry& b) { return a.step > b.step; });
  return catalog;
}

absl::StatusOr<CheckpointEntry> FindLatestCheckpoint(const std::string& root) {
  LIQUID_ASSIGN_OR_RETURN(const CheckpointCatalog catalog, ListCheckpoints(root));
  if (!catalog.complete.empty()) return catalog.complete.front();
  return absl::NotFoundError(absl::StrCat(
      "no complete checkpoint in ", root,
      catalog.skipped.empty() ? "" : "; skipped: ", absl::StrJoin(catalog.skipped, "; ")));
}

namespace {

// Those of at most step `newest` that were evaluated, the lowest loss first; of equal ones the
// older.
std::vector<CheckpointEntry> ByEvalLoss(std::vector<CheckpointEntry> checkpoints, int64_t newest) {
  std::erase_if(checkpoints, [newest](const CheckpointEntry& entry) {
    return entry.step > newest || !entry.eval_loss.has_value();
  });
  std::sort(checkpoints.begin(), checkpoints.end(),
            [](const CheckpointEntry& a, const CheckpointEntry& b) {
              return std::tie(*a.eval_loss, a.step) < std::tie(*b.eval_loss, b.step);
            });
  return checkpoints;
}

absl::Status PointAt(const std::string& root, const char* name, int64_t step) {
  LIQUID_RETURN_IF_ERROR(ReplaceSymlink(CheckpointName(step), JoinPath(root, name)));
  return SyncDirectory(root);
}

}  // namespace

std::vector<int64_t> StepsToRemove(std::vector<CheckpointEntry> checkpoints, int64_t newest,
                                   const Retention& retention) {
  std::vector<int64_t> removed;
  if (retention.keep_last <= 0) return removed;
  std::set<int64_t> best;
  if (retention.keep_best > 0) {
    for (const CheckpointEntry& entry : ByEvalLoss(checkpoints, newest)) {
      if (static_cast<int>(best.size()) < retention.keep_best) best.insert(entry.step);
    }
  }
  std::sort(checkpoints.begin(), checkpoints.end(),
            [](const CheckpointEntry& a, const CheckpointEntry& b) { return a.step > b.step; });
  int num_kept = 0;
  for (const CheckpointEntry& entry : checkpoints) {
    const int64_t step = entry.step;
    if (step > newest) continue;
    const bool is_milestone =
        retention.keep_every_steps > 0 && step % retention.keep_every_steps == 0;
    if (num_kept < retention.keep_last) {
      ++num_kept;
    } else if (!is_milestone && !best.contains(step)) {
      removed.push_back(step);
    }
  }
  return removed;
}

std::vector<std::string> RemoveOldCheckpoints(const std::string& root, int64_t newest,
                                              const Retention& retention) {
  const absl::StatusOr<CheckpointCatalog> catalog = ListCheckpoints(root);
  if (!catalog.ok()) return {std::string(catalog.status().message())};
  std::vector<std::string> warnings;
  if (retention.keep_best > 0) {
    const std::vector<CheckpointEntry> ranked = ByEvalLoss(catalog->complete, newest);
    const absl::Status linked =
        ranked.empty() ? absl::OkStatus() : PointAt(root, "best", ranked.front().step);
    if (!linked.ok()) warnings.emplace_back(linked.message());
  }
  for (const int64_t step : StepsToRemove(catalog->complete, newest, retention)) {
    const std::string aside = JoinPath(root, RemovedName(step));
    absl::Status status = Rename(JoinPath(root, CheckpointName(step)), aside);
    if (status.ok()) status = RemoveRecursively(aside);
    if (!status.ok()) warnings.emplace_back(status.message());
  }
  return warnings;
}

absl::Status PointLatestAt(const std::string& root, int64_t step) {
  if (step == 0) return RemoveRecursively(JoinPath(root, "latest"));
  return PointAt(root, "latest", step);
}

bool IsBeingWritten(const std::string& path) {
  const absl::StatusOr<std::vector<std::string>> names = ListDirectory(path);
  if (!names.ok()) return false;
  for (const std::string& name : *names) {
    if (!name.ends_with(".safetensors")) continue;
    absl::StatusOr<File> file = File::OpenForUpdate(JoinPath(path, name));
    if (file.ok() && !file->TryLock().value_or(true)) return true;
  }
  return false;
}

absl::Status RemoveLeftovers(const std::string& root) {
  LIQUID_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(root));
  absl::Status first_error;
  for (const std::string& name : names) {
    const std::string path = JoinPath(root, name);
    if (IsLeftover(name) && !IsBeingWritten(path)) first_error.Update(RemoveRecursively(path));
  }
  return first_error;
}

}  // namespace liquid
