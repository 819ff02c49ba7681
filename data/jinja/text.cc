#include "data/jinja/text.h"

#include <algorithm>

namespace liquid::jinja {

Text::Text(std::string bytes, Origin origin) : bytes_(std::move(bytes)) {
  AddRun(bytes_.size(), origin);
}

void Text::Append(std::string_view bytes, Origin origin) {
  bytes_.append(bytes);
  AddRun(bytes.size(), origin);
}

void Text::Append(const Text& text) {
  bytes_.append(text.bytes_);
  for (const Run& run : text.runs_) AddRun(run.length, run.origin);
}

void Text::AddRun(size_t length, Origin origin) {
  if (length == 0 && origin.message < 0) return;
  if (!runs_.empty() && runs_.back().origin == origin) {
    runs_.back().length += length;
    return;
  }
  runs_.push_back({length, origin});
}

Text Text::Slice(size_t begin, size_t end) const {
  Text out;
  if (begin >= end) {
    out.AddRun(0, OriginAt(begin));
    return out;
  }
  out.bytes_ = bytes_.substr(begin, end - begin);
  size_t offset = 0;
  for (const Run& run : runs_) {
    const size_t run_end = offset + run.length;
    if (run.length == 0) {
      // The mark of an empty string belongs to the slice that holds the byte after it.
      if (offset >= begin && (offset < end || end == size())) out.AddRun(0, run.origin);
    } else if (offset < end && run_end > begin) {
      out.AddRun(std::min(end, run_end) - std::max(begin, offset), run.origin);
    }
    offset = run_end;
  }
  return out;
}

Origin Text::OriginAt(size_t offset) const {
  for (const Run& run : runs_) {
    if (offset < run.length) return run.origin;
    offset -= run.length;
  }
  return runs_.empty() ? Origin() : runs_.back().origin;
}

Origin Text::MainOrigin() const {
  for (const Run& run : runs_) {
    if (run.origin.message >= 0) return run.origin;
  }
  return runs_.empty() ? Origin() : runs_.front().origin;
}

void Text::MarkGeneration(int32_t number) {
  absl::InlinedVector<Run, 1> before;
  before.swap(runs_);
  for (Run run : before) {
    run.origin.generation = number;
    AddRun(run.length, run.origin);
  }
}

}  // namespace liquid::jinja
