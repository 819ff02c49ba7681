#include "data/json_depth.h"

#include <string>

#include "gtest/gtest.h"

namespace liquid {
namespace {

TEST(JsonDepth, CountsListsAndObjectsTogether) {
  EXPECT_FALSE(IsNestedTooDeep(std::string(kMaxJsonDepth, '[')));
  EXPECT_TRUE(IsNestedTooDeep(std::string(kMaxJsonDepth + 1, '[')));
  EXPECT_TRUE(IsNestedTooDeep(std::string(kMaxJsonDepth, '[') + "{"));
}

TEST(JsonDepth, WhatIsClosedCountsNoMore) {
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "[{}]";
  EXPECT_FALSE(IsNestedTooDeep(many));
}

TEST(JsonDepth, BracketsInTextsAreText) {
  const std::string brackets(500, '[');
  EXPECT_FALSE(IsNestedTooDeep("{\"a\": \"" + brackets + "\"}"));
  EXPECT_FALSE(IsNestedTooDeep("{\"a\": \"\\\"" + brackets + "\"}"));
  EXPECT_TRUE(IsNestedTooDeep("{\"a\\\\\": " + brackets));
}

}  // namespace
}  // namespace liquid
