// What each message of a conversation counts in the loss.
#ifndef LIQUID_DATA_MESSAGE_LOSS_H_
#define LIQUID_DATA_MESSAGE_LOSS_H_

#include <cstddef>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace liquid {

enum class LossOn {
  kAssistant,  // what the assistant says, in all its messages
  kLast,       // what it says in its last message
  kAll,        // everything but BOS and padding
};
// "assistant", "last", "all"; InvalidArgument for anything else.
absl::StatusOr<LossOn> ParseLossOn(std::string_view name);
std::string_view LossOnName(LossOn loss_on);

// What a job asks for (data.loss_on, data.train_on_stop_token).
struct LossChoice {
  LossOn loss_on = LossOn::kAssistant;
  bool stop_token = true;  // whether the token that ends a turn is trained
};

// Keys of a message that speak of the loss. They are not shown to chat templates.
//   "train": true or false     whether it is trained, whoever says it
//   "weight": a number >= 0    its tokens count so many times in the loss; 0: it is not trained.
//                              An assistant's message with a weight above 0 is trained
// null counts as absent.
bool IsLossKey(std::string_view key);
// InvalidArgument with the reason for values of these keys that are none of the above, or that
// contradict each other. `message` is an object.
absl::Status CheckLossKeys(const nlohmann::ordered_json& message);

struct MessageLoss {
  float weight = 0;       // 0: not trained
  bool is_asked = false;  // the message itself says so
};

bool IsAssistant(const nlohmann::ordered_json& message);

// For every one of `messages`. What a message says of itself wins over `loss_on`. The first
// `num_prompt_messages` count as said by others, unless all is trained. InvalidArgument for what is
// no list of objects, for bad values of the keys above, and for a weight above 0 of a message that
// is not trained.
absl::StatusOr<std::vector<MessageLoss>> MessageLosses(const nlohmann::ordered_json& messages,
                                                       LossOn loss_on, size_t num_prompt_messages);

}  // namespace liquid

#endif  // LIQUID_DATA_MESSAGE_LOSS_H_
