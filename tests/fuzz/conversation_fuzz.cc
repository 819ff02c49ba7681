// Lines of training data, each judged by itself.
#include <cmath>

#include "absl/strings/str_split.h"
#include "base/check.h"
#include "data/conversation.h"
#include "data/message_loss.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = liquid::AsText(data, size);
  for (const absl::string_view part : absl::StrSplit(absl::string_view(text.data(), size), '\n')) {
    const std::string_view line(part.data(), part.size());
    const auto example = liquid::ParseExample(line);
    if (!example.ok()) {
      LIQUID_CHECK(!example.status().message().empty());
      continue;
    }
    LIQUID_CHECK(example->messages.is_array() && example->kwargs.is_object());
    LIQUID_CHECK(example->num_prompt_messages <= example->messages.size());
    LIQUID_CHECK(liquid::ContentHash(*example) == liquid::ContentHash(*example));
    // Where everything is trained, no message asks for what it cannot have.
    const auto losses = liquid::MessageLosses(example->messages, liquid::LossOn::kAll,
                                              example->num_prompt_messages);
    LIQUID_CHECK(losses.ok() && losses->size() == example->messages.size());
    for (const liquid::MessageLoss& loss : *losses) {
      LIQUID_CHECK(loss.weight == 0 || std::isnormal(loss.weight));
    }
  }
  return 0;
}
