#include "checkpoint/json_document.h"

#include "base/file.h"
#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::testing::HasSubstr;

auto Refused(const std::string& why) {
  return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(why));
}

TEST(JsonDocumentTest, ReadsJson) {
  const auto json = ParseJsonDocument(R"({"a":[1,{"b":null}],"c":{"b":"\u00e9"}})", "x.json");
  ASSERT_THAT(json, IsOk());
  EXPECT_EQ((*json)["c"]["b"], "\xc3\xa9");
}

TEST(JsonDocumentTest, NamesPathAndPlaceOfWhatItRefuses) {
  EXPECT_THAT(ParseJsonDocument("{\"a\":}", "x.json"),
              Refused("x.json: not JSON in UTF-8 (at byte 6)"));
  EXPECT_THAT(ParseJsonDocument("", "x.json"), Refused("not JSON"));
  EXPECT_THAT(ParseJsonDocument("{} x", "x.json"), Refused("not JSON"));
  EXPECT_THAT(ParseJsonDocument("{\"\xc3\":1}", "x.json"), Refused("not JSON"));
  EXPECT_THAT(ParseJsonDocument("{\"a\":1,\"a\":1}", "x.json"), Refused("the key \"a\" twice"));
  EXPECT_THAT(ParseJsonDocument("[{\"k\":{\"a\":1},\"\\u006b\":2}]", "x.json"),
              Refused("\"k\" twice"));
  EXPECT_THAT(ParseJsonDocument(std::string("{}\0}", 4), "x.json"), Refused("NUL"));
}

TEST(JsonDocumentTest, LimitsDepthAndSize) {
  const auto nested = [](int n) { return std::string(n, '[') + std::string(n, ']'); };
  EXPECT_THAT(ParseJsonDocument(nested(32), "x.json"), IsOk());
  EXPECT_THAT(ParseJsonDocument(nested(33), "x.json"), Refused("more than 32 deep"));
  EXPECT_THAT(ParseJsonDocument(std::string(1'000'000, '['), "x.json"),
              Refused("more than 32 deep"));
  const std::string path = ::testing::TempDir() + "/liquid_json_document_test.json";
  ASSERT_THAT(WriteFileAtomically(path, "{\"a\": 1}"), IsOk());
  EXPECT_THAT(ReadJsonDocument(path, 8), IsOk());
  EXPECT_THAT(ReadJsonDocument(path, 7), Refused("has 8 bytes; the limit is 7"));
  ASSERT_THAT(RemoveRecursively(path), IsOk());
  EXPECT_THAT(ReadJsonDocument(path, 7), StatusIs(absl::StatusCode::kNotFound, HasSubstr(path)));
}

}  // namespace
}  // namespace liquid
