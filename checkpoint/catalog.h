// What OUTPUT/checkpoints holds: names, which entries are complete, which may go.
//   step-00000100             a checkpoint
//   .step-00000100.WRITER.tmp one that is being written, or whose writer died
//   .step-00000100.old        one that is being removed
//   latest -> step-00000100   relative link to the newest
//   best -> step-00000050     the same to that of the lowest eval loss, if such are kept
#ifndef LIQUID_CHECKPOINT_CATALOG_H_
#define LIQUID_CHECKPOINT_CATALOG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace liquid {

// "step-00000100"; and back, nullopt if `name` is not such a name.
std::string CheckpointName(int64_t step);
std::optional<int64_t> CheckpointStep(std::string_view name);
// Hidden names beside it.
std::string TemporaryName(int64_t step, std::string_view writer);  // of one of several writers
std::string RemovedName(int64_t step);

struct CheckpointEntry {
  std::string path;
  int64_t step = 0;
  std::optional<double> eval_loss;  // of its manifest
};

struct CheckpointCatalog {
  std::vector<CheckpointEntry> complete;  // newest first
  std::vector<std::string> skipped;       // "NAME: why it does not count", for people
};

// Looks at each entry of `root`. Complete: a sound manifest of that step, and every file that it
// names is there in its full size; contents are not read (CheckpointReader does, while loading).
// A root that does not exist has no entries. Errors: `root` cannot be read.
absl::StatusOr<CheckpointCatalog> ListCheckpoints(const std::string& root);

// Why the checkpoint in `directory` is not complete in the sense above; OK if it is.
absl::Status CheckComplete(const std::string& directory, int64_t step);

// The newest complete one; NotFound names all that were skipped.
absl::StatusOr<CheckpointEntry> FindLatestCheckpoint(const std::string& root);

// Makes ROOT/latest point to the checkpoint of `step`; 0: removes the link.
absl::Status PointLatestAt(const std::string& root, int64_t step);

struct Retention {
  int keep_last = 0;             // 0: keep all
  int64_t keep_every_steps = 0;  // steps that are multiples are kept for ever; 0: none
  int keep_best = 0;             // so many of the lowest eval loss are kept as well
};

// Which of `checkpoints` may go after that of step `newest` was written. Older ones only: what is
// newer than `newest` belongs to another course of the run and is left alone.
std::vector<int64_t> StepsToRemove(std::vector<CheckpointEntry> checkpoints, int64_t newest,
                                   const Retention& retention);

// Removes them, renaming each aside first, so that none is ever half there; before that, if the
// best are kept, makes ROOT/best point to the best up to `newest`. Does not stop at errors; returns
// them, one line each.
std::vector<std::string> RemoveOldCheckpoints(const std::string& root, int64_t newest,
                                              const Retention& retention);

// Whether a living process holds the lock of a file in the temporary directory `path` (writer.h).
bool IsBeingWritten(const std::string& path);

// Removes what dead writers and removers left behind. Does not stop at errors; returns the first.
absl::Status RemoveLeftovers(const std::string& root);

}  // namespace liquid

#endif  // LIQUID_CHECKPOINT_CATALOG_H_
