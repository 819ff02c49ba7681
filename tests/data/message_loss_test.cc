#include "data/message_loss.h"

#include <string>

#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Json = nlohmann::ordered_json;

std::vector<float> Weights(const std::string& messages, LossOn loss_on, size_t num_prompt = 0) {
  const auto losses = MessageLosses(Json::parse(messages), loss_on, num_prompt);
  EXPECT_THAT(losses, IsOk());
  std::vector<float> weights;
  for (const MessageLoss& loss : *losses) weights.push_back(loss.weight);
  return weights;
}

constexpr const char* kChat =
    R"([{"role": "system"}, {"role": "user"}, {"role": "assistant"}, {"role": "user"},)"
    R"( {"role": "assistant"}, {"role": "tool"}])";

TEST(MessageLossTest, FollowsTheJob) {
  EXPECT_THAT(Weights(kChat, LossOn::kAssistant), ElementsAre(0, 0, 1, 0, 1, 0));
  EXPECT_THAT(Weights(kChat, LossOn::kLast), ElementsAre(0, 0, 0, 0, 1, 0));
  EXPECT_THAT(Weights(kChat, LossOn::kAll), ElementsAre(1, 1, 1, 1, 1, 1));
  // A prompt.
  EXPECT_THAT(Weights(kChat, LossOn::kAssistant, 3), ElementsAre(0, 0, 0, 0, 1, 0));
  EXPECT_THAT(Weights(kChat, LossOn::kLast, 5), ElementsAre(0, 0, 0, 0, 0, 0));
  EXPECT_THAT(Weights(kChat, LossOn::kAll, 3), ElementsAre(1, 1, 1, 1, 1, 1));
}

TEST(MessageLossTest, AMessageHasTheLastWord) {
  constexpr const char* kOwn =
      R"([{"role": "user", "train": true}, {"role": "assistant", "train": false},)"
      R"( {"role": "assistant", "weight": 0.25}, {"role": "assistant", "weight": 0},)"
      R"( {"role": "user", "train": true, "weight": 2}, {"role": "assistant", "weight": null,)"
      R"( "train": null}])";
  EXPECT_THAT(Weights(kOwn, LossOn::kAssistant), ElementsAre(1, 0, 0.25, 0, 2, 1));
  EXPECT_THAT(Weights(kOwn, LossOn::kLast), ElementsAre(1, 0, 0.25, 0, 2, 1));
  EXPECT_THAT(Weights(kOwn, LossOn::kAll), ElementsAre(1, 0, 0.25, 0, 2, 1));
}

TEST(MessageLossTest, AWeightOfWhatIsNotTrainedIsRefused) {
  const Json messages = Json::parse(R"([{"role": "user", "weight": 1}])");
  EXPECT_THAT(MessageLosses(messages, LossOn::kAssistant, 0),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("messages[0]: it has a 'weight', but is not said by")));
  EXPECT_THAT(MessageLosses(messages, LossOn::kAll, 0), IsOk());
}

TEST(MessageLossTest, RefusesWhatIsNoMessage) {
  EXPECT_THAT(MessageLosses(Json::parse("{}"), LossOn::kLast, 0),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("must be a list")));
  EXPECT_THAT(MessageLosses(Json::parse("[{}, 1]"), LossOn::kLast, 0),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("messages[1] must be")));
}

TEST(MessageLossTest, NamesGoBothWays) {
  for (const LossOn loss_on : {LossOn::kAssistant, LossOn::kLast, LossOn::kAll}) {
    const auto again = ParseLossOn(LossOnName(loss_on));
    ASSERT_THAT(again, IsOk());
    EXPECT_EQ(*again, loss_on);
  }
  EXPECT_THAT(ParseLossOn("none"), StatusIs(absl::StatusCode::kInvalidArgument,
                                            HasSubstr("data.loss_on: 'none' is none of")));
}

}  // namespace
}  // namespace liquid
