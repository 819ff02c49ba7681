// Finds the turns of the assistant in a rendered chat by the origin of its bytes.
#ifndef LIQUID_DATA_TURN_RANGES_H_
#define LIQUID_DATA_TURN_RANGES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/aligned_text.h"
#include "data/jinja/text.h"

namespace liquid {

// How a template writes turns; found by rendering a small probe (data/chat_template.cc).
struct TurnMarks {
  std::string header;                   // what add_generation_prompt writes; may be empty
  std::vector<std::string> ends;        // what closes a plain answer; preferred to `candidates`
  std::vector<std::string> candidates;  // other special tokens that may close a turn
};

// What an assistant, or another one whose words are trained, has to say in one go.
struct Turn {
  ByteRange range;
  ByteRange close;       // the mark that closes it, at the end of `range`; empty without one
  int32_t message = -1;  // whose words they are
  friend bool operator==(const Turn&, const Turn&) = default;
};

// The first of `marks` in `text` to end behind `from`, as a range; empty at npos if there is none.
// Longer marks win at the same place.
ByteRange FindFirst(std::string_view text, size_t from, const std::vector<std::string>& marks);

// For each message i with is_wanted[i], its turns: from behind the header to the end
// of the closing mark. Where a turn is closed and the same message opens another one at once (as
// reasoning and answer of one message in some templates), they are one turn.
//
// A turn without a closing mark ends with the message's last byte; one whose header is not found
// begins with the message's first. Ascending and disjoint.
std::vector<Turn> TurnRanges(const jinja::Text& text, const std::vector<bool>& is_wanted,
                             const TurnMarks& marks);

}  // namespace liquid

#endif  // LIQUID_DATA_TURN_RANGES_H_
