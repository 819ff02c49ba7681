#include "cli/status_text.h"

#include "gmock/gmock.h"

namespace liquid {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(StatusText, HasANameForEveryState) {
  EXPECT_EQ(StateName(PENDING), "pending");
  EXPECT_EQ(StateName(RUNNING), "running");
  EXPECT_EQ(StateName(PAUSED), "paused");
  EXPECT_EQ(StateName(WAITING), "waiting");
  EXPECT_EQ(StateName(DONE), "done");
  EXPECT_EQ(StateName(FAILED), "failed");
}

TEST(StatusText, WhatIsNotKnownIsNull) {
  const nlohmann::ordered_json json = StatusToJson(JobStatus());
  EXPECT_EQ(json["state"], "pending");
  EXPECT_EQ(json["step"], 0);
  for (const char* key : {"loss", "fingerprint", "mfu", "eval_loss", "last_checkpoint", "error"}) {
    EXPECT_TRUE(json[key].is_null()) << key;
  }
  EXPECT_THAT(StatusLine(JobStatus()), Not(HasSubstr("loss")));
}

TEST(StatusText, TellsAllThatIsKnown) {
  JobStatus status;
  status.set_state(RUNNING);
  status.set_job("demo");
  status.set_step(7);
  status.set_num_steps(20);
  status.set_epoch(0.7);
  status.set_epochs(2);
  status.mutable_last_step()->set_step(7);
  status.mutable_last_step()->set_loss(1.5);
  status.mutable_last_step()->set_fingerprint("00aa");
  status.set_last_checkpoint("step-00000005");
  status.set_last_checkpoint_step(5);
  status.add_gangs()->set_num_ranks(3);
  const nlohmann::ordered_json json = StatusToJson(status);
  EXPECT_EQ(json["state"], "running");
  EXPECT_EQ(json["loss"], 1.5);
  EXPECT_EQ(json["fingerprint"], "00aa");
  EXPECT_EQ(json["last_checkpoint"], "step-00000005");
  EXPECT_EQ(json["gangs"][0]["num_ranks"], 3);
  EXPECT_TRUE(json["mfu"].is_null());
  EXPECT_TRUE(json["eval_accuracy"].is_null());
  status.mutable_last_eval()->set_loss(2);
  status.mutable_last_eval()->set_target_tokens(8);
  status.mutable_last_eval()->set_correct_tokens(6);
  const nlohmann::ordered_json evaluated = StatusToJson(status);
  EXPECT_EQ(evaluated["eval_loss"], 2);
  EXPECT_EQ(evaluated["eval_accuracy"], 0.75);
  EXPECT_NEAR(evaluated["eval_perplexity"].get<double>(), 7.389, 0.001);
  EXPECT_THAT(StatusText(status),
              HasSubstr("eval loss 2.0000, perplexity 7.389, accuracy 75.0% at step 0"));
  EXPECT_THAT(StatusLine(status), HasSubstr("running  step 7/20  epoch 0.70/2  loss 1.5000"));
  EXPECT_THAT(StatusText(status), HasSubstr("step-00000005"));
}

}  // namespace
}  // namespace liquid
