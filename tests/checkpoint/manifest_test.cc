#include "checkpoint/manifest.h"

#include "absl/strings/str_replace.h"
#include "checkpoint/checksum.h"
#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::testing::HasSubstr;

Manifest Sample() {
  Manifest manifest;
  manifest.state = {7,       56,   0,      UINT64_MAX,      "j\"\xc3\xa9", "aa", "bb",
                    "0.1.0", "cc", {1, 2}, "step-00000003", "dd",          0.5,  0.25};
  ManifestTensorFile file{
      "model.safetensors", 100, {}, {3, 4}, {{"w", {{5, 6}, {7, 8}}}, {"e", {}}}};
  file.checksum = TensorFileChecksum(file);
  manifest.tensor_files.push_back(file);
  manifest.plain_files.push_back({"config.json", 12, {9, 10}});
  return manifest;
}

// `text` with one part replaced and its checksum made to fit again.
std::string Changed(std::string text, const std::string& from, const std::string& to) {
  EXPECT_THAT(text, HasSubstr(from));
  text = absl::StrReplaceAll(text, {{from, to}});
  const size_t tail = text.size() - 32 - 4;
  return text.substr(0, tail) + ToHex(HashBytes(text.substr(0, tail))) + "\"\n}\n";
}

auto Refused(const std::string& why) {
  return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(why));
}

TEST(ManifestTest, ReadsWhatItWrites) {
  const std::string text = WriteManifest(Sample());
  const auto manifest = ParseManifest(text, "manifest.json");
  ASSERT_THAT(manifest, IsOk());
  EXPECT_EQ(*manifest, Sample());
  EXPECT_EQ(WriteManifest(*manifest), text);
  EXPECT_EQ(ManifestDigest(*manifest).size(), 64);
  Manifest other = *manifest;
  other.state.parent = "step-00000001";
  EXPECT_EQ(ManifestDigest(other), ManifestDigest(*manifest));
  other.state.eval_loss.reset();
  other.state.eval_accuracy = 0.625;
  EXPECT_EQ(ManifestDigest(other), ManifestDigest(*manifest));
  EXPECT_EQ(*ParseManifest(WriteManifest(other), "m"), other);
  ++other.state.step;
  EXPECT_NE(ManifestDigest(other), ManifestDigest(*manifest));
}

TEST(ManifestTest, FindsEveryFlippedBitAndEveryCut) {
  const std::string text = WriteManifest(Sample());
  for (size_t i = 0; i < text.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = text;
      flipped[i] = static_cast<char>(flipped[i] ^ 1 << bit);
      EXPECT_THAT(ParseManifest(flipped, "m"),
                  StatusIs(absl::StatusCode::kDataLoss, HasSubstr("m is damaged")));
    }
    EXPECT_THAT(ParseManifest(text.substr(0, i), "m"),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("")));
  }
  EXPECT_THAT(ParseManifest(text + " ", "m"), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("")));
}

TEST(ManifestTest, RefusesWhatItDoesNotKnow) {
  const std::string text = WriteManifest(Sample());
  const auto parse = [&](const std::string& from, const std::string& to) {
    return ParseManifest(Changed(text, from, to), "m");
  };
  EXPECT_THAT(parse("\"step\": 7", "\"step\": 8"), IsOk());
  EXPECT_THAT(parse("liquid-checkpoint", "other"), Refused("m: not a liquid-checkpoint"));
  EXPECT_THAT(parse("\"version\": 1", "\"version\": 2"),
              Refused("version 2; this program reads version 1"));
  EXPECT_THAT(parse("\"step\": 7", "\"step\": -7"),
              Refused("m: state: step must be a whole number"));
  EXPECT_THAT(parse("\"step\": 7", "\"step\": 7.0"), Refused("step must be a whole number"));
  EXPECT_THAT(parse("\"step\": 7", "\"step\": 9223372036854775808"), Refused("step is too large"));
  EXPECT_THAT(parse("\"step\": 7", "\"steps\": 7"), Refused("step must be"));
  EXPECT_THAT(parse("\"eval_loss\": 0.5", "\"eval_loss\": \"0.5\""),
              Refused("eval_loss must be a number"));
  EXPECT_THAT(parse("\"step\": 7", "\"step\": 7, \"x\": 1"), Refused("members that this version"));
  EXPECT_THAT(parse("\"step\": 7", "\"step\": 7, \"step\": 7"), Refused("\"step\" twice"));
  EXPECT_THAT(parse("\"version\": 1", "\"version\": 1, \"x\": 1"),
              Refused("members that this version"));
  EXPECT_THAT(parse("\"job\": \"", "\"job\": 1, \"y\": \""), Refused("job must be a text"));
  EXPECT_THAT(parse("\"state\"", "\"stat\""), Refused("state"));
  EXPECT_THAT(parse("\"config.json\"", "\"../config.json\""), Refused("plain file name"));
  EXPECT_THAT(parse("\"config.json\"", "\"\""), Refused("plain file name"));
  EXPECT_THAT(parse("\"config.json\"", "\"manifest.json\""), Refused("plain file name"));
  EXPECT_THAT(parse("\"config.json\"", "\"model.safetensors\""),
              Refused("the file model.safetensors twice"));
  EXPECT_THAT(parse("\"name\": \"e\"", "\"name\": \"w\""), Refused("the tensor \"w\" twice"));
  EXPECT_THAT(parse("\"plain_files\": [", "\"plain_files\": [1, "), Refused("must be an object"));
  EXPECT_THAT(parse("00000000000000050000000000000006", "00000000000000050000000000000007"),
              Refused("is not that of its parts"));
  EXPECT_THAT(parse("00000000000000050000000000000006", "5"), Refused("32 hexadecimal digits"));
  EXPECT_THAT(parse("\"00000000000000050000000000000006\"", "5"), Refused("32 hexadecimal digits"));
}

}  // namespace
}  // namespace liquid
