// Documents that are longer than a row, and documents that train nothing.
#ifndef LIQUID_DATA_OVERLONG_H_
#define LIQUID_DATA_OVERLONG_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "data/packing.h"

namespace liquid {

enum class OverlongPolicy {
  kTruncate,  // keep the first sequence_length tokens. The default: an answer's begin is worth more
              // than nothing, and, unlike after a split, every token keeps its true context
  kSplit,  // pieces of sequence_length tokens; each begins with the last token of the one before,
           // so that every target is predicted once
  kDrop,   // leave the document out
  kError,  // refuse the data
};
// "truncate", "split", "drop", "error"; InvalidArgument for anything else.
absl::StatusOr<OverlongPolicy> ParseOverlongPolicy(std::string_view name);
std::string_view OverlongPolicyName(OverlongPolicy policy);

// What became of the documents so far.
struct OverlongCounts {
  int64_t num_overlong = 0;  // longer than a row
  int64_t num_truncated = 0;
  int64_t num_split = 0;
  int64_t num_dropped = 0;
  int64_t num_untrained = 0;   // documents or pieces left out: no target was left in them
  int64_t num_tokens_cut = 0;  // tokens of overlong documents that are in no row
  // Turns, which are runs of trained tokens, of documents that were not dropped or refused:
  int64_t num_whole_turns = 0;      // all of it is in rows
  int64_t num_cut_turns = 0;        // truncated in the middle
  int64_t num_lost_turns = 0;       // behind the end of what was kept
  int64_t num_cut_final_turns = 0;  // documents whose last turn is one of the latter two: what is
                                    // left of them may not end with the token that stops a turn
};

// `document` as documents of 2 to `sequence_length` tokens with at least one target each; perhaps
// none. Counts into `*counts`. InvalidArgument under kError if it is too long.
absl::StatusOr<std::vector<Document>> FitDocument(Document document, OverlongPolicy policy,
                                                  int sequence_length, OverlongCounts* counts);

}  // namespace liquid

#endif  // LIQUID_DATA_OVERLONG_H_
