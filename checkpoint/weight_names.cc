#include "checkpoint/weight_names.h"

namespace liquid {
namespace {

struct Spelling {
  std::string_view ours;
  std::string_view theirs;
};
constexpr Spelling kSpellings[] = {
    {"transformer.", ""},                                // GPT-2 from the hub
    {"model.language_model.", "language_model.model."},  // Gemma 3 as it was released
};

}  // namespace

std::vector<std::string> OtherSpellings(std::string_view name) {
  std::vector<std::string> others;
  for (const auto& [ours, theirs] : kSpellings) {
    if (name.starts_with(ours)) {
      others.push_back(std::string(theirs) + std::string(name.substr(ours.size())));
    } else if (name.starts_with(theirs)) {
      others.push_back(std::string(ours) + std::string(name.substr(theirs.size())));
    }
  }
  return others;
}

}  // namespace liquid
