#include "tests/data/tokenizer_golden.h"

#include <cstdint>
#include <sstream>
#include <vector>

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace liquid {
namespace {

using nlohmann::json;

constexpr int kMaxFailures = 10;

// For each byte of `text` the number of the character that begins there; at its end their number.
std::vector<size_t> CharacterNumbers(const std::string& text) {
  std::vector<size_t> numbers;
  size_t count = 0;
  for (const char c : text) {
    numbers.push_back(count);
    if ((static_cast<unsigned char>(c) & 0xC0) != 0x80) ++count;
    numbers.back() = (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? count - 1 : count;
  }
  numbers.push_back(count);
  return numbers;
}

std::string CheckOffsets(const Tokenizer& tokenizer, const json& item) {
  const std::string text = item["text"];
  std::vector<int32_t> ids;
  std::vector<ByteRange> ranges;
  tokenizer.EncodeWithOffsets(text, {}, &ids, &ranges);
  if (ids != item["ids"].get<std::vector<int32_t>>()) return "ids with offsets";
  const auto numbers = CharacterNumbers(text);
  json got = json::array();
  for (const ByteRange& range : ranges) {
    got.push_back({numbers[range.begin], numbers[range.end]});
  }
  if (item.contains("offsets") && got != item["offsets"]) {
    return "offsets " + got.dump() + " not " + item["offsets"].dump();
  }
  return "";
}

// What is wrong, or "".
std::string CheckCase(const Tokenizer& tokenizer, const json& item) {
  const std::string text = item["text"];
  const auto expected = item["ids"].get<std::vector<int32_t>>();
  std::vector<int32_t> ids;
  tokenizer.Encode(text, &ids);
  if (ids != expected) return "ids " + json(ids).dump() + " not " + item["ids"].dump();
  std::vector<int32_t> special;
  tokenizer.Encode(text, {.add_special_tokens = true}, &special);
  if (special != item.value("ids_special", expected)) return "ids_special " + json(special).dump();
  const std::string decoded = tokenizer.Decode(expected, false);
  if (decoded != item.value("decoded", text)) return "decoded \"" + decoded + "\"";
  const std::string skipped = tokenizer.Decode(expected, true);
  if (skipped != item.value("decoded_skip", text)) return "decoded_skip \"" + skipped + "\"";
  if (item.contains("bytes_hex")) {
    std::vector<int32_t> from_bytes;
    tokenizer.Encode(absl::HexStringToBytes(item["bytes_hex"].get<std::string>()), &from_bytes);
    if (from_bytes != expected) return "ids of bytes " + json(from_bytes).dump();
  }
  return CheckOffsets(tokenizer, item);
}

template <typename Check>
int ForEachLine(const std::string& text, Check check) {
  std::istringstream stream(text);
  int count = 0;
  int failures = 0;
  for (std::string line; std::getline(stream, line);) {
    if (line.empty()) continue;
    ++count;
    const std::string wrong = check(json::parse(line));
    if (!wrong.empty() && ++failures <= kMaxFailures) {
      ADD_FAILURE() << wrong << "\n in " << line.substr(0, 600);
    }
  }
  EXPECT_EQ(failures, 0) << "of " << count;
  return count;
}

}  // namespace

int CheckEncodeCases(const Tokenizer& tokenizer, const std::string& text) {
  return ForEachLine(text, [&](const json& item) { return CheckCase(tokenizer, item); });
}

int CheckDecodeCases(const Tokenizer& tokenizer, const std::string& text) {
  return ForEachLine(text, [&](const json& item) -> std::string {
    const auto ids = item["ids"].get<std::vector<int32_t>>();
    const std::string decoded = tokenizer.Decode(ids, false);
    if (decoded != item["text"]) return "decoded \"" + decoded + "\"";
    const std::string skipped = tokenizer.Decode(ids, true);
    if (skipped != item["text_skip"]) return "decoded_skip \"" + skipped + "\"";
    return "";
  });
}

}  // namespace liquid
