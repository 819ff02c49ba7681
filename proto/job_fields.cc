#include "proto/job_fields.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace liquid {
namespace {

using enum FieldKind;

constexpr std::string_view kNotYet = " (more are not supported yet)";

// "(0, 1]" as bounds; each end belongs to the range if its bracket is square.
bool InRange(std::string_view range, double value) {
  const size_t comma = range.find(", ");
  LIQUID_CHECK(comma != std::string_view::npos && range.size() > comma + 3, std::string(range));
  const std::string low_text(range.substr(1, comma - 1));
  const std::string high_text(range.substr(comma + 2, range.size() - comma - 3));
  double low = 0;
  double high = 0;
  LIQUID_CHECK(absl::SimpleAtod(low_text, &low) && absl::SimpleAtod(high_text, &high),
               std::string(range));
  const bool above = range.front() == '[' ? value >= low : value > low;
  const bool below = range.back() == ']' ? value <= high : value < high;
  return above && below;
}

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

}  // namespace

const std::vector<JobField>& JobFields() {
  // A reference that is never freed, so that threads may read it while the process ends.
  static const auto& fields = *new std::vector<JobField>{
      {"job", kText, "null"},  // the name of the job file
      {"output", kWorkPath, "null"},

      {"model.from", kJobPath, "null"},
      {"model.config", kJobPath, "null"},
      {"model.tokenizer", kJobPath, "null"},  // model.from
      {"model.init_seed", kNumber, "null"},
      {"model.tensor_parallel", kNumber, "1", "[1, 8]"},
      {"model.recompute", kChoice, "none", "", {"none", "block"}},
      {"model.sequence_parallel", kSwitch, "true"},

      {"data.train", kJobPath, "null"},
      {"data.eval", kJobPath, "null"},
      {"data.sequence_length", kNumber, "512", "[2, 1048576]"},
      {"data.packing", kSwitch, "true"},
      {"data.shuffle", kSwitch, "true"},
      {"data.chat_template", kJobPath, "null"},
      {"data.overlong", kChoice, "truncate", "", {"truncate", "split", "drop", "error"}},
      {"data.max_bad_rows", kNumber, "0", "[0, inf)"},
      {"data.loss_on", kChoice, "assistant", "", {"assistant", "last", "all"}},
      {"data.train_on_stop_token", kSwitch, "true"},
      {"data.mix.name", kText, "null"},
      {"data.mix.files", kJobPath, "null"},
      {"data.mix.epochs", kNumber, "null", "(0, 1e6]"},
      {"data.mix.weight", kNumber, "null", "(0, 1e9]"},

      {"training.epochs", kNumber, "2", "(0, 1e6]"},
      {"training.slots_per_step", kNumber, "8", "[1, 65536]"},
      {"training.rows_per_slot", kNumber, "1", "[1, 65536]"},
      {"training.precision", kChoice, "fp32", "", {"fp32", "bf16"}},
      {"training.device", kChoice, "auto", "", {"auto", "cpu", "cuda"}},
      {"training.shard", kChoice, "optimizer", "", {"optimizer", "gradients"}},
      {"training.gradient_sum", kChoice, "exact", "", {"exact", "fast"}},
      {"training.seed", kNumber, "42"},
      {"training.eval_every_steps", kNumber, "50", "[0, inf)"},
      {"training.eval_at_start", kSwitch, "true"},
      {"training.eval_samples", kNumber, "0", "[0, 1000]"},
      {"training.eval_sample_tokens", kNumber, "64", "[1, 65536]"},
      {"training.on_non_finite", kChoice, "stop", "", {"stop", "skip"}},
      {"training.freeze", kText, "null"},
      {"training.neftune_alpha", kNumber, "0", "[0, 1000]"},

      {"adapter.rank", kNumber, "0", "[0, 65536]"},
      {"adapter.alpha", kNumber, "16", "(0, 1e6]"},
      {"adapter.target_modules", kText, "[all-linear]"},
      {"adapter.use_rslora", kSwitch, "false"},
      {"adapter.dropout", kNumber, "0", "[0, 1)"},

      {"optimizer.name", kChoice, "adamw", "", {"adamw"}, kNotYet},
      {"optimizer.learning_rate", kNumber, "1.0e-3", "(0, 100]"},
      {"optimizer.schedule", kChoice, "cosine", "", {"constant", "linear", "cosine"}},
      {"optimizer.warmup_steps", kNumber, "0", "[0, inf)"},
      {"optimizer.final_learning_rate_ratio", kNumber, "0.1", "[0, 1]"},
      {"optimizer.betas", kNumber, "[0.9, 0.95]", "[0, 1)"},
      {"optimizer.epsilon", kNumber, "1.0e-8", "(0, 1]"},
      {"optimizer.weight_decay", kNumber, "0.1", "[0, 1]"},
      {"optimizer.clip_norm", kNumber, "1.0", "[0, inf)"},

      {"checkpoint.every_steps", kNumber, "100", "[0, inf)"},
      {"checkpoint.every_minutes", kNumber, "0", "[0, inf)"},
      {"checkpoint.keep_last", kNumber, "2", "[0, inf)"},
      {"checkpoint.keep_every_steps", kNumber, "0", "[0, inf)"},
      {"checkpoint.keep_best", kNumber, "0", "[0, inf)"},
      {"checkpoint.max_shard_bytes", kBytes, "5GB", "[1024, inf)"},
      {"checkpoint.resume", kText, "auto"},

      {"coordinator.embedded", kSwitch, "true"},
      {"coordinator.listen", kText, "127.0.0.1:0"},
      {"coordinator.heartbeat_timeout_seconds", kNumber, "5", "[0.1, 86400]"},
      {"coordinator.audit_every", kNumber, "0", "[0, 1000000000]"},
      {"coordinator.lease_window", kNumber, "2", "[1, 64]"},
  };
  return fields;
}

