// manifest.json of a checkpoint: what the state is, where it came from, and the checksums of all
// else in the directory (docs/formats/checkpoint.md, 2). Written last: a checkpoint with a sound
// manifest was complete once.
#ifndef LIQUID_CHECKPOINT_MANIFEST_H_
#define LIQUID_CHECKPOINT_MANIFEST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/hash.h"

namespace liquid {

inline constexpr std::string_view kManifestName = "manifest.json";

// What the trainer knows of the state that a checkpoint holds. With the job and the data set it
// decides everything that follows: order of rows, learning rate, random numbers.
struct TrainingState {
  int64_t step = 0;             // updates made; the state "after step n"
  int64_t stream_position = 0;  // rows of the job's stream consumed, over all epochs
  int64_t epoch = 0;            // whole passes over the data
  uint64_t seed = 0;
  std::string job;             // its name
  std::string job_digest;      // of the effective job
  std::string dataset_digest;  // of the prepared training data
  std::string code_version;
  std::string ledger_head;      // hash of the ledger's newest entry when this was saved
  Hash128 weights_fingerprint;  // checkpoint/fingerprint.h, of the model's weights
  std::string parent;           // name of the checkpoint that this run resumed from; empty: none
  std::string parent_manifest;  // digest of its manifest
  std::optional<double> eval_loss;  // mean over the eval data; none: not evaluated, or not finite
  std::optional<double> eval_accuracy;  // of the same evaluation: targets held for the likeliest

  friend bool operator==(const TrainingState&, const TrainingState&) = default;
};

// A safetensors file. Pieces and checksums: checkpoint/checksum.h.
struct ManifestTensor {
  std::string name;
  std::vector<Hash128> pieces;

  friend bool operator==(const ManifestTensor&, const ManifestTensor&) = default;
};
struct ManifestTensorFile {
  std::string name;
  int64_t num_bytes = 0;
  Hash128 checksum;                     // CombineHashes(header, tensor checksums)
  Hash128 header;                       // of the bytes before the data
  std::vector<ManifestTensor> tensors;  // in the order of their bytes

  friend bool operator==(const ManifestTensorFile&, const ManifestTensorFile&) = default;
};
// Any other file: indexes, configuration, tokenizer.
struct ManifestPlainFile {
  std::string name;
  int64_t num_bytes = 0;
  Hash128 checksum;  // XXH3-128 of its bytes

  friend bool operator==(const ManifestPlainFile&, const ManifestPlainFile&) = default;
};

struct Manifest {
  TrainingState state;
  std::vector<ManifestTensorFile> tensor_files;
  std::vector<ManifestPlainFile> plain_files;

  friend bool operator==(const Manifest&, const Manifest&) = default;
};

// The text of manifest.json; the same bytes for the same manifest. Its last member is a checksum
// of all text before it.
std::string WriteManifest(const Manifest& manifest);

// DataLoss: the text's own checksum does not fit (a flipped bit, a cut). InvalidArgument: a sound
// text that is no manifest of this version. Both name `path`.
absl::StatusOr<Manifest> ParseManifest(std::string_view text, const std::string& path);
absl::StatusOr<Manifest> ReadManifest(const std::string& directory);

// What the ledger records of a checkpoint: SHA-256 of the manifest's text without its lineage
// (code_version, ledger_head, parent, parent_manifest empty), eval_loss and eval_accuracy, which a
// saver may have missed. So it does not depend on who saved the state, or on how often the run was
// stopped before.
std::string ManifestDigest(Manifest manifest);

// The file checksum that its parts make up.
Hash128 TensorFileChecksum(const ManifestTensorFile& file);

}  // namespace liquid

#endif  // LIQUID_CHECKPOINT_MANIFEST_H_
