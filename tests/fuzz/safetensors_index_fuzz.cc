// No file that an accepted index names may lie outside of its directory.
#include "base/check.h"
#include "checkpoint/hf_directory.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto index = liquid::ParseSafetensorsIndex(liquid::AsText(data, size), "i");
  if (!index.ok()) return 0;
  for (const auto& entry : index->weight_map) {
    LIQUID_CHECK(entry.file.find('/') == std::string::npos, entry.file);
    LIQUID_CHECK(entry.file.ends_with(".safetensors"), entry.file);
  }
  return 0;
}