bool IsOfListItem(const JobField& field) { return field.path.starts_with("data.mix."); }

const JobField* FindJobField(std::string_view path) {
  for (const JobField& field : JobFields()) {
    if (field.path == path) return &field;
  }
  return nullptr;
}

absl::Status CheckRange(const JobField& field, double value, std::string_view written) {
  if (field.range.empty() || InRange(field.range, value)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("must be in ", std::string(field.range), ", got ",
                                                 std::string(written), std::string(field.remark)));
}

bool ParseBytes(std::string_view text, int64_t* num_bytes) {
  static constexpr std::pair<std::string_view, double> kUnits[] = {
      {"", 1},      {"B", 1},      {"KB", 1e3},        {"MB", 1e6},     {"GB", 1e9},
      {"TB", 1e12}, {"KIB", 1024}, {"MIB", 1048576.0}, {"GIB", 0x1p30}, {"TIB", 0x1p40}};
  const size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  double count = 0;
  if (digits == 0 || !absl::SimpleAtod(std::string(text.substr(0, digits)), &count)) return false;
  const std::string unit(absl::StripAsciiWhitespace(std::string(text.substr(digits))));
  for (const auto& [name, size] : kUnits) {
    if (absl::AsciiStrToUpper(unit) != name) continue;
    const double bytes = std::floor(count * size);
    if (bytes >= 0x1p53) return false;  // beyond it a double no longer counts bytes
    *num_bytes = static_cast<int64_t>(bytes);
    return true;
  }
  return false;
}

std::string DidYouMean(std::string_view word, absl::Span<const std::string> candidates) {
  std::string best;
  size_t best_distance = std::string_view::npos;
  for (const std::string& candidate : candidates) {
    const size_t limit = std::max<size_t>(1, std::max(word.size(), candidate.size()) / 3);
    const size_t distance = EditDistance(word, candidate);
    if (distance <= limit && distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace liquid
