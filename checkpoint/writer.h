// Writes a checkpoint, all ranks together, so that it is either there whole or not at all.
//
//   on rank 0:        writer.Prepare()             temporary directory, space reserved, headers
//   barrier
//   on every rank:    writer.WritePieces(...)      its part, straight to the final offsets
//   barrier, if several ranks write a piece together; then
//   on every rank:    writer.HashPieces(...)       those of which it hashes what others wrote
//   gather checksums to rank 0
//   on rank 0:        writer.Commit(...)           indexes, manifest last, fsync, rename, `latest`
//
// The caller carries statuses between ranks; if any is an error, rank 0 calls Abandon() instead of
// going on. Until Commit renames, nothing that was there before has changed, whatever fails, and
// whenever the process is killed. Several writers may be at work under one root, each with a name
// of its own for its temporary directory and a lock on it; of two of one step the later one's
// checkpoint stays: the state is the same.
#ifndef LIQUID_CHECKPOINT_WRITER_H_
#define LIQUID_CHECKPOINT_WRITER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/file.h"
#include "base/hash.h"
#include "checkpoint/catalog.h"
#include "checkpoint/manifest.h"
#include "checkpoint/plan.h"
#include "checkpoint/write_assignment.h"

namespace liquid {

// What a directory's chat template is called; it counts before that of tokenizer_config.json.
inline constexpr std::string_view kChatTemplateName = "chat_template.jinja";

// A small file that goes along, byte for byte.
struct CompanionFile {
  std::string source;  // path; empty: `content` is what it holds
  std::string name;    // in the checkpoint
  std::string content = {};

  absl::StatusOr<std::string> Read() const;
};

// `config_path` as config.json, unless it is empty, and what the directory `tokenizer_directory`
// has of the files that transformers looks for beside the weights: tokenizer, chat template,
// generation defaults.
std::vector<CompanionFile> FindCompanionFiles(const std::string& config_path,
                                              const std::string& tokenizer_directory);

// What one rank says of a piece that it wrote. May be sent as its bytes.
struct PieceChecksum {
  Piece piece;
  Hash128 hash;
};
static_assert(std::is_trivially_copyable_v<PieceChecksum>);

// What there is to write of a piece, its runs one after another (GatherBytes), in host memory. It
// must stay as it is until the write is over. Called from several threads.
using BytesOfWrite = std::function<const std::byte*(const PieceWrite& write)>;

struct CommittedCheckpoint {
  std::string path;
  std::string name;                   // step-00000100
  std::string manifest_digest;        // for the ledger
  int64_t num_bytes = 0;              // of all files
  std::vector<std::string> warnings;  // old checkpoints that could not be removed
};

// Made alike on every rank. Not thread-safe, but ranks may be threads, each with its own.
class CheckpointWriter {
 public:
  // For OUTPUT/checkpoints/step-XXXXXXXX with root = OUTPUT/checkpoints. `plan` must outlive this.
  // `writer`: letters that no other writer has, of a part of a file name.
  CheckpointWriter(std::string root, int64_t step, const CheckpointPlan& plan,
                   std::vector<CompanionFile> companions, const std::string& writer);

  // Removes leftovers of dead writers, then takes the lock and makes the temporary directory with
  // all files in their full size. ResourceExhausted, in one line with the bytes needed and free, if
  // they do not fit.
  absl::Status Prepare();

  // Writes with `num_threads` threads, and puts it on disk. The checksums are those of the pieces
  // that are written whole. Ranks write at the same time. Cancelled soon after `stop` is set.
  absl::StatusOr<std::vector<PieceChecksum>> WritePieces(absl::Span<const PieceWrite> writes,
                                                         const BytesOfWrite& bytes_of,
                                                         int num_threads,
                                                         const std::atomic<bool>* stop) const;
  // The checksums of pieces that are on disk.
  absl::StatusOr<std::vector<PieceChecksum>> HashPieces(absl::Span<const Piece> pieces,
                                                        int num_threads,
                                                        const std::atomic<bool>* stop) const;

  // `checksums`: of all pieces of the plan, each once, in any order (a piece that is missing or
  // twice is Internal). state.step must be the writer's. A checkpoint of the same step that is
  // there already is replaced. When this returns OK, the checkpoint is on disk under its name;
  // `latest` leads to it unless a warning says why not.
  absl::StatusOr<CommittedCheckpoint> Commit(const TrainingState& state,
                                             absl::Span<const PieceChecksum> checksums,
                                             const Retention& retention);

  // Removes the temporary directory; frees its disk space. OK if there is none.
  absl::Status Abandon();

 private:
  absl::StatusOr<int64_t> BytesNeeded() const;
  absl::Status CreateFiles();
  absl::StatusOr<Manifest> MakeManifest(const TrainingState& state,
                                        absl::Span<const PieceChecksum> checksums) const;
  absl::Status Publish();
  absl::Status SetLatest();

  std::string root_;
  int64_t step_;
  const CheckpointPlan& plan_;
  std::vector<CompanionFile> companions_;
  std::string temporary_;     // path
  std::optional<File> lock_;  // of a file in it, on rank 0 while it is at work
};

}  // namespace liquid

#endif  // LIQUID_CHECKPOINT_WRITER_H_
