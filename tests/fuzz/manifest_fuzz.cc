// The input as it is, and once more with the checksum at its end made right: else nothing behind
// that check would ever be reached. What is accepted survives being written and read.
#include <string>

#include "base/check.h"
#include "base/hash.h"
#include "checkpoint/manifest.h"
#include "tests/fuzz/fuzz_target.h"

namespace liquid {
namespace {

void Read(std::string_view text) {
  const auto manifest = ParseManifest(text, "m");
  if (!manifest.ok()) return;
  const auto again = ParseManifest(WriteManifest(*manifest), "m");
  LIQUID_CHECK(again.ok(), again.status().ToString());
  LIQUID_CHECK(*again == *manifest);
}

}  // namespace
}  // namespace liquid

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string text(liquid::AsText(data, size));
  liquid::Read(text);
  constexpr std::string_view kKey = ",\n \"checksum\": \"";
  const size_t at = text.rfind(kKey);
  if (at == std::string::npos) return 0;
  text.resize(at + kKey.size());
  liquid::Read(text + liquid::ToHex(liquid::HashBytes(text)) + "\"\n}\n");
  return 0;
}
