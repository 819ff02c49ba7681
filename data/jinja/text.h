// A string that remembers where each of its bytes comes from.
//
// The loss mask of a chat is read off the rendered text: which bytes are what an assistant
// message said, and which did the template add. So strings carry their origins through every
// operation of the template language, as runs of equal origin.
#ifndef LIQUID_DATA_JINJA_TEXT_H_
#define LIQUID_DATA_JINJA_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/types/span.h"

namespace liquid::jinja {

struct Origin {
  int32_t message = -1;    // index of the message that the bytes come from; -1: from none
  int32_t generation = 0;  // number of the {% generation %} block they passed through; 0: none

  bool operator==(const Origin&) const = default;
};

struct Run {
  size_t length = 0;  // bytes; 0 marks the place of an empty string from a message
  Origin origin;
};

class Text {
 public:
  Text() = default;
  explicit Text(std::string bytes, Origin origin = {});

  const std::string& bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }

  // Consecutive, covering bytes() exactly. An empty string that comes from a message leaves a run
  // of length 0, so that an empty answer still has a place in the rendered chat.
  absl::Span<const Run> runs() const { return runs_; }

  void Append(std::string_view bytes, Origin origin = {});
  void Append(const Text& text);

  // Bytes [begin, end), with their origins.
  Text Slice(size_t begin, size_t end) const;

  // The origin of the byte at `offset`; of the last run if there is no such byte.
  Origin OriginAt(size_t offset) const;
  // The first origin that is a message, else the template's: for results such as a case change of
  // one character, where no byte is the input's own.
  Origin MainOrigin() const;

  // Says that all of it passed through generation block `number`.
  void MarkGeneration(int32_t number);

 private:
  void AddRun(size_t length, Origin origin);

  std::string bytes_;
  absl::InlinedVector<Run, 1> runs_;
};

}  // namespace liquid::jinja

#endif  // LIQUID_DATA_JINJA_TEXT_H_
