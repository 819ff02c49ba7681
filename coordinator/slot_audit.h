// Wrong answers: which slots two gangs compute, and who is wrong when they disagree. Pure.
#ifndef LIQUID_COORDINATOR_SLOT_AUDIT_H_
#define LIQUID_COORDINATOR_SLOT_AUDIT_H_

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "proto/ledger.pb.h"

namespace liquid {

// A well mixed function of its arguments, the same everywhere.
uint64_t AuditHash(uint64_t seed, int64_t step, int slot);

// Is the slot one of about one in `audit_every` that two gangs compute? audit_every 0: none are.
bool IsAudited(uint64_t seed, int64_t step, int slot, int64_t audit_every);

// One slot of which two gangs computed different gradients, and what others say of it.
class Dispute {
 public:
  // The two digests that differ.
  Dispute(int64_t gang_a, const std::string& digest_a, int64_t gang_b, const std::string& digest_b);

  // `gang` computed the slot when asked to.
  void Vote(int64_t gang, const std::string& digest);

  // Who is to compute the slot now: one of `others` (ascending) that has not yet, else both
  // disputants, once. Empty: nobody, for now or any more.
  std::vector<int64_t> AskNext(const std::vector<int64_t>& others);

  struct Verdict {
    std::vector<int64_t> liars;  // ascending; empty: it cannot be told
  };
  // Known once a digest has more than a half of three or more votes, or a gang contradicts itself,
  // or everybody was asked in vain. A gang that is in the minority or contradicts itself lies.
  std::optional<Verdict> Decide() const;

  const std::vector<WrongAnswer::Vote>& votes() const { return votes_; }
  int64_t first() const { return disputants_[0]; }
  int64_t second() const { return disputants_[1]; }

 private:
  std::vector<int64_t> disputants_;
  std::vector<WrongAnswer::Vote> votes_;
  std::set<int64_t> awaited_;
  std::set<int64_t> asked_;
  bool is_exhausted_ = false;
};

}  // namespace liquid

#endif  // LIQUID_COORDINATOR_SLOT_AUDIT_H_
