#include "data/duplicates.h"

#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::testing::ElementsAre;

std::string Write(const std::string& name, const std::string& content) {
  const std::string path = absl::StrCat(::testing::TempDir(), "duplicates_test_", name);
  std::ofstream(path) << content;
  return path;
}

std::string Chat(const std::string& question, const std::string& more = "") {
  return absl::StrCat(R"({"messages": [{"role": "user", "content": ")", question,
                      R"("}, {"role": "assistant", "content": "b"}])", more, "}\n");
}

TEST(DuplicatesTest, NamesBothSides) {
  const std::string train =
      Write("train", absl::StrCat("{\"text\": \"t\"}\n", Chat("a"), "bad\n", Chat("b"), Chat("a")));
  const std::string more = Write("more", absl::StrCat("\n", Chat("c", ", \"id\": 1")));
  const std::string eval =
      Write("eval", absl::StrCat(Chat("x"), Chat("c"), "bad\n", Chat("a", ", \"meta\": {}"),
                                 Chat("y"), Chat("a")));
  const auto found = FindDuplicates({train, more}, {eval}, 10);
  ASSERT_THAT(found, IsOk());
  EXPECT_EQ(found->num_eval, 5);
  EXPECT_EQ(found->num_duplicates, 3);
  EXPECT_THAT(found->pairs, ElementsAre(Duplicates::Pair{train + ":2", eval + ":4"},
                                        Duplicates::Pair{train + ":2", eval + ":6"},
                                        Duplicates::Pair{more + ":2", eval + ":2"}));
  const auto few = FindDuplicates({train, more}, {eval}, 1);
  ASSERT_THAT(few, IsOk());
  EXPECT_EQ(few->num_duplicates, 3);
  EXPECT_EQ(few->pairs.size(), 1u);
}

TEST(DuplicatesTest, FindsNoneWhereThereAreNone) {
  const std::string train = Write("other", Chat("a"));
  const std::string eval = Write("none", Chat("b"));
  const auto found = FindDuplicates({train}, {eval}, 10);
  ASSERT_THAT(found, IsOk());
  EXPECT_EQ(found->num_duplicates, 0);
  EXPECT_EQ(FindDuplicates({train}, {}, 10)->num_eval, 0);
  EXPECT_THAT(FindDuplicates({train + "absent"}, {eval}, 10),
              StatusIs(absl::StatusCode::kNotFound, ::testing::HasSubstr("absent")));
}

}  // namespace
}  // namespace liquid
