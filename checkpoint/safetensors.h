// The safetensors file format (docs/formats/checkpoint.md, 1), read and laid out. Nothing in a file
// is trusted: every rule of the format is checked before a tensor is handed out, and no size that
// the file claims is allocated or touched before it has been held against the file's own size.
#ifndef LIQUID_CHECKPOINT_SAFETENSORS_H_
#define LIQUID_CHECKPOINT_SAFETENSORS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/file.h"
#include "tensor/dtype.h"

namespace liquid {

// What a tensor is, without its data.
struct TensorSpec {
  std::string name;  // UTF-8
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;  // outermost first; empty for a scalar

  friend bool operator==(const TensorSpec&, const TensorSpec&) = default;
};

// Elements of `shape` times bytes of `dtype`; InvalidArgument if an extent is negative or the
// product leaves int64_t, whatever the order of the extents.
absl::StatusOr<int64_t> TensorNumBytes(DType dtype, absl::Span<const int64_t> shape);
// "F32 [2,3]", for messages.
std::string DescribeTensor(DType dtype, absl::Span<const int64_t> shape);
// `name` with everything but printable ASCII escaped, quoted: fit for one line of a terminal.
std::string QuoteName(std::string_view name);

// A tensor in a file: its bytes are [begin, end) of that file, counted from the file's start.
struct StoredTensor {
  TensorSpec spec;
  int64_t begin = 0;
  int64_t end = 0;

  int64_t num_bytes() const { return end - begin; }
};

// Everything a header says. Tensors are in the order of their bytes; they cover the file from
// `data_begin` to its end without a hole or an overlap.
struct SafetensorsHeader {
  std::vector<StoredTensor> tensors;
  std::map<std::string, std::string> metadata;
  int64_t data_begin = 0;
};

// Longest header that is read, and most axes of a tensor.
inline constexpr int64_t kMaxSafetensorsHeaderBytes = 100'000'000;
inline constexpr int kMaxTensorRank = 64;

// Reads the header of a file of `file_size` bytes that starts with `start` (the whole header, or
// the whole file). InvalidArgument names `path`, the tensor and the rule that was broken.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::Span<const std::byte> start,
                                                         int64_t file_size,
                                                         const std::string& path);

// A safetensors file, mapped. Immutable: any number of threads may read.
class SafetensorsFile {
 public:
  static absl::StatusOr<SafetensorsFile> Open(const std::string& path);

  const std::string& path() const { return file_.path(); }
  // In the order of their bytes.
  absl::Span<const StoredTensor> tensors() const { return header_.tensors; }
  // nullptr if there is none. Lives as long as this.
  const StoredTensor* Find(std::string_view name) const;
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  int64_t data_begin() const { return header_.data_begin; }

  // `tensor` is of this file. Lives as long as this. The format does not align data: the address
  // may be odd whatever the dtype, so copy elements out with memcpy.
  absl::Span<const std::byte> bytes(const StoredTensor& tensor) const {
    return file_.bytes().subspan(static_cast<size_t>(tensor.begin),
                                 static_cast<size_t>(tensor.num_bytes()));
  }
  // The length field and the header, up to the first tensor.
  absl::Span<const std::byte> header_bytes() const {
    return file_.bytes().first(static_cast<size_t>(header_.data_begin));
  }

 private:
  SafetensorsFile(MappedFile file, SafetensorsHeader header);
  MappedFile file_;
  SafetensorsHeader header_;
  std::vector<int32_t> by_name_;  // indices of header_.tensors
};

// Where everything goes in a file to be written, known before any data.
struct SafetensorsLayout {
  std::string header;                 // the file's bytes before the data, length field included
  std::vector<StoredTensor> tensors;  // in the order of their bytes
  int64_t file_size = 0;
};

// Orders tensors by element size, largest first, then by name, as the reference writer does; with
// the data's start padded to 8 bytes every tensor is then aligned to its elements.
// InvalidArgument: two tensors of one name, an impossible shape, a header above the limit.
absl::StatusOr<SafetensorsLayout> MakeSafetensorsLayout(
    std::vector<TensorSpec> tensors, const std::map<std::string, std::string>& metadata);

}  // namespace liquid

#endif  // LIQUID_CHECKPOINT_SAFETENSORS_H_
