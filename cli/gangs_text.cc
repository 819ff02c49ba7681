#include "cli/gangs_text.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace liquid {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kNumColumns = 9;
constexpr size_t kNumLeftColumns = 3;  // texts, from the second on; numbers are to the right
using Row = std::array<std::string, kNumColumns>;

bool IsLeft(size_t column) { return column >= 1 && column <= kNumLeftColumns; }

Row RowOf(const GangStatus& gang, double share) {
  const bool is_fast = gang.slots_per_second() > 0;
  return {absl::StrCat(gang.gang()),
          gang.name().empty() ? "-" : gang.name(),
          gang.host().empty() ? "-" : gang.host(),
          PhaseName(gang.phase()),
          absl::StrCat(gang.num_ranks()),
          gang.applied_step() < 0 ? "-" : absl::StrCat(gang.applied_step()),
          is_fast ? absl::StrFormat("%.2f", gang.slots_per_second()) : "-",
          share > 0 ? absl::StrFormat("%.0f%%", 100 * share) : "-",
          absl::StrCat(gang.slots_done())};
}

}  // namespace

std::string PhaseName(GangStatus::Phase phase) {
  return absl::AsciiStrToLower(GangStatus::Phase_Name(phase));
}

std::vector<double> SharesOf(const JobStatus& status) {
  std::vector<double> shares;
  double sum = 0;
  for (const GangStatus& gang : status.gangs()) {
    const bool works = gang.phase() == GangStatus::WORKING;
    shares.push_back(works ? std::max(0.0, gang.slots_per_second()) : 0);
    sum += shares.back();
  }
  if (sum > 0) {
    for (double& share : shares) share /= sum;
  }
  return shares;
}

nlohmann::ordered_json GangsToJson(const JobStatus& status) {
  const std::vector<double> shares = SharesOf(status);
  Json gangs = Json::array();
  for (int i = 0; i < status.gangs_size(); ++i) {
    const GangStatus& gang = status.gangs(i);
    gangs.push_back({{"gang", gang.gang()},
                     {"name", gang.name()},
                     {"host", gang.host()},
                     {"phase", PhaseName(gang.phase())},
                     {"num_ranks", gang.num_ranks()},
                     {"applied_step", gang.applied_step()},
                     {"slots_per_second", gang.slots_per_second()},
                     {"share", shares[static_cast<size_t>(i)]},
                     {"slots_done", gang.slots_done()}});
  }
  return gangs;
}

std::string GangsText(const JobStatus& status) {
  if (status.gangs().empty()) return "no gang is there";
  std::vector<Row> rows = {
      {"gang", "name", "host", "phase", "ranks", "step", "slots/s", "share", "slots done"}};
  const std::vector<double> shares = SharesOf(status);
  for (int i = 0; i < status.gangs_size(); ++i) {
    rows.push_back(RowOf(status.gangs(i), shares[static_cast<size_t>(i)]));
  }
  std::array<int, kNumColumns> widths{};
  for (const Row& row : rows) {
    for (size_t i = 0; i < kNumColumns; ++i) {
      widths[i] = std::max(widths[i], static_cast<int>(row[i].size()));
    }
  }
  std::string text;
  for (const Row& row : rows) {
    if (!text.empty()) text.push_back('\n');
    for (size_t i = 0; i < kNumColumns; ++i) {
      absl::StrAppendFormat(&text, "%s%*s", i == 0 ? "" : "  ", IsLeft(i) ? -widths[i] : widths[i],
                            row[i]);
    }
  }
  return text;
}

}  // namespace liquid
