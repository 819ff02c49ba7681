#include "cli/status_text.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "cli/gangs_text.h"
#include "proto/eval_report.h"

namespace liquid {
namespace {

using Json = nlohmann::ordered_json;

// `value`, or null if there is nothing behind it.
template <typename T>
Json Known(bool is_known, const T& value) {
  return is_known ? Json(value) : Json(nullptr);
}

std::string StepAndEpoch(const JobStatus& status) {
  std::string text = absl::StrCat("step ", status.step());
  if (status.num_steps() > 0) absl::StrAppend(&text, "/", status.num_steps());
  absl::StrAppendFormat(&text, "  epoch %.2f", status.epoch());
  if (status.epochs() > 0) absl::StrAppendFormat(&text, "/%g", status.epochs());
  return text;
}

std::string Eta(const JobStatus& status) {
  return absl::FormatDuration(absl::Trunc(absl::Seconds(status.eta_seconds()), absl::Seconds(1)));
}

}  // namespace

std::string StateName(JobState state) { return absl::AsciiStrToLower(JobState_Name(state)); }

nlohmann::ordered_json StatusToJson(const JobStatus& status) {
  const StepReport& last = status.last_step();
  const bool stepped = status.has_last_step() && last.step() > 0;
  const bool evaluated = status.has_last_eval() && status.last_eval().target_tokens() > 0;
  const bool saved = !status.last_checkpoint().empty();
  return {{"state", StateName(status.state())},
          {"job", status.job()},
          {"output", status.output()},
          {"step", status.step()},
          {"num_steps", status.num_steps()},
          {"epoch", status.epoch()},
          {"epochs", status.epochs()},
          {"generation", status.generation()},
          {"loss", Known(stepped, last.loss())},
          {"learning_rate", Known(stepped, last.learning_rate())},
          {"gradient_norm", Known(stepped, last.gradient_norm())},
          {"tokens_per_second", Known(stepped, last.tokens_per_second())},
          {"mfu", Known(stepped && last.peak_flops() > 0, last.mfu())},
          {"peak_flops", Known(stepped && last.peak_flops() > 0, last.peak_flops())},
          {"fingerprint", Known(stepped, last.fingerprint())},
          {"eval_loss", Known(evaluated, status.last_eval().loss())},
          {"eval_perplexity", Known(evaluated, Perplexity(status.last_eval()))},
          {"eval_accuracy", Known(evaluated, Accuracy(status.last_eval()))},
          {"eval_step", Known(evaluated, status.last_eval().step())},
          {"last_checkpoint", Known(saved, status.last_checkpoint())},
          {"last_checkpoint_step", Known(saved, status.last_checkpoint_step())},
          {"gangs", GangsToJson(status)},
          {"error", Known(!status.error().empty(), status.error())},
          {"coordinator", Known(!status.coordinator().empty(), status.coordinator())},
          {"eta_seconds", Known(status.eta_seconds() > 0, status.eta_seconds())}};
}

std::string StatusLine(const JobStatus& status) {
  const StepReport& last = status.last_step();
  std::string line = absl::StrCat(StateName(status.state()), "  ", StepAndEpoch(status));
  if (last.step() > 0) {
    absl::StrAppendFormat(&line, "  loss %.4f  lr %.2e  grad %.3f  %.0f tok/s", last.loss(),
                          last.learning_rate(), last.gradient_norm(), last.tokens_per_second());
  }
  if (status.eta_seconds() > 0) absl::StrAppend(&line, "  ETA ", Eta(status));
  if (!status.error().empty()) absl::StrAppend(&line, "  ", status.error());
  return line;
}

std::string StatusText(const JobStatus& status) {
  const StepReport& last = status.last_step();
  std::string text = absl::StrCat(status.job().empty() ? status.output() : status.job(), ": ",
                                  StateName(status.state()), "\n  ", StepAndEpoch(status), "\n");
  if (last.step() > 0) {
    absl::StrAppendFormat(&text, "  loss %.4f  lr %.2e  grad %.3f  %.0f tok/s\n", last.loss(),
                          last.learning_rate(), last.gradient_norm(), last.tokens_per_second());
    absl::StrAppend(&text, "  fingerprint ", last.fingerprint(), "\n");
  }
  if (status.last_eval().target_tokens() > 0) {
    absl::StrAppend(&text, "  eval ", EvalText(status.last_eval()), " at step ",
                    status.last_eval().step(), "\n");
  }
  if (!status.last_checkpoint().empty()) {
    absl::StrAppend(&text, "  newest checkpoint ", status.last_checkpoint(), "\n");
  }
  for (const GangStatus& gang : status.gangs()) {
    absl::StrAppendFormat(&text, "  gang %d: %d ranks at %s, %s, step %d, %.2f slots/s\n",
                          gang.gang(), gang.num_ranks(), gang.name(), PhaseName(gang.phase()),
                          gang.applied_step(), gang.slots_per_second());
  }
  if (status.eta_seconds() > 0) absl::StrAppend(&text, "  done in ", Eta(status), "\n");
  if (!status.coordinator().empty()) {
    absl::StrAppend(&text, "  coordinator ", status.coordinator(), "\n");
  }
  if (!status.error().empty()) absl::StrAppend(&text, "  error: ", status.error(), "\n");
  text.pop_back();
  return text;
}

}  // namespace liquid
