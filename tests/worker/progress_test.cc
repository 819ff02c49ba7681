#include "worker/progress.h"

#include <cstdlib>

#include "gmock/gmock.h"

namespace liquid {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

StepReport MakeReport(int64_t step) {
  StepReport report;
  report.set_step(step);
  report.set_loss(2.34567);
  report.set_learning_rate(1e-3);
  report.set_gradient_norm(0.5);
  report.set_tokens_per_second(1234);
  report.set_step_seconds(2);
  report.set_data_seconds(0.02);
  report.set_comm_seconds(0.2);
  report.set_mfu(0.61);
  report.set_peak_flops(4.2e11);
  report.set_stream_end(step * 4);
  return report;
}

// What a ProgressView of `style` writes while `use` uses it.
template <typename Use>
std::string Written(ProgressStyle style, const Use& use) {
  char* text = nullptr;
  size_t size = 0;
  std::FILE* stream = open_memstream(&text, &size);
  {
    ProgressView progress(style, stream, /*num_steps=*/10, /*epoch_length=*/20, /*epochs=*/2);
    use(progress);
  }
  std::fclose(stream);
  std::string written(text, size);
  std::free(text);
  return written;
}

TEST(ProgressTest, ALineSaysAllThatIsAskedOfIt) {
  const std::string line = ProgressLine(MakeReport(3), 10, 0.6, 2, absl::Seconds(75));
  for (const char* part :
       {"step 3/10", "epoch 0.60/2", "loss 2.3457", "lr 1.00e-03", "grad 0.500", "1234 tok/s",
        "MFU 61.0% of 420 GFLOP/s", "data 1.0%", "comm 10.0%", "ETA 1m15s"}) {
    EXPECT_THAT(line, HasSubstr(part));
  }
}

TEST(ProgressTest, AnUnknownPeakIsNotAFigure) {
  StepReport report = MakeReport(1);
  report.set_peak_flops(0);
  EXPECT_THAT(ProgressLine(report, 10, 0, 1, absl::ZeroDuration()), HasSubstr("MFU n/a"));
}

TEST(ProgressTest, PlainLinesAreThinnedButForTheFirstAndTheLast) {
  const std::string text = Written(ProgressStyle::kPlain, [](ProgressView& progress) {
    for (int step = 1; step <= 10; ++step) {
      progress.OnStep(MakeReport(step), absl::UnixEpoch() + absl::Milliseconds(100 * step));
    }
  });
  EXPECT_THAT(text, HasSubstr("step 1/10"));
  EXPECT_THAT(text, Not(HasSubstr("step 2/10")));
  EXPECT_THAT(text, HasSubstr("step 6/10"));
  EXPECT_THAT(text, HasSubstr("step 10/10"));
}

TEST(ProgressTest, TheLiveLineIsRewrittenAndOtherLinesStandAboveIt) {
  const std::string text = Written(ProgressStyle::kLive, [](ProgressView& progress) {
    progress.OnStep(MakeReport(1), absl::UnixEpoch());
    progress.Say("checkpoint written");
    progress.OnStep(MakeReport(2), absl::UnixEpoch());
    progress.Finish();
  });
  EXPECT_THAT(text, HasSubstr("\rstep 1/10"));
  EXPECT_THAT(text, HasSubstr("\rcheckpoint written\x1b[K\nstep 1/10"));
  EXPECT_THAT(text, HasSubstr("\rstep 2/10"));
  EXPECT_TRUE(text.ends_with("\n"));
}

TEST(ProgressTest, NoneIsSilent) {
  EXPECT_EQ(Written(ProgressStyle::kNone,
                    [](ProgressView& progress) {
                      progress.OnStep(MakeReport(10), absl::UnixEpoch());
                      progress.Say("x");
                      progress.Finish();
                    }),
            "");
}

}  // namespace
}  // namespace liquid
