// The input is a file. What is accepted must cover it exactly.
#include "base/check.h"
#include "checkpoint/safetensors.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::Span<const std::byte> file(reinterpret_cast<const std::byte*>(data), size);
  const auto header = liquid::ParseSafetensorsHeader(file, static_cast<int64_t>(size), "f");
  if (!header.ok()) {
    LIQUID_CHECK(!header.status().message().empty());
    return 0;
  }
  int64_t end = header->data_begin;
  for (const liquid::StoredTensor& tensor : header->tensors) {
    LIQUID_CHECK(tensor.begin == end && tensor.end >= end);
    const auto num_bytes = liquid::TensorNumBytes(tensor.spec.dtype, tensor.spec.shape);
    LIQUID_CHECK(num_bytes.ok() && *num_bytes == tensor.num_bytes());
    end = tensor.end;
  }
  LIQUID_CHECK(end == static_cast<int64_t>(size));
  return 0;
}
