#include "parallel/tcp/hello.h"

#include <functional>

#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::testing::HasSubstr;

TEST(CheckHelloTest, WhatDiffersIsRefusedWithBothValues) {
  Hello own;
  SetJob("job digest", &own);
  own.generation = 3;
  own.token = 77;
  own.from_gang = 1;
  own.from_rank = 2;
  Hello said = own;
  said.from_gang = 0;
  said.from_rank = 5;
  said.to_gang = 1;
  said.to_rank = 2;
  EXPECT_THAT(CheckHello(said, own), IsOk());
  const struct {
    std::function<void(Hello*)> change;
    absl::StatusCode code;
    const char* text;
  } cases[] = {
      {[](Hello* h) { ++h->magic; }, absl::StatusCode::kInvalidArgument, "it begins with"},
      {[](Hello* h) { ++h->version; }, absl::StatusCode::kInvalidArgument,
       "version 3 of the protocol, this process 2"},
      {[](Hello* h) { SetJob("another", h); }, absl::StatusCode::kInvalidArgument,
       "it is of job another, this process of job digest"},
      // The token alone does not tell generations apart.
      {[](Hello* h) { h->generation = 2; }, absl::StatusCode::kFailedPrecondition,
       "gang 0 rank 5 is of generation 2, this process of 3"},
      {[](Hello* h) { h->generation = 4; }, absl::StatusCode::kOutOfRange,
       "gang 0 rank 5 is of generation 4, this process of 3"},
      {[](Hello* h) { h->token = 78; }, absl::StatusCode::kPermissionDenied, "another token"},
      {[](Hello* h) { h->to_gang = 7; }, absl::StatusCode::kInvalidArgument,
       "looks for gang 7 rank 2, this is 1 rank 2"},
      {[](Hello* h) { h->to_rank = 7; }, absl::StatusCode::kInvalidArgument,
       "looks for gang 1 rank 7, this is 1 rank 2"},
  };
  for (const auto& c : cases) {
    Hello changed = said;
    c.change(&changed);
    EXPECT_THAT(CheckHello(changed, own), StatusIs(c.code, HasSubstr(c.text)));
  }
}

}  // namespace
}  // namespace liquid
