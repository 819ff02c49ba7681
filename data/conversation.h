// One line of training data: a conversation, a prompt with its completion, or text.
#ifndef LIQUID_DATA_CONVERSATION_H_
#define LIQUID_DATA_CONVERSATION_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/hash.h"
#include "nlohmann/json.hpp"

namespace liquid {

struct Example {
  enum class Kind {
    kMessages,          // {"messages": [...]}, or "prompt" and "completion" as lists of messages
    kPromptCompletion,  // {"prompt": "...", "completion": "..."}
    kText,              // {"text": "..."}
  };
  Kind kind = Kind::kText;

  // kMessages. What a chat template is given: keys of a message keep their order.
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  size_t num_prompt_messages = 0;  // the first ones: the "prompt" of a pair
  nlohmann::ordered_json kwargs = nlohmann::ordered_json::object();  // "tools" and "kwargs"

  std::string prompt;      // kPromptCompletion
  std::string completion;  // kPromptCompletion
  std::string text;        // kText
};

// Reads a line of a JSONL file. InvalidArgument "reason", for people, for anything else than what
// is described here; other keys of the object ("meta", "id") are ignored.
//
//   message  := {"role": known role, "content": text | list of {"type": "text", "text": text},
//                "train": bool, "weight": number, ...}    the last two: data/message_loss.h
//   Beside "tool_calls" (a list of objects) the content may be null or left out.
//   known role := system developer user assistant tool function ipython environment observation
//
// "tools" is a list, "kwargs" an object of what the chat template is given besides. A role that is
// misspelled would go untrained silently, so unknown ones are refused.
absl::StatusOr<Example> ParseExample(std::string_view line);

// Hash of what is said, by whom: equal for equal conversations, prompts with completions, or texts,
// whatever else stands in their lines ("meta", "tools", "weight"), in whatever order of keys.
Hash128 ContentHash(const Example& example);

}  // namespace liquid

#endif  // LIQUID_DATA_CONVERSATION_H_
