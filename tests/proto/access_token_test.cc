#include "proto/access_token.h"

#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "base/file.h"
#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

class AccessTokenTest : public ::testing::Test {
 protected:
  ~AccessTokenTest() override { unlink(path_.c_str()); }

  absl::StatusOr<std::string> Read(const std::string& content, mode_t mode = 0600) {
    EXPECT_THAT(WriteFileAtomically(path_, content), IsOk());
    chmod(path_.c_str(), mode);
    return ReadAccessToken(path_);
  }

  const std::string path_ = absl::StrCat(::testing::TempDir(), "/liquid_token_", getpid());
};

TEST_F(AccessTokenTest, IsTheContentWithoutWhiteSpaceAround) {
  EXPECT_EQ(Read("  s3cret-Token\n").value(), "s3cret-Token");
  EXPECT_EQ(Read("a", 0400).value(), "a");
  EXPECT_EQ(ReadAccessToken("").value(), "");
}

TEST_F(AccessTokenTest, RefusesAFileThatOthersCanRead) {
  for (const mode_t mode : {0640, 0604, 0620, 0644, 0601}) {
    EXPECT_THAT(Read("token", mode), StatusIs(absl::StatusCode::kPermissionDenied,
                                              AllOf(HasSubstr(path_), HasSubstr("chmod 600"))));
  }
}

TEST_F(AccessTokenTest, RefusesWhatIsNoToken) {
  EXPECT_THAT(Read(" \n\t"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is empty")));
  EXPECT_THAT(Read(std::string(4096, 'x')), IsOk());
  EXPECT_THAT(Read(std::string(4097, 'x')),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at most 4096")));
  EXPECT_THAT(Read("two words"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("ASCII")));
  EXPECT_THAT(Read("\xc3\xbc"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("ASCII")));
  EXPECT_THAT(ReadAccessToken("/nowhere/token"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/nowhere/token")));
  EXPECT_THAT(ReadAccessToken("/tmp"), ::testing::Not(IsOk()));
}

TEST(Bearer, OnlyTheWholeTokenIsRight) {
  EXPECT_EQ(BearerOf("abc"), "Bearer abc");
  EXPECT_TRUE(IsBearerOf("Bearer abc", "abc"));
  for (const std::string_view wrong : {"", "abc", "Bearer ", "Bearer ab", "Bearer abcd",
                                       "bearer abc", "Bearer abc ", "Bearer ABC"}) {
    EXPECT_FALSE(IsBearerOf(wrong, "abc")) << wrong;
  }
}

}  // namespace
}  // namespace liquid
