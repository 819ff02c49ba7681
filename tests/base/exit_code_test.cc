#include "base/exit_code.h"

#include "base/status.h"
#include "gtest/gtest.h"

namespace liquid {
namespace {

TEST(ExitCodeTest, FollowsTheStatusCode) {
  EXPECT_EQ(ExitCodeOf(absl::OkStatus()), ExitCode::kOk);
  EXPECT_EQ(ExitCodeOf(absl::InvalidArgumentError("")), ExitCode::kBadConfig);
  EXPECT_EQ(ExitCodeOf(absl::ResourceExhaustedError("")), ExitCode::kDiskFull);
  EXPECT_EQ(ExitCodeOf(absl::UnavailableError("")), ExitCode::kPeerLost);
  EXPECT_EQ(ExitCodeOf(absl::CancelledError("")), ExitCode::kPreempted);
  EXPECT_EQ(ExitCodeOf(absl::InternalError("")), ExitCode::kFailure);
}

TEST(ExitCodeTest, TheMarkWinsAndOutlivesAnnotations) {
  const absl::Status marked = WithExitCode(absl::NotFoundError("x"), ExitCode::kData);
  EXPECT_EQ(ExitCodeOf(marked), ExitCode::kData);
  EXPECT_EQ(ExitCodeOf(Annotate(marked, "reading")), ExitCode::kData);
  EXPECT_EQ(ExitCodeOf(WithExitCode(marked, ExitCode::kPreempted)), ExitCode::kPreempted);
  EXPECT_EQ(WithExitCode(absl::OkStatus(), ExitCode::kData), absl::OkStatus());
}

TEST(ExitCodeTest, TellsOursFromOthers) {
  for (const int code : {0, 1, 2, 9, 10, 75}) EXPECT_TRUE(IsExitCode(code)) << code;
  for (const int code : {-1, 11, 74, 76, 127, 137}) EXPECT_FALSE(IsExitCode(code)) << code;
}

}  // namespace
}  // namespace liquid
