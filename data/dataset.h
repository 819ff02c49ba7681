// A prepared dataset: tokenized, masked, packed rows in a memory-mapped file.
//
// Format: docs/formats/dataset.md. Written by dataset_writer.h, made from JSONL by prepare.h. Rows
// are read from the mapping where they are needed; only their index is touched at opening.
#ifndef LIQUID_DATA_DATASET_H_
#define LIQUID_DATA_DATASET_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/file.h"
#include "base/hash.h"
#include "data/dataset_format.h"

namespace liquid {

// One document of a row, as it lies in the file.
struct DatasetDocument {
  int32_t begin;       // first token, in the row
  int32_t num_tokens;  // >= 1
  int32_t source;      // index into sources()
  int32_t part;        // 0, or which piece of a document that was split
  int64_t line;        // of the source file, from 1
};
static_assert(sizeof(DatasetDocument) == 24);

// A file that the dataset was made from.
struct DatasetSource {
  std::string path;
  int64_t num_bytes = 0;
  Hash128 digest;
};

// What a source has in a prepared dataset: so many rows, behind those of the sources before it. No
// row has documents of two sources.
struct MixturePart {
  std::string name;
  int64_t num_rows = 0;
  int64_t num_documents = 0;
  int64_t num_tokens = 0;  // without padding
  int64_t num_target_tokens = 0;

  friend bool operator==(const MixturePart&, const MixturePart&) = default;
};

// Immutable; any thread. Should the file be truncated while it is open, reading the lost part ends
// the process (base/file.h); the writer never changes a finished file.
class Dataset {
 public:
  // A target that does not count in the loss.
  static constexpr int32_t kIgnoredTarget = -100;

  enum class Verify {
    kEverything,  // reads the whole file once
    kIndexOnly,   // rows are left unread; a token beyond the vocabulary then fails a LIQUID_CHECK
  };
  // NotFound without the file; DataLoss "PATH: what is wrong with it" for anything unexpected:
  // every size, offset and number is checked before it is used.
  static absl::StatusOr<Dataset> Open(const std::string& path, Verify verify = Verify::kEverything);

  const std::string& path() const { return file_.path(); }
  int64_t num_rows() const { return header_.num_rows; }
  int sequence_length() const { return header_.sequence_length; }
  int32_t vocab_size() const { return header_.vocab_size; }
  int32_t pad_token() const { return header_.pad_token; }
  int64_t num_documents() const { return header_.num_documents; }
  int64_t num_tokens() const { return header_.num_tokens; }  // without padding
  int64_t num_target_tokens() const { return header_.num_targets; }
  // Of all that is trained on: rows, targets, documents and their line numbers. Not of the names
  // of the sources.
  Hash128 digest() const { return digest_; }
  const std::vector<DatasetSource>& sources() const { return sources_; }
  // The sources of mixed data, whose rows follow each other; empty if it is not mixed.
  const std::vector<MixturePart>& mixture() const { return mixture_; }
  const std::string& provenance() const { return provenance_; }  // JSON, for people and tools

  // Target tokens of a row: what a step's N(n) is the sum of. 0 for row -1.
  int64_t TargetTokens(int64_t row) const;
  // Whether some target may have another weight than 1.
  bool has_weights() const { return num_weights_ > 0; }
  // What a target with that mask counts in the loss: 0 for 0, 1 for 1, else finite and above 0.
  // `mask` must be one that the dataset may have.
  float Weight(uint8_t mask) const;
  // The weights of masks 2, 3, ...
  absl::Span<const float> other_weights() const { return {header_.weights, num_weights_}; }
  // The weights of a row's targets, summed in the row's order; TargetTokens(row) without weights.
  // 0 for row -1.
  double TargetWeight(int64_t row) const;
  // Tokens of a row without padding. 0 for row -1.
  int64_t Tokens(int64_t row) const;

  // Views into the mapping, valid as long as this. [T]: sequence_length. 0 <= row < num_rows.
  struct Row {
    absl::Span<const int32_t> tokens;             // [T], padded with pad_token()
    absl::Span<const uint8_t> target_mask;        // [T], not 0: a target, see Weight()
    absl::Span<const DatasetDocument> documents;  // in order, without gaps, from token 0
  };
  Row row(int64_t row) const;

  // What the model is given; each array [T]. Row -1 is an empty row: padding only.
  //   targets[t]        = tokens[t+1] if that is a target, else kIgnoredTarget
  //   document_start[t] = index in the row of the first token of t's document
  //   positions[t]      = t - document_start[t]
  // Padding behind the documents is a document of its own without targets.
  void FillRow(int64_t row, int32_t* tokens, int32_t* targets, int32_t* positions,
               int32_t* document_start) const;

  // weights[t], [T]: what targets[t] of FillRow counts in the loss; 0 where it is kIgnoredTarget.
  void FillWeights(int64_t row, float* weights) const;

  // "FILE:LINE", or "FILE:LINE part 3" of a split document.
  std::string Describe(const DatasetDocument& document) const;

 private:
  Dataset(MappedFile file, const DatasetHeader& header, const DatasetLayout& layout);
  absl::Status CheckIndex() const;
  absl::Status CheckRows() const;
  absl::Status ReadProvenance();
  absl::Status CheckMixture() const;
  absl::Span<const DatasetRowEntry> entries() const;
  absl::Span<const DatasetDocument> documents() const;

  MappedFile file_;
  DatasetHeader header_;
  DatasetLayout layout_;
  size_t num_weights_ = 0;  // those in the header
  Hash128 digest_;
  std::string provenance_;
  std::vector<DatasetSource> sources_;
  std::vector<MixturePart> mixture_;
};

}  // namespace liquid

#endif  // LIQUID_DATA_DATASET_H_
