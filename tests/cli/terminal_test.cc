#include "cli/terminal.h"

#include "gtest/gtest.h"

namespace liquid {
namespace {

TEST(ShellQuoted, LeavesPlainWordsAndQuotesTheRest) {
  EXPECT_EQ(ShellQuoted("training.epochs=3"), "training.epochs=3");
  EXPECT_EQ(ShellQuoted("a b"), "'a b'");
  EXPECT_EQ(ShellQuoted("it's"), "'it'\\''s'");
  EXPECT_EQ(ShellQuoted("$HOME"), "'$HOME'");
  EXPECT_EQ(ShellQuoted(""), "''");
}

TEST(ToJsonLine, NeverFailsOverBrokenUtf8) {
  EXPECT_EQ(ToJsonLine({{"a", "x\xff"}, {"b", 1}}), "{\"a\":\"x\xEF\xBF\xBD\",\"b\":1}");
}

}  // namespace
}  // namespace liquid
