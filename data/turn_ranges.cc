#include "data/turn_ranges.h"

#include <algorithm>
#include <cstdint>
#include <optional>

#include "absl/types/span.h"

namespace liquid {
namespace {

// A maximal stretch of the rendered text with one message as its origin, or none (-1).
struct Part {
  int32_t message = -1;
  size_t begin = 0;
  size_t end = 0;
};

std::vector<Part> PartsOf(const jinja::Text& text) {
  std::vector<Part> parts;
  size_t offset = 0;
  for (const jinja::Run& run : text.runs()) {
    if (parts.empty() || parts.back().message != run.origin.message) {
      parts.push_back({run.origin.message, offset, offset});
    }
    offset += run.length;
    parts.back().end = offset;
  }
  return parts;
}

// Where the header ends that opens the turn whose first own byte is at the end of `before`, the
// template's text in front of it. The header may stop short of the generation prompt, which some
// templates extend by an opening of the reasoning: then it must reach up to the turn's own bytes.
std::optional<size_t> HeaderEnd(std::string_view before, std::string_view header,
                                size_t min_length) {
  if (header.empty()) return std::nullopt;
  if (const size_t at = before.rfind(header); at != std::string_view::npos) {
    return at + header.size();
  }
  for (size_t length = std::min(before.size(), header.size()); length >= min_length; --length) {
    if (before.ends_with(header.substr(0, length))) return before.size();
  }
  return std::nullopt;
}

class TurnFinder {
 public:
  TurnFinder(const jinja::Text& text, const std::vector<bool>& is_wanted, const TurnMarks& marks)
      : text_(text.bytes()), parts_(PartsOf(text)), is_wanted_(is_wanted), marks_(marks) {
    for (const std::string& token : marks.candidates) {
      if (marks.header.starts_with(token) && token.size() > opener_.size()) opener_ = token;
    }
  }

  std::vector<Turn> Run() {
    for (size_t i = 0; i < parts_.size(); ++i) Visit(i);
    return std::move(turns_);
  }

 private:
  void Visit(size_t i) {
    const Part& part = parts_[i];
    if (part.message < 0 || !is_wanted_[static_cast<size_t>(part.message)]) return;
    const size_t before = i > 0 && parts_[i - 1].message < 0 ? parts_[i - 1].begin : part.begin;
    const bool goes_on = part.message == message_ && before <= next_;
    // Behind the end of a turn, only a header makes another one: templates repeat words of a
    // message elsewhere, as the name of a called tool in the tool's answer.
    const std::string_view gap = Between(goes_on && closed_ ? next_ : before, part.begin);
    const std::optional<size_t> header_end =
        HeaderEnd(gap, marks_.header, std::max<size_t>(opener_.size(), 1));
    if (part.message == message_ && closed_ && !header_end) return;
    if (!goes_on) {
      const size_t begin = header_end ? part.begin - gap.size() + *header_end : part.begin;
      const size_t earliest = turns_.empty() ? 0 : turns_.back().range.end;
      turns_.push_back({{std::max(begin, earliest), part.end}, {}, part.message});
    }
    message_ = part.message;
    Extend(i);
  }

  // Makes the last turn reach over part i and on to what closes the turn.
  void Extend(size_t i) {
    const bool followed = i + 1 < parts_.size() && parts_[i + 1].message < 0;
    size_t limit = followed ? parts_[i + 1].end : parts_[i].end;
    // Between two words of one message, special tokens other than an end are the template's own,
    // unless somebody's turn begins there.
    bool may_be_inside = i + 2 < parts_.size() && parts_[i + 2].message == message_;
    if (!opener_.empty()) {
      const size_t opens = Between(0, limit).find(opener_, parts_[i].end);
      if (opens != std::string_view::npos) {
        limit = opens;
        may_be_inside = false;
      }
    }
    const std::string_view after = Between(0, limit);
    ByteRange close = FindFirst(after, parts_[i].end, marks_.ends);
    if (close.begin == std::string_view::npos && !may_be_inside) {
      close = FindFirst(after, parts_[i].end, marks_.candidates);
    }
    closed_ = close.begin != std::string_view::npos;
    turns_.back().range.end = closed_ ? close.end : parts_[i].end;
    turns_.back().close = closed_ ? close : ByteRange{parts_[i].end, parts_[i].end};
    next_ = closed_ ? close.end : limit;
  }

  std::string_view Between(size_t begin, size_t end) const {
    return std::string_view(text_).substr(begin, end - begin);
  }

  const std::string& text_;
  const std::vector<Part> parts_;
  const std::vector<bool>& is_wanted_;
  const TurnMarks& marks_;
  std::string opener_;  // the special token that headers begin with; may be empty
  std::vector<Turn> turns_;
  int32_t message_ = -1;  // whose the last turn is
  bool closed_ = false;   // whether it has met what closes it
  size_t next_ = 0;       // how far the text is taken care of
};

}  // namespace

ByteRange FindFirst(std::string_view text, size_t from, const std::vector<std::string>& marks) {
  ByteRange first = {std::string_view::npos, std::string_view::npos};
  for (const std::string& mark : marks) {
    if (mark.empty()) continue;
    const size_t at = text.find(mark, from);
    if (at == std::string_view::npos) continue;
    if (at < first.begin || (at == first.begin && at + mark.size() > first.end)) {
      first = {at, at + mark.size()};
    }
  }
  return first;
}

std::vector<Turn> TurnRanges(const jinja::Text& text, const std::vector<bool>& is_wanted,
                             const TurnMarks& marks) {
  return TurnFinder(text, is_wanted, marks).Run();
}

}  // namespace liquid
