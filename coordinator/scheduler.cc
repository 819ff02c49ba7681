#include "coordinator/scheduler.h"

#include <algorithm>
#include <cmath>
#include <queue>
#include <tuple>
#include <utility>

#include "base/check.h"

namespace liquid {
namespace {

constexpr double kWorthChanging = 1.05;
constexpr double kWorthStealing = 0.95;  // of the time that the victim would take alone

std::vector<double> RatesOf(const std::vector<GangSpeed>& gangs) {
  double sum = 0;
  int num_known = 0;
  for (const GangSpeed& gang : gangs) {
    if (gang.slots_per_second <= 0) continue;
    sum += gang.slots_per_second;
    ++num_known;
  }
  const double mean = num_known > 0 ? sum / num_known : 1;
  std::vector<double> rates;
  for (const GangSpeed& gang : gangs) {
    rates.push_back(gang.slots_per_second > 0 ? gang.slots_per_second : mean);
  }
  return rates;
}

double SecondsOf(const std::vector<int>& counts, const std::vector<double>& rates) {
  double seconds = 0;
  for (size_t i = 0; i < counts.size(); ++i) seconds = std::max(seconds, counts[i] / rates[i]);
  return seconds;
}

// The counts of the step before, if they still are a split for this one.
std::vector<int> SplitBefore(int num_slots, const std::vector<GangSpeed>& gangs) {
  std::vector<int> counts;
  int sum = 0;
  for (const GangSpeed& gang : gangs) {
    if (gang.num_before < gang.num_kept + (gang.needs_one ? 1 : 0)) return {};
    counts.push_back(gang.num_before);
    sum += gang.num_before;
  }
  return sum == num_slots ? counts : std::vector<int>();
}

}  // namespace

std::vector<int> SplitSlots(int num_slots, const std::vector<GangSpeed>& gangs) {
  const std::vector<double> rates = RatesOf(gangs);
  double total = 0;
  for (const double rate : rates) total += rate;
  std::vector<int> counts;
  int left = num_slots;
  for (const GangSpeed& gang : gangs) {
    counts.push_back(gang.num_kept);
    left -= gang.num_kept;
  }
  LIQUID_CHECK(left >= 0 && (left == 0 || !gangs.empty()), left, " slots left");
  for (size_t i = 0; i < gangs.size() && left > 0; ++i) {
    const int quota = static_cast<int>(num_slots * (rates[i] / total));
    const int more = std::max(quota, gangs[i].needs_one ? 1 : 0) - counts[i];
    const int taken = std::clamp(more, 0, left);
    counts[i] += taken;
    left -= taken;
  }
  using Finish = std::pair<double, size_t>;  // with one slot more; place in `gangs`
  std::priority_queue<Finish, std::vector<Finish>, std::greater<Finish>> next;
  for (size_t i = 0; i < gangs.size() && left > 0; ++i) {
    next.emplace((counts[i] + 1) / rates[i], i);
  }
  for (; left > 0; --left) {
    const size_t i = next.top().second;
    next.pop();
    ++counts[i];
    next.emplace((counts[i] + 1) / rates[i], i);
  }
  const std::vector<int> before = SplitBefore(num_slots, gangs);
  const bool keep =
      !before.empty() && SecondsOf(before, rates) <= kWorthChanging * SecondsOf(counts, rates);
  return keep ? before : counts;
}

std::vector<SlotSet> CutSlots(const SlotSet& open, const std::vector<int>& counts) {
  std::vector<SlotSet> sets(counts.size());
  auto range = open.ranges().begin();
  int begin = range == open.ranges().end() ? 0 : range->first;
  for (size_t i = 0; i < counts.size(); ++i) {
    int left = counts[i];
    while (left > 0) {
      LIQUID_CHECK(range != open.ranges().end(), "more slots dealt than there are");
      const int end = std::min(range->second, begin + left);
      sets[i].Add(begin, end);
      left -= end - begin;
      begin = end;
      if (begin == range->second && ++range != open.ranges().end()) begin = range->first;
    }
  }
  return sets;
}

int SlotsToSteal(const Standing& victim, double thief_slots_per_second) {
  if (victim.num_left <= 0) return 0;
  const double expected_left = victim.num_left - victim.seconds_ago * victim.slots_per_second;
  const bool is_late = expected_left <= -1;
  const double rate = is_late ? victim.num_left / 2.0 / std::max(victim.seconds_ago, 1e-9)
                              : victim.slots_per_second;
  const double left = is_late ? std::max(victim.num_left / 2.0, 1.0) : expected_left;
  const int unbegun = static_cast<int>(std::floor(left));
  if (unbegun < 1) return 0;
  const double share = thief_slots_per_second / (thief_slots_per_second + rate);
  const int count = std::clamp(static_cast<int>(unbegun * share), 1, unbegun);
  const bool is_sooner = count / thief_slots_per_second < kWorthStealing * (left / rate);
  return is_sooner ? count : 0;
}

}  // namespace liquid
