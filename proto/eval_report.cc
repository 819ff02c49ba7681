#include "proto/eval_report.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "absl/strings/str_format.h"

namespace liquid {

double Perplexity(const EvalReport& report) { return std::exp(report.loss()); }

double Accuracy(const EvalReport& report) {
  return static_cast<double>(report.correct_tokens()) /
         static_cast<double>(std::max<int64_t>(1, report.target_tokens()));
}

std::string EvalText(const EvalReport& report) {
  return absl::StrFormat("loss %.4f, perplexity %.4g, accuracy %.1f%%", report.loss(),
                         Perplexity(report), 100 * Accuracy(report));
}

}  // namespace liquid
