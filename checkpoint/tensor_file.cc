#include "checkpoint/tensor_file.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/hash.h"
#include "base/status.h"
#include "checkpoint/checksum.h"

namespace liquid {
namespace {

constexpr int64_t kBlockBytes = 1 << 20;  // read and hashed while in the CPU's cache

absl::Status DamagedHeader(const File& file, uint64_t end, std::string_view what) {
  return absl::DataLossError(absl::StrCat(file.path(), ": bytes [0,", end, "), ",
                                          absl::string_view(what.data(), what.size()),
                                          ", are damaged"));
}

// The bytes before the data, verified.
absl::StatusOr<std::string> ReadHeader(const File& file, const ManifestTensorFile& entry) {
  LIQUID_ASSIGN_OR_RETURN(const int64_t size, file.Size());
  if (size != entry.num_bytes) {
    return absl::DataLossError(
        absl::StrCat(file.path(), " has ", size, " bytes instead of ", entry.num_bytes));
  }
  uint64_t header_size = 0;
  const int64_t max_size = std::min(size - 8, kMaxSafetensorsHeaderBytes);
  if (max_size < 0) return DamagedHeader(file, static_cast<uint64_t>(size), "the whole file");
  LIQUID_RETURN_IF_ERROR(file.ReadAt(0, &header_size, sizeof(header_size)));
  if (header_size > static_cast<uint64_t>(max_size)) {
    return DamagedHeader(file, sizeof(header_size), "the header's length");
  }
  std::string header(8 + header_size, '\0');
  LIQUID_RETURN_IF_ERROR(file.ReadAt(0, header.data(), header.size()));
  if (HashBytes(header) != entry.header) return DamagedHeader(file, header.size(), "the header");
  return header;
}

}  // namespace

absl::StatusOr<TensorFile> TensorFile::Open(const std::string& directory,
                                            const ManifestTensorFile& entry) {
  LIQUID_ASSIGN_OR_RETURN(File file, File::OpenForRead(JoinPath(directory, entry.name)));
  LIQUID_ASSIGN_OR_RETURN(const std::string text, ReadHeader(file, entry));
  LIQUID_ASSIGN_OR_RETURN(
      SafetensorsHeader header,
      ParseSafetensorsHeader(
          absl::MakeSpan(reinterpret_cast<const std::byte*>(text.data()), text.size()),
          entry.num_bytes, file.path()));
  const bool agrees =
      std::equal(header.tensors.begin(), header.tensors.end(), entry.tensors.begin(),
                 entry.tensors.end(), [](const StoredTensor& a, const ManifestTensor& b) {
                   return a.spec.name == b.name &&
                          NumPieces(a.num_bytes()) == static_cast<int64_t>(b.pieces.size());
                 });
  if (!agrees) {
    return absl::InvalidArgumentError(
        absl::StrCat(file.path(), ": its tensors are not those of the manifest"));
  }
  return TensorFile(std::move(file), std::move(header), entry);
}

FileRange TensorFile::RangeOfPiece(int tensor, int64_t index) const {
  const StoredTensor& stored = header_.tensors[static_cast<size_t>(tensor)];
  const int64_t begin = stored.begin + index * kPieceBytes;
  return {begin, std::min(begin + kPieceBytes, stored.end)};
}

absl::Status TensorFile::ReadPiece(int tensor, int64_t index, void* out) const {
  const auto [begin, end] = RangeOfPiece(tensor, index);
  std::vector<std::byte> block;
  if (out == nullptr) block.resize(static_cast<size_t>(std::min(kBlockBytes, end - begin)));
  Hasher hasher;
  for (int64_t offset = begin; offset < end; offset += kBlockBytes) {
    const auto size = static_cast<size_t>(std::min(kBlockBytes, end - offset));
    std::byte* bytes =
        out == nullptr ? block.data() : static_cast<std::byte*>(out) + (offset - begin);
    LIQUID_RETURN_IF_ERROR(file_.ReadAt(offset, bytes, size));
    hasher.Update(bytes, size);
  }
  const ManifestTensor& expected = entry_->tensors[static_cast<size_t>(tensor)];
  if (hasher.Digest() != expected.pieces[static_cast<size_t>(index)]) {
    return absl::DataLossError(absl::StrCat(path(), ": tensor ", QuoteName(expected.name),
                                            ": bytes [", begin, ",", end, ") are damaged"));
  }
  return absl::OkStatus();
}

}  // namespace liquid
