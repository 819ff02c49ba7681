// Accidents, and what gangs exchange with each other: part of simulation.h.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "coordinator/slot_audit.h"
#include "tests/coordinator/gang_script.h"
#include "tests/coordinator/simulation.h"

namespace liquid::testing {
namespace {

constexpr size_t kMaxGangs = 5;
constexpr int kSlots = 6;

absl::Duration Ms(int64_t ms) { return absl::Milliseconds(ms); }

}  // namespace

// --- Accidents.

void Simulation::Spawn() {
  if (Live().size() >= kMaxGangs) return;
  const bool is_liar = has_liars_ && Roll(3) == 0;
  counts_.liars += is_liar ? 1 : 0;
  gangs_.push_back(std::make_unique<SimulatedGang>(static_cast<int>(gangs_.size()), this,
                                                   Ms(10 + Roll(3) * 40), is_liar));
  Connect(gangs_.back().get());
}

void Simulation::Accident() {
  const std::vector<SimulatedGang*> live = Live();
  const int kind = Roll(400);
  if (live.empty()) {
    if (kind < 100) Spawn();
    return;
  }
  SimulatedGang* gang = live[static_cast<size_t>(Roll(static_cast<int>(live.size())))];
  if (kind < 10) {
    ++counts_.kills;
    trace_.push_back(absl::StrCat("kill gang ", gang->number));
    BreakStream(gang);
    Abort(gang);
    Exit(gang);
  } else if (kind < 16 && !gang->is_frozen) {
    ++counts_.freezes;
    trace_.push_back(absl::StrCat("freeze gang ", gang->number));
    gang->is_frozen = true;
    At(Ms(Roll(12000)), [this, id = gang->id] {
      if (SimulatedGang* frozen = FindLive(id); frozen != nullptr) Thaw(frozen);
    });
  } else if (kind < 26) {
    Spawn();
  } else if (kind < 32) {
    ++counts_.broken_streams;
    trace_.push_back(absl::StrCat("break the stream of gang ", gang->number));
    BreakStream(gang);
  } else if (kind < 35) {
    if (machine_ != nullptr) CrashCoordinator();
  } else if (kind < 38) {
    Ask(static_cast<Verb>(Roll(4)));
  } else if (kind < 40) {
    Ask(Verb::kResume);
  } else if (kind < 44 && gang->number != 0) {
    ++counts_.drains;
    trace_.push_back(absl::StrCat("drain gang ", gang->number));
    Tell([&](JobMachine* machine, Actions* actions) {
      machine->OnDrain(gang->number, "ann", now_, actions).IgnoreError();
    });
  } else if (kind < 48) {
    gang->AskToLeave();
  } else if (kind < 53 && !gang->is_frozen) {
    Stick(gang, Ms(Roll(12000)));
  }
}

void Simulation::Stick(SimulatedGang* gang, absl::Duration how_long) {
  ++counts_.stuck;
  trace_.push_back(absl::StrCat("gang ", gang->number, " is stuck"));
  gang->is_frozen = gang->is_stuck = true;
  At(how_long, [this, id = gang->id] {
    if (SimulatedGang* stuck = FindLive(id); stuck != nullptr) Thaw(stuck);
  });
}

// --- What gangs tell each other.

void Simulation::Enter(SimulatedGang* gang, const World& world) {
  Exchange& exchange = exchanges_[world.generation()];
  if (exchange.entered.empty() && exchange.world.generation() == 0) exchange.world = world;
  if (exchange.world.SerializeAsString() != world.SerializeAsString()) {
    Violation("two members of a generation were told different worlds");
  }
  exchange.entered[gang->number] = gang->id;
  if (exchange.is_broken) {
    After(Ms(Roll(50)), gang,
          [gang, generation = world.generation()] { gang->OnPeerLost(generation); });
  }
}

void Simulation::Abort(SimulatedGang* gang) {
  if (!gang->world.has_value()) return;
  const int64_t generation = gang->world->generation();
  Exchange& exchange = exchanges_[generation];
  exchange.entered.erase(gang->number);
  exchange.is_broken = true;
  for (const auto& [number, id] : exchange.entered) {
    SimulatedGang* other = FindLive(id);
    if (other == nullptr) continue;
    After(Ms(5 + Roll(60)), other, [other, generation] { other->OnPeerLost(generation); });
  }
}

bool Simulation::CanReceiveState(SimulatedGang* gang) {
  const Exchange& exchange = exchanges_[gang->world->generation()];
  return std::any_of(exchange.world.members().begin(), exchange.world.members().end(),
                     [&](const World::Member& member) {
                       const auto entered = exchange.entered.find(member.gang());
                       if (!member.has_state() || entered == exchange.entered.end()) return false;
                       const SimulatedGang* donor = FindLive(entered->second);
                       return donor != nullptr && !donor->is_frozen;
                     });
}

void Simulation::Speak(SimulatedGang* gang, const SlotsWord& word) {
  Exchange& exchange = exchanges_[gang->world->generation()];
  exchange.words[gang->number] = word;
  TryToReduce(&exchange);
}

// Each gang reduces once everybody has spoken and each slot is done exactly once.
void Simulation::TryToReduce(Exchange* exchange) {
  SlotSet all;
  int num_done = 0;
  int64_t step = 0;
  for (const World::Member& member : exchange->world.members()) {
    const auto word = exchange->words.find(member.gang());
    if (word == exchange->words.end() || !exchange->entered.contains(member.gang())) return;
    if (step != 0 && word->second.step != step) return;
    step = word->second.step;
    all.Add(word->second.done);
    num_done += word->second.done.size();
  }
  if (FindDisagreement(exchange, step)) return;
  if (num_done != kSlots || !(all == SlotSet(0, kSlots)) || exchange->reduced_step >= step) return;
  if (IsAuditMissing(*exchange, step)) return;
  CheckAudits(*exchange, step);
  exchange->reduced_step = step;
  const int64_t generation = exchange->world.generation();
  for (const auto& [number, id] : exchange->entered) {
    SimulatedGang* member = FindLive(id);
    if (member == nullptr) continue;
    After(Ms(1 + Roll(20)), member, [this, member, generation, step] {
      // If somebody is lost meanwhile, some have all that they need, and some do not.
      const bool is_lost = exchanges_[generation].is_broken && Roll(2) == 0;
      if (!is_lost) member->OnReduced(generation, step);
    });
  }
}

// A slot whose owner gives its digest waits for another gang's.
bool Simulation::IsAuditMissing(const Exchange& exchange, int64_t step) const {
  std::map<int, int> num_digests;
  std::vector<int> audited;
  for (const auto& [number, word] : exchange.words) {
    if (word.step != step) continue;
    for (const auto& [slot, digest] : word.digests) {
      ++num_digests[slot];
      if (word.done.Contains(slot)) audited.push_back(slot);
    }
  }
  return std::any_of(audited.begin(), audited.end(),
                     [&](int slot) { return num_digests[slot] < 2; });
}

// Every slot that is to be audited is so, after steals and regroups too.
void Simulation::CheckAudits(const Exchange& exchange, int64_t step) {
  if (exchange.world.members_size() < 2) return;
  for (int slot = 0; slot < kSlots; ++slot) {
    const bool is_due =
        IsAudited(job_.training().seed(), step, slot, job_.coordinator().audit_every()) &&
        !undecided_.contains({step, slot});
    if (!is_due) continue;
    ++counts_.audits;
    const auto num_digests =
        std::count_if(exchange.words.begin(), exchange.words.end(),
                      [slot](const auto& word) { return word.second.digests.contains(slot); });
    if (num_digests < 2)
      Violation(absl::StrCat("slot ", slot, " of step ", step, " is not audited"));
  }
}

bool Simulation::FindDisagreement(Exchange* exchange, int64_t step) {
  std::map<int, std::pair<int64_t, std::string>> said;
  for (const auto& [number, word] : exchange->words) {
    if (word.step != step) continue;
    for (const auto& [slot, digest] : word.digests) {
      const auto [first, is_new] = said.emplace(slot, std::pair(number, digest));
      if (is_new || first->second.second == digest) continue;
      if (!exchange->told.emplace(step, slot).second) return true;
      for (const auto& [other, id] : exchange->entered) {
        SimulatedGang* gang = FindLive(id);
        if (gang == nullptr) continue;
        After(Ms(1 + Roll(20)), gang,
              [gang, generation = exchange->world.generation(), slot = slot, one = first->second,
               number = number, digest = digest] {
                gang->OnDisagreement(generation, slot, one.first, one.second, number, digest);
              });
      }
      return true;
    }
  }
  return false;
}

}  // namespace liquid::testing
