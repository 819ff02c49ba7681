#include "checkpoint/sparse_writer.h"

#include "base/status.h"

namespace liquid {
namespace {

constexpr int64_t kBlock = File::kDirectAlignment;
constexpr int64_t kMinDirectBytes = 16 * kBlock;  // below, a copy costs less than a request

}  // namespace

absl::StatusOr<SparseWriter> SparseWriter::Open(const std::string& path) {
  LIQUID_ASSIGN_OR_RETURN(File buffered, File::OpenForUpdate(path));
  std::optional<File> direct;
  absl::StatusOr<File> opened = File::OpenForDirectUpdate(path);
  if (opened.ok()) direct.emplace(*std::move(opened));
  return SparseWriter(std::move(buffered), std::move(direct));
}

absl::Status SparseWriter::Write(int64_t offset, const std::byte* data, int64_t num_bytes) {
  const auto address = static_cast<int64_t>(reinterpret_cast<uintptr_t>(data));
  const int64_t head = (kBlock - offset % kBlock) % kBlock;
  const int64_t body = (num_bytes - head) / kBlock * kBlock;
  const bool is_aligned = (address - offset) % kBlock == 0;
  if (!direct_.has_value() || !is_aligned || body < kMinDirectBytes) {
    return buffered_.WriteAt(offset, data, static_cast<size_t>(num_bytes));
  }
  LIQUID_RETURN_IF_ERROR(buffered_.WriteAt(offset, data, static_cast<size_t>(head)));
  const absl::Status status =
      direct_->WriteAt(offset + head, data + head, static_cast<size_t>(body));
  if (absl::IsUnavailable(status)) {  // opened, and refused all the same
    LIQUID_RETURN_IF_ERROR(
        buffered_.WriteAt(offset + head, data + head, static_cast<size_t>(body)));
  } else {
    LIQUID_RETURN_IF_ERROR(status);
  }
  const int64_t done = head + body;
  return buffered_.WriteAt(offset + done, data + done, static_cast<size_t>(num_bytes - done));
}

}  // namespace liquid
