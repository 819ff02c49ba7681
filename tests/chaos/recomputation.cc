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

// Whether what `numbers` finished of `step` in `generation` counts for good.
bool Lasts(absl::Span<const LedgerEntry> ledger, const std::set<int64_t>& numbers, int64_t step,
           int64_t generation) {
  int64_t committed = 0;
  int64_t current = 0;
  for (const LedgerEntry& entry : ledger) {
    if (entry.has_generation()) current = entry.generation().generation();
    const bool is_since = current >= generation;
    if (entry.has_commit()) {
      committed = entry.commit().report().step();
    } else if (entry.has_voided()) {
      const Voided& voided = entry.voided();
      committed = voided.from_step() - 1;
      if (is_since && voided.from_step() <= step && step <= voided.to_step()) return false;
    } else if (entry.has_generation() && is_since && committed < step) {
      if (!Contains(entry.generation(), numbers)) return false;
    }
  }
  return true;
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
      int64_t generation = 0;  // that this rank has entered
      for (const PhaseMark& mark : marks) {
        if (mark.phase == "generation") generation = mark.step;
        if (mark.phase != "between" || mark.slot < 0) continue;
        ++result.finished;
        seen.emplace(mark.step, mark.slot);
        if (!Lasts(ledger, numbers, mark.step, generation)) {
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
