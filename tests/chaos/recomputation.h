// Whether survivors kept their work: what was computed more than once, against what was lost.
#ifndef LIQUID_TESTS_CHAOS_RECOMPUTATION_H_
#define LIQUID_TESTS_CHAOS_RECOMPUTATION_H_

#include <map>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "proto/ledger.pb.h"
#include "tests/chaos/phase_marks.h"

namespace liquid::testing {

// A slot that a gang has finished is lost with right if one of the generations from that in which
// it was finished to the commit of its step is without the gang (dead, gone, or gone around: a
// hedge), or if the step is voided later. Every other finished slot lasts, so no slot may last
// twice.
struct Recomputation {
  int finished = 0;     // slots, by all gangs
  int lost = 0;         // of them, with right: what victims held
  int recomputed = 0;   // finished, less one for each slot of each step: at most `lost`
  std::string problem;  // names the slots that lasted more than once; empty: none
};

// `gangs`: of each gang that was started, the marks of its ranks by process.
Recomputation JudgeRecomputation(absl::Span<const LedgerEntry> ledger,
                                 absl::Span<const std::map<pid_t, std::vector<PhaseMark>>> gangs);

}  // namespace liquid::testing

#endif  // LIQUID_TESTS_CHAOS_RECOMPUTATION_H_
