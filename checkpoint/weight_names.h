// Names under which files of one family hold the same weight.
#ifndef LIQUID_CHECKPOINT_WEIGHT_NAMES_H_
#define LIQUID_CHECKPOINT_WEIGHT_NAMES_H_

#include <string>
#include <string_view>
#include <vector>

namespace liquid {

// Other spellings of `name`, as other files of the family have it: GPT-2 with or without
// `transformer.`, a multimodal model's text model as it was released and as it is saved now.
std::vector<std::string> OtherSpellings(std::string_view name);

}  // namespace liquid

#endif  // LIQUID_CHECKPOINT_WEIGHT_NAMES_H_
