#include "data/turn_ranges.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace liquid {
namespace {

using jinja::Origin;
using jinja::Text;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr Origin From(int32_t message) { return {.message = message}; }

TurnMarks ChatMl() {
  return {.header = "<|im_start|>assistant\n",
          .ends = {"<|im_end|>"},
          .candidates = {"<|im_start|>", "<|im_end|>", "<|tool|>"}};
}

std::vector<std::string> Trained(const Text& text, const std::vector<bool>& is_trained,
                                 const TurnMarks& marks) {
  std::vector<std::string> texts;
  for (const Turn& turn : TurnRanges(text, is_trained, marks)) {
    texts.push_back(text.bytes().substr(turn.range.begin, turn.range.end - turn.range.begin));
  }
  return texts;
}

TEST(TurnRangesTest, GoesFromBehindTheHeaderToTheEndOfTurn) {
  Text text("<|im_start|>user\n");
  text.Append("hi", From(0));
  text.Append("<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n");
  text.Append("yes", From(1));
  text.Append("<|im_end|>\n");
  EXPECT_THAT(Trained(text, {false, true}, ChatMl()),
              ElementsAre("<think>\n\n</think>\nyes<|im_end|>"));
}

TEST(TurnRangesTest, TrainsTheEndOfAnEmptyAnswer) {
  Text text("<|im_start|>assistant\n");
  text.Append("", From(0));
  text.Append("<|im_end|>\n<|im_start|>user\n");
  text.Append("x", From(1));
  text.Append("<|im_end|>\n");
  EXPECT_THAT(Trained(text, {true, false}, ChatMl()), ElementsAre("<|im_end|>"));
}

TEST(TurnRangesTest, AMessageMayQuoteTheEndOfTurn) {
  Text text("<|im_start|>assistant\n");
  text.Append("say <|im_end|> twice", From(0));
  text.Append("<|im_end|>\n");
  EXPECT_THAT(Trained(text, {true}, ChatMl()), ElementsAre("say <|im_end|> twice<|im_end|>"));
}

TEST(TurnRangesTest, KeepsWhatTheTemplateWritesBetweenPartsOfOneMessage) {
  Text text("<|im_start|>assistant\n");
  text.Append("calling", From(0));
  text.Append("<|tool|>[");
  text.Append("ls", From(0));
  text.Append("()]<|tool|><|im_end|>\n");
  EXPECT_THAT(Trained(text, {true}, ChatMl()),
              ElementsAre("calling<|tool|>[ls()]<|tool|><|im_end|>"));
}

TEST(TurnRangesTest, AWordOfTheAnswerInAnotherTurnIsNotTrained) {
  Text text("<|im_start|>assistant\n");
  text.Append("ls", From(0));
  text.Append("<|tool|><|im_start|>functions.");
  text.Append("ls", From(0));
  text.Append("\n");
  text.Append("files", From(1));
  text.Append("<|im_end|>\n");
  EXPECT_THAT(Trained(text, {true, false}, ChatMl()), ElementsAre("ls<|tool|>"));
}

TEST(TurnRangesTest, ReasoningAndAnswerOfOneMessageAreOneTurn) {
  Text text("<|im_start|>assistant\n");
  text.Append("hm", From(0));
  text.Append("<|im_end|><|im_start|>assistant\n");
  text.Append("42", From(0));
  text.Append("<|im_end|>");
  EXPECT_THAT(Trained(text, {true}, ChatMl()),
              ElementsAre("hm<|im_end|><|im_start|>assistant\n42<|im_end|>"));
}

TEST(TurnRangesTest, LeavesOutMessagesThatAreNotTrained) {
  Text text("<|im_start|>assistant\n");
  text.Append("a", From(0));
  text.Append("<|im_end|>\n<|im_start|>assistant\n");
  text.Append("b", From(1));
  text.Append("<|im_end|>\n");
  EXPECT_THAT(Trained(text, {false, true}, ChatMl()), ElementsAre("b<|im_end|>"));
  EXPECT_THAT(Trained(text, {false, false}, ChatMl()), IsEmpty());
}

TEST(TurnRangesTest, WithoutAHeaderATurnBeginsWithItsFirstByte) {
  Text text(" [INST] ");
  text.Append("q", From(0));
  text.Append(" [/INST] ");
  text.Append("a", From(1));
  text.Append("</s>");
  EXPECT_THAT(Trained(text, {false, true}, {.header = "", .ends = {"</s>"}, .candidates = {}}),
              ElementsAre("a</s>"));
}

}  // namespace
}  // namespace liquid
