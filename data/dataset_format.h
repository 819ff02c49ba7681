// The bytes of a prepared dataset: docs/formats/dataset.md. For dataset_writer.cc and dataset.cc.
#ifndef LIQUID_DATA_DATASET_FORMAT_H_
#define LIQUID_DATA_DATASET_FORMAT_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/hash.h"

namespace liquid {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

inline constexpr char kDatasetMagic[8] = {'L', 'I', 'Q', 'U', 'I', 'D', 'D', 'S'};
inline constexpr uint32_t kDatasetVersion = 1;
inline constexpr int64_t kDatasetAlignment = 64;
inline constexpr int32_t kDatasetMaxSequenceLength = 1 << 24;
inline constexpr size_t kDatasetMaxWeights = 16;  // besides 0 and 1

struct DatasetHeader {
  char magic[8];
  uint32_t version;
  int32_t sequence_length;
  int32_t vocab_size;
  int32_t pad_token;
  int64_t num_rows;
  int64_t num_documents;
  int64_t num_tokens;  // without padding
  int64_t num_targets;
  Hash128 rows_digest;   // of the section of rows
  Hash128 index_digest;  // of the sections of row entries and documents, padding included
  // Up to here, and the weights: what is trained on. The rest: where it came from.
  int64_t num_provenance_bytes;
  Hash128 provenance_digest;
  float weights[kDatasetMaxWeights];  // what masks 2, 3, ... stand for; 0 behind the last
  uint8_t reserved[64];               // zero
  Hash128 header_digest;              // of all bytes before it
};
static_assert(sizeof(DatasetHeader) == 256);
static_assert(std::is_trivially_copyable_v<DatasetHeader>);
inline constexpr size_t kDatasetContentBytes = offsetof(DatasetHeader, num_provenance_bytes);

// The dataset's digest: of the header's content bytes and, if there are any, the weights.
Hash128 DatasetDigest(const DatasetHeader& header);

struct DatasetRowEntry {
  int64_t first_document;
  int32_t num_tokens;  // without padding
  int32_t num_targets;
};
static_assert(sizeof(DatasetRowEntry) == 16);

// Where the sections begin, from the header's counts.
struct DatasetLayout {
  int64_t row_bytes;  // of one row: tokens int32 [T], target mask uint8 [T], zeros
  int64_t rows;
  int64_t entries;
  int64_t documents;
  int64_t provenance;
  int64_t file_bytes;
};

// False if a count is negative or a size does not fit. sequence_length must be in range.
bool ComputeDatasetLayout(const DatasetHeader& header, DatasetLayout* layout);

inline int64_t AlignDatasetOffset(int64_t offset) {
  return (offset + kDatasetAlignment - 1) / kDatasetAlignment * kDatasetAlignment;
}

}  // namespace liquid

#endif  // LIQUID_DATA_DATASET_FORMAT_H_
