#include "data/json_reader.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::testing::HasSubstr;
using testing::StatusIs;

std::string StringIn(std::string_view json) {
  JsonReader reader(json);
  std::string_view value;
  return reader.ReadString(&value) && reader.ReadEnd() ? std::string(value)
                                                       : "error: " + reader.status().ToString();
}

TEST(JsonReaderTest, WalksObjectsAndLists) {
  JsonReader reader(R"( {"a": [1, -2 ,3], "b": {"x": [true, "]}\""]}, "c": "d"} )");
  std::string_view key;
  reader.BeginObject();
  ASSERT_TRUE(reader.NextKey(&key));
  EXPECT_EQ(key, "a");
  int64_t sum = 0;
  reader.BeginArray();
  while (reader.NextElement()) {
    int64_t value = 0;
    ASSERT_TRUE(reader.ReadInteger(&value));
    sum = sum * 10 + value;
  }
  EXPECT_EQ(sum, 83);
  ASSERT_TRUE(reader.NextKey(&key));
  EXPECT_EQ(reader.SkipValue(), R"({"x": [true, "]}\""]})");
  ASSERT_TRUE(reader.NextKey(&key));
  EXPECT_EQ(reader.SkipValue(), R"("d")");
  EXPECT_FALSE(reader.NextKey(&key));
  EXPECT_TRUE(reader.ReadEnd()) << reader.status();
}

TEST(JsonReaderTest, UnescapesStrings) {
  EXPECT_EQ(StringIn(R"("plain")"), "plain");
  EXPECT_EQ(StringIn(R"("a\n\"\\\/\t\u00e9\u2581\ud83d\ude00z")"),
            "a\n\"\\/\t\xC3\xA9\xE2\x96\x81\xF0\x9F\x98\x80z");
}

TEST(JsonReaderTest, RefusesMalformedStrings) {
  for (const char* json :
       {R"("abc)", R"("a\x")", R"("\u12")", R"("\u12G4")", R"("\ud83d")", R"("\ud83dA")",
        R"("\ude00")", "\"a\nb\"", "\"a\\", "\"\\u123", "x", "\"a\" x", R"("\ud83d\u0041")"}) {
    EXPECT_THAT(StringIn(json), HasSubstr("error")) << json;
  }
}

TEST(JsonReaderTest, ErrorsNameLineAndColumnAndAreLatched) {
  JsonReader reader("{\"a\": 1,\n \"b\" 2}");
  std::string_view key;
  int64_t value = 0;
  reader.BeginObject();
  ASSERT_TRUE(reader.NextKey(&key));
  ASSERT_TRUE(reader.ReadInteger(&value));
  EXPECT_FALSE(reader.NextKey(&key));
  EXPECT_THAT(reader.status(), StatusIs(absl::StatusCode::kInvalidArgument,
                                        HasSubstr("line 2, column 6: ':' was expected")));
  reader.Fail("something else");
  EXPECT_FALSE(reader.ReadInteger(&value));
  EXPECT_THAT(std::string(reader.status().message()), HasSubstr("':'"));
}

TEST(JsonReaderTest, IntegersAreWholeAndInRange) {
  for (const char* json : {"1.5", "1e3", "99999999999999999999", "-", "", "true", "1x"}) {
    JsonReader reader(json);
    int64_t value = 0;
    EXPECT_FALSE(reader.ReadInteger(&value)) << json;
  }
}

TEST(JsonReaderTest, EveryTruncationIsAnErrorAndNoCrash) {
  const std::string json = R"({"a": {"b": [1, "x\u00e9", {"c": null}]}, "d": "e"})";
  for (size_t n = 0; n < json.size(); ++n) {
    JsonReader skipping(std::string_view(json).substr(0, n));
    skipping.SkipValue();
    EXPECT_FALSE(skipping.ok()) << n;
    JsonReader walking(std::string_view(json).substr(0, n));
    std::string_view key;
    walking.BeginObject();
    while (walking.NextKey(&key)) walking.SkipValue();
    EXPECT_FALSE(walking.ok()) << n;
  }
}

}  // namespace
}  // namespace liquid
