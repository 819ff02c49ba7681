#include "data/duplicates.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "data/conversation.h"
#include "data/jsonl_reader.h"

namespace liquid {
namespace {

struct Entry {
  Hash128 content;
  int64_t line = 0;
  int32_t source = 0;
  bool is_found = false;
};

bool IsBefore(const Hash128& a, const Hash128& b) {
  return std::tie(a.high, a.low) < std::tie(b.high, b.low);
}

// Calls `take` for every example of the files.
absl::Status ForEachExample(const std::vector<std::string>& files,
                            const std::function<void(const JsonlReader::Line&, Hash128)>& take) {
  if (files.empty()) return absl::OkStatus();
  JsonlReader reader(files);
  while (true) {
    LIQUID_ASSIGN_OR_RETURN(const std::optional<JsonlReader::Line> line, reader.Next());
    if (!line.has_value()) return absl::OkStatus();
    if (line->too_long) continue;
    const absl::StatusOr<Example> example = ParseExample(line->text);
    if (example.ok()) take(*line, ContentHash(*example));
  }
}

std::string PlaceOf(const std::vector<std::string>& files, int32_t source, int64_t line) {
  return absl::StrCat(files[static_cast<size_t>(source)], ":", line);
}

}  // namespace

absl::StatusOr<Duplicates> FindDuplicates(const std::vector<std::string>& train,
                                          const std::vector<std::string>& eval, size_t max_pairs) {
  std::vector<Entry> entries;
  LIQUID_RETURN_IF_ERROR(
      ForEachExample(eval, [&](const JsonlReader::Line& line, const Hash128& content) {
        entries.push_back({content, line.number, line.source, false});
      }));
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return IsBefore(a.content, b.content); });
  Duplicates result;
  result.num_eval = static_cast<int64_t>(entries.size());
  LIQUID_RETURN_IF_ERROR(
      ForEachExample(train, [&](const JsonlReader::Line& line, const Hash128& content) {
        auto entry = std::lower_bound(
            entries.begin(), entries.end(), content,
            [](const Entry& a, const Hash128& b) { return IsBefore(a.content, b); });
        for (; entry != entries.end() && entry->content == content && !entry->is_found; ++entry) {
          entry->is_found = true;
          ++result.num_duplicates;
          if (result.pairs.size() == max_pairs) continue;
          result.pairs.push_back({PlaceOf(train, line.source, line.number),
                                  PlaceOf(eval, entry->source, entry->line)});
        }
      }));
  return result;
}

}  // namespace liquid
