#include "coordinator/step_reports.h"

#include <algorithm>

#include "base/check.h"

namespace liquid {

void StepReports::Add(int64_t gang, const StepReport& report) {
  reports_[report.step()][gang] = report;
}

bool StepReports::Has(int64_t gang, int64_t step) const {
  const auto found = reports_.find(step);
  return found != reports_.end() && found->second.contains(gang);
}

int StepReports::Count(int64_t step) const {
  const auto found = reports_.find(step);
  return found == reports_.end() ? 0 : static_cast<int>(found->second.size());
}

void StepReports::Forget(int64_t gang) {
  for (auto& [step, reports] : reports_) reports.erase(gang);
  std::erase_if(reports_, [](const auto& item) { return item.second.empty(); });
}

void StepReports::ForgetUpTo(int64_t step) {
  reports_.erase(reports_.begin(), reports_.upper_bound(step));
}

void StepReports::ForgetFrom(int64_t step) {
  reports_.erase(reports_.lower_bound(step), reports_.end());
}

StepReports::Agreement StepReports::Agree(int64_t step, const std::string& expected) const {
  const auto& reports = reports_.at(step);
  std::map<std::string, int> counts;
  for (const auto& [gang, report] : reports) ++counts[report.fingerprint()];
  Agreement agreement;
  int most = 0;
  for (const auto& [fingerprint, count] : counts) {
    if (count < most) continue;
    agreement.fingerprint = count > most ? fingerprint : "";
    most = count;
  }
  if (agreement.fingerprint.empty() && counts.contains(expected)) agreement.fingerprint = expected;
  for (const auto& [gang, report] : reports) {
    if (report.fingerprint() == agreement.fingerprint) continue;
    agreement.minority.push_back(gang);
    const int side = agreement.tied_gangs[0] == 0 ? 0 : 1;
    if (side == 1 && report.fingerprint() == agreement.tied[0]) continue;
    agreement.tied[side] = report.fingerprint();
    agreement.tied_gangs[side] = gang;
  }
  return agreement;
}

StepReport StepReports::Combine(int64_t step, const std::string& fingerprint) const {
  const auto& reports = reports_.at(step);
  StepReport sum;
  double peak_flops = 0;
  for (const auto& [gang, report] : reports) {
    if (report.fingerprint() != fingerprint) continue;
    peak_flops += report.peak_flops();
    if (sum.step() == 0) {
      sum = report;
      continue;
    }
    sum.set_step_seconds(std::max(sum.step_seconds(), report.step_seconds()));
    sum.set_data_seconds(std::max(sum.data_seconds(), report.data_seconds()));
    sum.set_comm_seconds(std::max(sum.comm_seconds(), report.comm_seconds()));
    sum.set_compute_seconds(std::max(sum.compute_seconds(), report.compute_seconds()));
    sum.set_wait_seconds(std::max(sum.wait_seconds(), report.wait_seconds()));
    sum.set_resident_bytes(std::max(sum.resident_bytes(), report.resident_bytes()));
  }
  LIQUID_CHECK(sum.step() == step, "nobody reported step ", step);
  if (sum.step_seconds() > 0) {
    sum.set_tokens_per_second(static_cast<double>(sum.tokens()) / sum.step_seconds());
  }
  if (peak_flops > 0) sum.set_mfu(sum.mfu() * sum.peak_flops() / peak_flops);
  sum.set_peak_flops(peak_flops);
  sum.clear_slots();
  return sum;
}

}  // namespace liquid
