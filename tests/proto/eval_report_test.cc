#include "proto/eval_report.h"

#include <cmath>

#include "gtest/gtest.h"

namespace liquid {
namespace {

TEST(EvalReportTest, TellsLossPerplexityAndAccuracy) {
  EvalReport report;
  report.set_loss(2);
  report.set_target_tokens(8);
  report.set_correct_tokens(3);
  EXPECT_DOUBLE_EQ(Perplexity(report), std::exp(2.0));
  EXPECT_DOUBLE_EQ(Accuracy(report), 0.375);
  EXPECT_EQ(EvalText(report), "loss 2.0000, perplexity 7.389, accuracy 37.5%");
}

TEST(EvalReportTest, NothingIsCorrectOfNothing) { EXPECT_EQ(Accuracy(EvalReport()), 0); }

}  // namespace
}  // namespace liquid
