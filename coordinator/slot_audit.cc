#include "coordinator/slot_audit.h"

#include <map>

namespace liquid {
namespace {

// Steele, Lea and Flood 2014, "Fast Splittable Pseudorandom Number Generators": the finalizer.
uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

WrongAnswer::Vote MakeVote(int64_t gang, const std::string& digest) {
  WrongAnswer::Vote vote;
  vote.set_gang(gang);
  vote.set_digest(digest);
  return vote;
}

}  // namespace

uint64_t AuditHash(uint64_t seed, int64_t step, int slot) {
  return Mix(Mix(Mix(seed) ^ static_cast<uint64_t>(step)) ^ static_cast<uint64_t>(slot));
}

bool IsAudited(uint64_t seed, int64_t step, int slot, int64_t audit_every) {
  return audit_every > 0 && AuditHash(seed, step, slot) % static_cast<uint64_t>(audit_every) == 0;
}

Dispute::Dispute(int64_t gang_a, const std::string& digest_a, int64_t gang_b,
                 const std::string& digest_b)
    : disputants_{gang_a, gang_b},
      votes_{MakeVote(gang_a, digest_a), MakeVote(gang_b, digest_b)},
      asked_{gang_a, gang_b} {}

void Dispute::Vote(int64_t gang, const std::string& digest) {
  if (awaited_.erase(gang) > 0) votes_.push_back(MakeVote(gang, digest));
}

std::vector<int64_t> Dispute::AskNext(const std::vector<int64_t>& others) {
  if (!awaited_.empty() || is_exhausted_) return {};
  for (const int64_t gang : others) {
    if (!asked_.insert(gang).second) continue;
    awaited_.insert(gang);
    return {gang};
  }
  is_exhausted_ = true;
  awaited_.insert(disputants_.begin(), disputants_.end());
  return disputants_;
}

std::optional<Dispute::Verdict> Dispute::Decide() const {
  std::map<std::string, size_t> counts;
  std::map<int64_t, std::set<std::string>> said;
  for (const WrongAnswer::Vote& vote : votes_) {
    ++counts[vote.digest()];
    said[vote.gang()].insert(vote.digest());
  }
  std::string right;
  for (const auto& [digest, count] : counts) {
    if (votes_.size() >= 3 && 2 * count > votes_.size()) right = digest;
  }
  Verdict verdict;
  for (const auto& [gang, digests] : said) {
    const bool is_right = right.empty() || *digests.begin() == right;
    if (digests.size() > 1 || !is_right) verdict.liars.push_back(gang);
  }
  // Who has been asked is waited for: its own words may be what decides.
  if (!awaited_.empty()) return std::nullopt;
  if (!verdict.liars.empty() || is_exhausted_) return verdict;
  return std::nullopt;
}

}  // namespace liquid
