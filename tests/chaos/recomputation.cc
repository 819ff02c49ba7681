#include "tests/chaos/recomputation.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace liquid::testing {
namespace {

// The numbers that the coordinator gave a gang, by its leader's process.
std::map<pid_t, std::set<int64_t>> NumbersByLeader(absl::Span<const LedgerEntry> ledger) {
  std::map<pid_t, std::set<int64_t>> numbers;
  const auto add = [&numbers](int64_t gang, const std::string& name) {
    pid_t pid = 0;  // of host:pid
    if (absl::SimpleAtoi(name.substr(name.rfind(':') + 1), &pid)) numbers[pid].insert(gang);
  };
  for (const LedgerEntry& entry : ledger) {
    if (entry.has_gang_admitted()) add(entry.gang_admitted().gang(), entry.gang_admitted().name());
    for (const GangStatus& gang : entry.generation().gangs()) add(gang.gang(), gang.name());
  }
  return numbers;
}

bool Contains(const GenerationChange& generation, const std::set<int64_t>& numbers) {
  return std::any_of(generation.gangs().begin(), generation.gangs().end(),
                     [&numbers](const GangStatus& gang) { return numbers.contains(gang.gang()); });
}

// Whether what `numbers` finished of `step` at `unix_micros` counts for good.
bool Lasts(absl::Span<const LedgerEntry> ledger, const std::set<int64_t>& numbers, int64_t step,
           int64_t unix_micros) {
  bool is_member = false;
  int64_t committed = 0;
  for (const LedgerEntry& entry : ledger) {
    const bool is_later = entry.unix_micros() > unix_micros;
    if (is_later && !is_member) return false;
    if (entry.has_commit()) {
      committed = entry.commit().report().step();
    } else if (entry.has_voided()) {
      committed = entry.voided().from_step() - 1;
      if (is_later && entry.voided().from_step() <= step && step <= entry.voided().to_step()) {
        return false;
      }
    } else if (entry.has_generation()) {
      const bool stays = Contains(entry.generation(), numbers);
      if (is_later && !stays && committed < step) return false;
      if (!is_later || committed < step) is_member = stays;
    }
  }
  return is_member;
}

}  // namespace

Recomputation JudgeRecomputation(absl::Span<const LedgerEntry> ledger,
                                 absl::Span<const std::map<pid_t, std::vector<PhaseMark>>> gangs) {
  Recomputation result;
  const std::map<pid_t, std::set<int64_t>> leaders = NumbersByLeader(ledger);
  std::map<std::pair<int64_t, int>, std::vector<std::string>> lasting;  // by step and slot
  std::set<std::pair<int64_t, int>> seen;
  for (const auto& ranks : gangs) {
    std::set<int64_t> numbers;
    for (const auto& [pid, marks] : ranks) {
      if (const auto found = leaders.find(pid); found != leaders.end()) numbers = found->second;
    }
    for (const auto& [pid, marks] : ranks) {
      for (const PhaseMark& mark : marks) {
        if (mark.phase != "between" || mark.slot < 0) continue;
        ++result.finished;
        seen.emplace(mark.step, mark.slot);
        if (!Lasts(ledger, numbers, mark.step, mark.unix_micros)) {
          ++result.lost;
          continue;
        }
        lasting[{mark.step, mark.slot}].push_back(
            absl::StrCat(" by process ", pid, " at ", mark.unix_micros));
      }
    }
  }
  result.recomputed = result.finished - static_cast<int>(seen.size());
  for (const auto& [slot, who] : lasting) {
    if (who.size() < 2) continue;
    absl::StrAppend(&result.problem, result.problem.empty() ? "" : "; ", "slot ", slot.second,
                    " of step ", slot.first, " was computed ", who.size(),
                    " times though nobody lost it:");
    for (const std::string& one : who) absl::StrAppend(&result.problem, one);
  }
  return result;
}

}  // namespace liquid::testing
