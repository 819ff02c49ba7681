// A tokenizer.json, and a text that an accepted one must take there and back.
#include <vector>

#include "base/check.h"
#include "data/tokenizer.h"
#include "data/tokenizer_config.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view json = liquid::AsText(data, size);
  (void)liquid::TokenizerConfig::FromJson(json, "t");
  const auto tokenizer = liquid::Tokenizer::FromJson(json, "t");
  if (!tokenizer.ok()) return 0;
  constexpr std::string_view kText = "Hi, it's 12 o'clock \xc3\xa9\xf0\x9f\x98\x80\n <s>go on\xff";
  std::vector<int32_t> ids;
  std::vector<liquid::ByteRange> ranges;
  (*tokenizer)->EncodeWithOffsets(kText, {.add_special_tokens = true}, &ids, &ranges);
  LIQUID_CHECK(ids.size() == ranges.size());
  for (const int32_t id : ids) LIQUID_CHECK(id >= 0 && id < (*tokenizer)->vocab_size());
  (void)(*tokenizer)->Decode(ids, true);
  return 0;
}
