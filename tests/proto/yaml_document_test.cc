#include "proto/yaml_document.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(YamlDocumentTest, KnowsWhereEveryPartStands) {
  const auto tree = ParseYaml("a: 1\nb: {c: [x, \"2\"]}\n", "f.yaml");
  ASSERT_THAT(tree, IsOk());
  EXPECT_EQ(tree->Find("a")->where, "f.yaml:1:4");
  EXPECT_EQ(tree->Find("a")->key_where, "f.yaml:1:1");
  const YamlNode& list = *tree->Find("b")->Find("c");
  EXPECT_EQ(list.key_where, "f.yaml:2:5");
  EXPECT_EQ(list.children[1].where, "f.yaml:2:12");
  EXPECT_FALSE(list.children[0].quoted);
  EXPECT_TRUE(list.children[1].quoted);
  EXPECT_EQ(tree->Find("absent"), nullptr);
}

TEST(YamlDocumentTest, EmptyValuesAndFilesAreNull) {
  EXPECT_EQ(ParseYaml("", "f")->kind, YamlNode::Kind::kNull);
  EXPECT_EQ(ParseYaml("a:\nb: ~\n", "f")->Find("a")->kind, YamlNode::Kind::kNull);
  EXPECT_EQ(ParseYaml("a:\nb: ~\n", "f")->Find("b")->kind, YamlNode::Kind::kNull);
}

TEST(YamlDocumentTest, RefusesWithThePlace) {
  const auto invalid = absl::StatusCode::kInvalidArgument;
  EXPECT_THAT(ParseYaml("a: [1, 2\nb: 3\n", "f"), StatusIs(invalid, StartsWith("f:2:")));
  EXPECT_THAT(ParseYaml("a: 1\nb: 2\na: 3\n", "f"),
              StatusIs(invalid, StartsWith("f:3:1: key 'a' is there twice, first at f:1:1")));
  EXPECT_THAT(ParseYaml("[a]: 1\n", "f"), StatusIs(invalid, HasSubstr("a key must be a name")));
  EXPECT_THAT(ParseYaml("a: 1\n---\nb: 2\n", "f"),
              StatusIs(invalid, StartsWith("f:2:1: only one")));
  EXPECT_THAT(ParseYaml("a: *nobody\n", "f"), StatusIs(invalid, StartsWith("f:1:")));
}

TEST(YamlDocumentTest, RefusesWhatWouldGrowWithoutBound) {
  const auto invalid = absl::StatusCode::kInvalidArgument;
  EXPECT_THAT(ParseYaml(std::string(50, '[') + std::string(50, ']'), "f"),
              StatusIs(invalid, HasSubstr("too deeply")));
  EXPECT_THAT(ParseYaml(std::string(100000, '['), "f"), StatusIs(invalid, StartsWith("f:1:")));
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    absl::StrAppend(&bomb, "a", i, ": &a", i, " [");
    for (int k = 0; k < 10; ++k) absl::StrAppend(&bomb, k > 0 ? ", *a" : "*a", i - 1);
    bomb += "]\n";
  }
  EXPECT_THAT(ParseYaml(bomb, "f"), StatusIs(invalid, HasSubstr("too large")));
}

// A library's loader makes empty documents of it without end.
TEST(YamlDocumentTest, ALoneCommaIsRefusedAtOnce) {
  EXPECT_FALSE(ParseYaml(",", "a.yaml").ok());
}

}  // namespace
}  // namespace liquid
