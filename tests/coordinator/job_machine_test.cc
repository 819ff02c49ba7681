// One gang, and people. What several gangs do to each other: job_regroup_test.cc.
#include "coordinator/job_machine.h"

#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "tests/coordinator/scene.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::CheckpointMessage;
using ::liquid::testing::EvalMessage;
using ::liquid::testing::FingerprintOf;
using ::liquid::testing::IsOk;
using ::liquid::testing::JoinAt;
using ::liquid::testing::LeaveMessage;
using ::liquid::testing::Scene;
using ::liquid::testing::StatusIs;
using ::liquid::testing::StepMessage;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;

TEST(JobMachineTest, PlansStayTwoStepsAhead) {
  Scene scene;
  EXPECT_EQ(scene.machine.state(), PENDING);
  const int64_t gang = scene.AddGang(0);
  EXPECT_EQ(scene.machine.state(), RUNNING);
  EXPECT_THAT(scene.PlannedSteps(gang), ElementsAre(1, 2));
  scene.Work();
  EXPECT_THAT(scene.PlannedSteps(gang), ElementsAre(2, 3));
  EXPECT_EQ(scene.machine.status().step(), 1);
  EXPECT_EQ(Scene::Slots(scene.NextPlan(gang).slots()), "0-1");
  EXPECT_THAT(scene.gangs.at(gang).committed, ElementsAre(1));
}

TEST(JobMachineTest, EntriesComeBeforeTheOrdersThatRestOnThem) {
  Scene scene;
  const int64_t gang = scene.AddGang(0);
  scene.Say(gang, StepMessage(scene.job, scene.NextPlan(gang)));
  int64_t leased = 0;
  int64_t committed = 0;
  for (const Action& action : scene.actions) {
    if (action.entry.has_lease()) leased = action.entry.lease().step();
    if (action.entry.has_commit()) committed = action.entry.commit().report().step();
    EXPECT_LE(action.order->plan().step(), leased);
    EXPECT_LE(action.order->committed().step(), committed);
  }
  EXPECT_EQ(leased, 3);
  EXPECT_EQ(committed, 1);
}

TEST(JobMachineTest, EvaluatesBeforeTheFirstStepOnceAndIfToldSo) {
  const auto evaluates_at_start = [](Scene& scene, int64_t gang) {
    return scene.gangs.at(gang).world->evaluate();
  };
  Scene scene({"data.eval=[/e.jsonl]"});
  const int64_t first = scene.AddGang(0);
  EXPECT_TRUE(evaluates_at_start(scene, first));
  scene.Disconnect(first);  // before it has told what came out
  const int64_t second = scene.AddGang(0);
  EXPECT_TRUE(evaluates_at_start(scene, second));
  for (int i = 0; i < 2; ++i) {  // said again, it is not written down again
    scene.Say(second, EvalMessage(scene.machine.record().generation(), 0));
  }
  EXPECT_EQ(scene.machine.record().last_eval_step(), 0);
  int num_evals = 0;
  for (const LedgerEntry& entry : scene.Entries()) num_evals += entry.has_eval() ? 1 : 0;
  EXPECT_EQ(num_evals, 1);
  scene.Disconnect(second);
  EXPECT_FALSE(evaluates_at_start(scene, scene.AddGang(0)));

  Scene without({"data.eval=[/e.jsonl]", "training.eval_at_start=false"});
  EXPECT_FALSE(evaluates_at_start(without, without.AddGang(0)));
  Scene no_data;
  EXPECT_FALSE(evaluates_at_start(no_data, no_data.AddGang(0)));
}

TEST(JobMachineTest, EvaluatesAndSavesWhenThePolicySays) {
  Scene scene({"data.eval=[/e.jsonl]", "checkpoint.keep_every_steps=5"});
  const int64_t gang = scene.AddGang(0);
  std::string seen;
  for (int step = 1; step <= 7; ++step) {
    const Plan plan = scene.NextPlan(gang);
    absl::StrAppend(&seen, plan.evaluate_after() ? "E" : "-", plan.checkpoint_after() ? "C" : "-",
                    plan.last() ? "L " : "  ");
    scene.Work();
  }
  EXPECT_EQ(seen, "--  --  E-  -C  -C  E-  ECL ");
  EXPECT_THAT(scene.PlannedSteps(gang), IsEmpty());
}

TEST(JobMachineTest, SavesWhatItEvaluatesIfTheBestAreKept) {
  Scene scene({"data.eval=[/e.jsonl]", "checkpoint.every_steps=0", "checkpoint.keep_best=1"});
  const int64_t gang = scene.AddGang(0);
  std::string seen;
  for (int step = 1; step <= 7; ++step) {
    const Plan plan = scene.NextPlan(gang);
    absl::StrAppend(&seen, plan.evaluate_after() ? "E" : "-",
                    plan.checkpoint_after() ? "C " : "- ");
    scene.Work();
  }
  EXPECT_EQ(seen, "-- -- EC -- -- EC EC ");
}

TEST(JobMachineTest, SavesEveryFewMinutes) {
  Scene scene({"checkpoint.every_steps=0", "checkpoint.every_minutes=10"});
  const int64_t gang = scene.AddGang(0);
  scene.Work();
  EXPECT_FALSE(scene.gangs.at(gang).plans.at(3).checkpoint_after());
  scene.now += absl::Minutes(10);
  scene.Work();
  EXPECT_TRUE(scene.gangs.at(gang).plans.at(4).checkpoint_after());
  scene.Work();
  EXPECT_FALSE(scene.gangs.at(gang).plans.at(5).checkpoint_after());
}

TEST(JobMachineTest, IsDoneWhenTheLastCheckpointIsWritten) {
  Scene scene;
  const int64_t gang = scene.AddGang(0);
  for (int step = 1; step <= 6; ++step) scene.Work();
  EXPECT_EQ(scene.machine.state(), RUNNING);
  scene.Work();
  EXPECT_EQ(scene.machine.state(), DONE);
  EXPECT_EQ(scene.gangs.at(gang).stop->reason(), "the job is done");
  EXPECT_FALSE(scene.machine.has_ended());
  scene.Say(gang, LeaveMessage(Leave::JOB_DONE, "", 7));
  EXPECT_TRUE(scene.machine.has_ended());
  EXPECT_EQ(scene.machine.status().epoch(), 2.5);
}

TEST(JobMachineTest, IsNotDoneWithoutTheLastCheckpoint) {
  Scene scene;
  const int64_t gang = scene.AddGang(0);
  for (int step = 1; step <= 6; ++step) scene.Work();
  scene.Say(gang, StepMessage(scene.job, scene.NextPlan(gang)));
  scene.Disconnect(gang);
  EXPECT_EQ(scene.machine.state(), WAITING);
  EXPECT_FALSE(scene.machine.has_ended());
  // The checkpoint was written all the same, its report was lost: the next gang shows it.
  const int64_t next = scene.AddGang(7);
  EXPECT_EQ(scene.machine.state(), DONE);
  EXPECT_EQ(scene.actions.back().order->stop().reason(), "the job is done");
  scene.Say(next, LeaveMessage(Leave::STOPPED));
  EXPECT_TRUE(scene.machine.has_ended());
  scene.Restart();
  EXPECT_EQ(scene.machine.state(), DONE);
}

TEST(JobMachineTest, RefusesAGangThatDiffersAndNamesBothValues) {
  struct Case {
    void (*change)(Join*);
    const char* error;
  };
  const Case cases[] = {
      {[](Join* j) { j->set_dataset_digest("d2"); },
       "the dataset digest differs: the job has d1, the gang has d2"},
      {[](Join* j) { j->set_num_rows(11); },
       "the number of rows differs: the job has 10, the gang has 11"},
      {[](Join* j) {
         j->add_sources()->set_name("a");
         j->mutable_sources(0)->set_rows(10);
         j->mutable_sources(0)->set_draws(5);
       },
       "the mixture of the data differs: the job has none, the gang has 5 of 10 rows of a"},
      {[](Join* j) { j->set_code_version("0.2.0"); },
       "the code version differs: the job has 0.1.0, the gang has 0.2.0"},
      {[](Join* j) { j->set_recipe("avx512"); },
       "the recipe differs: the job has avx2, the gang has avx512"},
      {[](Join* j) { j->set_tensor_parallel(2); },
       "tensor_parallel differs: the job has 1, the gang has 2"},
      {[](Join* j) { j->set_job_digest("x"); }, "the job digest differs: the job has "},
      {[](Join* j) { j->set_applied_step(5); },
       "the gang has the weights after step 5, but the ledger has no commit of it, only up to step "
       "1"},
      {[](Join* j) { j->set_applied_step(-2); }, "the gang has the weights after step -2"},
      {[](Join* j) { j->set_probe("p2"); },
       "the probe's gradient differs: the job has p1, the gang has p2"},
      {[](Join* j) { j->set_fingerprint("odd"); },
       "the fingerprint of the weights after step 0 differs: the job has "},
      {[](Join* j) { j->set_applied_step(1); },
       "the fingerprint of the weights after step 1 differs: the job has "},
  };
  Scene scene;
  const int64_t gang = scene.AddGang(0);
  scene.Work();
  Join other_shape = JoinAt(scene.job, 0);
  other_shape.set_num_ranks(3);
  EXPECT_THAT(scene.machine.OnJoin(other_shape, scene.now, &scene.actions),
              StatusIs(kPrecondition, HasSubstr("the number of ranks differs: gang 1 (host:1, 2 "
                                                "ranks) has 2, the gang has 3")));
  scene.Disconnect(gang);
  const size_t num_actions = scene.actions.size();
  for (const Case& c : cases) {
    Join join = JoinAt(scene.job, 0);
    c.change(&join);
    EXPECT_THAT(scene.machine.OnJoin(join, scene.now, &scene.actions),
                StatusIs(kPrecondition, HasSubstr(c.error)));
  }
  EXPECT_EQ(scene.actions.size(), num_actions);
}

TEST(JobMachineTest, RefusesAFirstGangThatCannotBe) {
  Scene scene;
  Join join = JoinAt(scene.job, 0);
  join.set_num_rows(0);
  EXPECT_THAT(scene.machine.OnJoin(join, scene.now, &scene.actions),
              StatusIs(kPrecondition, HasSubstr("no row")));
  EXPECT_THAT(scene.machine.OnJoin(JoinAt(scene.job, -1), scene.now, &scene.actions),
              StatusIs(kPrecondition, HasSubstr("the first gang brings the starting state")));
  join = JoinAt(scene.job, 4);
  EXPECT_THAT(scene.machine.OnJoin(join, scene.now, &scene.actions),
              StatusIs(kPrecondition, HasSubstr("(step-00000004), but the ledger has no commit")));
  join = JoinAt(scene.job, 0);
  join.add_sources()->set_name("a");
  EXPECT_THAT(scene.machine.OnJoin(join, scene.now, &scene.actions),
              StatusIs(kPrecondition, HasSubstr("cannot have 10 rows of 0 of 0 rows of a")));
  join = JoinAt(scene.job, 0);
  join.set_num_rows(int64_t{1} << 60);
  EXPECT_FALSE(scene.machine.OnJoin(join, scene.now, &scene.actions).ok());
  EXPECT_EQ(scene.machine.state(), PENDING);
}

TEST(JobMachineTest, GenerationsAndGangsOnlyCountUpAlsoOverRestarts) {
  Scene scene;
  EXPECT_EQ(scene.AddGang(0), 1);
  EXPECT_EQ(scene.machine.record().generation(), 1);
  scene.Disconnect(1);
  EXPECT_EQ(scene.machine.record().generation(), 2);
  EXPECT_EQ(scene.AddGang(0), 2);
  scene.Restart();  // with gang 2 still in the ledger's membership
  EXPECT_EQ(scene.machine.state(), WAITING);
  EXPECT_EQ(scene.AddGang(0), 3);
  EXPECT_EQ(scene.machine.record().generation(), 3);
  EXPECT_EQ(scene.machine.record().last_gang(), 3);   // its number is taken
  EXPECT_EQ(scene.machine.status().gangs_size(), 2);  // gang 2 is waited for
  scene.Tick(absl::Seconds(5));
  EXPECT_EQ(scene.machine.record().generation(), 4);
  EXPECT_EQ(scene.machine.status().gangs_size(), 1);
  EXPECT_THAT(scene.PlannedSteps(3), ElementsAre(1, 2));
}

TEST(JobMachineTest, AnOlderCheckpointTakesTheJobBackAndStepsMustComeOutTheSame) {
  Scene scene;
  const int64_t first = scene.AddGang(0);
  for (int step = 1; step <= 6; ++step) scene.Work();
  scene.Disconnect(first);
  scene.Restart();
  EXPECT_EQ(scene.machine.status().step(), 6);
  const int64_t second = scene.AddGang(4);
  EXPECT_EQ(scene.machine.status().step(), 4);
  EXPECT_THAT(scene.PlannedSteps(second), ElementsAre(5, 6));
  scene.Work();
  GangMessage wrong = StepMessage(scene.job, scene.NextPlan(second));
  wrong.mutable_step()->set_fingerprint("bad");
  scene.Say(second, wrong);
  EXPECT_EQ(scene.machine.state(), FAILED);
  EXPECT_THAT(scene.machine.status().error(),
              HasSubstr(absl::StrCat("step 6 was done again and came out different: fingerprint "
                                     "bad, before ",
                                     FingerprintOf(6))));
  EXPECT_THAT(*scene.ClosedWith(second),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("step 6")));
  // A failed job may be tried again.
  const int64_t third = scene.AddGang(4);
  for (int step = 5; step <= 7; ++step) scene.Work();
  scene.Say(third, LeaveMessage(Leave::JOB_DONE, "", 7));
  EXPECT_EQ(scene.machine.state(), DONE);
}

TEST(JobMachineTest, FloatSumsMayComeOutDifferent) {
  Scene scene({"training.gradient_sum=fast"});
  const int64_t first = scene.AddGang(0);
  scene.Work();
  scene.Disconnect(first);
  const int64_t second = scene.AddGang(0);
  GangMessage other = StepMessage(scene.job, scene.NextPlan(second));
  other.mutable_step()->set_fingerprint("other");
  scene.Say(second, other);
  EXPECT_EQ(scene.machine.state(), RUNNING);
  EXPECT_EQ(scene.machine.status().step(), 1);
}

TEST(JobMachineTest, ReportsThatDoNotFitEndTheGang) {
  struct Case {
    void (*change)(StepReport*);
    const char* error;
  };
  const Case cases[] = {
      {[](StepReport* r) { r->set_generation(7); },
       "generation 7 is over; step 1 is of generation 1"},
      {[](StepReport* r) { r->set_generation(0); }, "generation 0 is over"},
      {[](StepReport* r) { r->set_step(2); }, "a report of step 2 where step 1 was expected"},
      {[](StepReport* r) { r->mutable_slots(0)->set_end(1); },
       "with other slots than were leased to gang 1"},
      {[](StepReport* r) { r->set_stream_end(9); }, "has rows 0 to 9 of the stream instead of"},
      {[](StepReport* r) { r->clear_fingerprint(); }, "has no fingerprint"},
  };
  for (const Case& c : cases) {
    Scene scene;
    const int64_t gang = scene.AddGang(0);
    GangMessage message = StepMessage(scene.job, scene.NextPlan(gang));
    c.change(message.mutable_step());
    scene.Say(gang, message);
    EXPECT_THAT(scene.ClosedWith(gang).value_or(absl::OkStatus()),
                StatusIs(kPrecondition, HasSubstr(c.error)));
    EXPECT_EQ(scene.machine.state(), WAITING);
    EXPECT_EQ(scene.machine.status().step(), 0);
  }
}

TEST(JobMachineTest, OtherMessagesThatDoNotFitEndTheGang) {
  const GangMessage messages[] = {CheckpointMessage(1, 3), CheckpointMessage(1, -1),
                                  EvalMessage(1, 3), GangMessage()};
  for (const GangMessage& message : messages) {
    Scene scene;
    const int64_t gang = scene.AddGang(0);
    scene.Say(gang, message);
    EXPECT_EQ(scene.ClosedWith(gang)->code(), kPrecondition) << message.ShortDebugString();
    EXPECT_EQ(scene.machine.state(), WAITING);
  }
}

TEST(JobMachineTest, AGangThatIsGoneIsNotHeard) {
  Scene scene;
  const int64_t gang = scene.AddGang(0);
  const GangMessage late = StepMessage(scene.job, scene.NextPlan(gang));
  scene.Disconnect(gang);
  const size_t num_actions = scene.actions.size();
  scene.Say(gang, late);
  scene.Disconnect(gang);
  EXPECT_EQ(scene.actions.size(), num_actions);
}

TEST(JobMachineTest, SilenceBeyondTheTimeoutIsDeath) {
  Scene scene;
  const int64_t gang = scene.AddGang(0);
  GangMessage heartbeat;
  heartbeat.mutable_heartbeat();
  for (int i = 0; i < 5; ++i) {
    scene.Tick(absl::Seconds(4));
    scene.Say(gang, heartbeat);
  }
  EXPECT_EQ(scene.machine.state(), RUNNING);
  scene.Tick(absl::Seconds(5.1));
  EXPECT_EQ(scene.machine.state(), WAITING);
  EXPECT_EQ(scene.ClosedWith(gang)->code(), absl::StatusCode::kDeadlineExceeded);
}

TEST(JobMachineTest, APauseHoldsOverARestartAndEndsWithResume) {
  Scene scene;
  const int64_t gang = scene.AddGang(0);
  EXPECT_EQ(*scene.Ask(Verb::kPause), "pausing after step 2");
  EXPECT_THAT(scene.Ask(Verb::kPause), StatusIs(kPrecondition, HasSubstr("the job is paused")));
  scene.Work();
  scene.Work();
  EXPECT_THAT(scene.PlannedSteps(gang), IsEmpty());
  EXPECT_EQ(scene.machine.state(), PAUSED);
  scene.Restart();
  EXPECT_EQ(scene.machine.state(), WAITING);
  scene.AddGang(2, gang);
  EXPECT_EQ(scene.machine.state(), PAUSED);
  EXPECT_THAT(scene.PlannedSteps(gang), IsEmpty());
  EXPECT_EQ(*scene.Ask(Verb::kResume), "going on after step 2");
  EXPECT_THAT(scene.PlannedSteps(gang), ElementsAre(3, 4));
  EXPECT_THAT(scene.Ask(Verb::kResume), StatusIs(kPrecondition, HasSubstr("the job is running")));
}

TEST(JobMachineTest, AStopEndsTheJobForNowAndAnyPause) {
  Scene scene;
  const int64_t gang = scene.AddGang(0);
  EXPECT_THAT(scene.Ask(Verb::kPause), IsOk());
  EXPECT_EQ(*scene.Ask(Verb::kStop), "stopping after step 2");
  scene.Work();
  scene.Work();
  EXPECT_TRUE(scene.gangs.at(gang).stop->save());
  scene.Say(gang, CheckpointMessage(1, 2));
  EXPECT_FALSE(scene.machine.has_ended());
  scene.Say(gang, LeaveMessage(Leave::STOPPED, "", 2));
  EXPECT_TRUE(scene.machine.has_ended());
  EXPECT_EQ(scene.machine.state(), WAITING);
  const int64_t next = scene.AddGang(2);
  EXPECT_EQ(scene.machine.state(), RUNNING);
  EXPECT_THAT(scene.PlannedSteps(next), ElementsAre(3, 4));
}

TEST(JobMachineTest, AStopThatWasOrderedIsCarriedOutThoughTheCoordinatorIsKilled) {
  Scene scene;
  const int64_t gang = scene.AddGang(0);
  EXPECT_THAT(scene.Ask(Verb::kStop), IsOk());
  scene.Restart();
  EXPECT_FALSE(scene.machine.has_ended());
  scene.AddGang(0, gang);
  ASSERT_TRUE(scene.gangs.at(gang).stop.has_value());
  EXPECT_EQ(scene.gangs.at(gang).stop->reason(), "stopped by ann");
  EXPECT_THAT(scene.PlannedSteps(gang), IsEmpty());
  scene.Say(gang, LeaveMessage(Leave::STOPPED, "", 0));
  EXPECT_TRUE(scene.machine.has_ended());
  scene.Restart();  // it is carried out: the next start goes on
  EXPECT_FALSE(scene.machine.has_ended());
  EXPECT_THAT(scene.PlannedSteps(scene.AddGang(0)), ElementsAre(1, 2));
}

TEST(JobMachineTest, ADrainThatWasOrderedIsCarriedOutThoughTheCoordinatorIsKilled) {
  Scene scene;
  const int64_t a = scene.AddGang(0);
  const int64_t b = scene.AddGang(-1);
  scene.Work();
  scene.Work();
  scene.answers = false;
  EXPECT_THAT(scene.Drain(b), IsOk());
  scene.Restart();
  scene.answers = true;
  scene.AddGang(2, a);
  scene.AddGang(2, b);
  scene.Tick(absl::Seconds(5));
  ASSERT_TRUE(scene.gangs.at(b).stop.has_value());
  EXPECT_EQ(scene.gangs.at(b).stop->reason(), "it was drained");
  EXPECT_EQ(scene.gangs.at(a).world->members_size(), 1);
}

TEST(JobMachineTest, AGangThatDiesWhileItIsToStopHasStopped) {
  Scene scene;
  const int64_t gang = scene.AddGang(0);
  EXPECT_THAT(scene.Ask(Verb::kStop), IsOk());
  scene.Disconnect(gang);
  EXPECT_TRUE(scene.machine.has_ended());
}

TEST(JobMachineTest, AnErrorOfAGangFailsTheJobAndAPreemptionDoesNot) {
  Scene scene;
  int64_t gang = scene.AddGang(0);
  scene.Say(gang, LeaveMessage(Leave::PREEMPTED));
  EXPECT_EQ(scene.machine.state(), WAITING);
  EXPECT_FALSE(scene.machine.has_ended());
  gang = scene.AddGang(0);
  scene.Say(gang, LeaveMessage(Leave::ERROR, "loss is not finite at step 1"));
  EXPECT_EQ(scene.machine.state(), FAILED);
  EXPECT_EQ(scene.machine.status().error(), "loss is not finite at step 1");
  EXPECT_TRUE(scene.machine.has_ended());
}

TEST(JobMachineTest, AFailedCheckpointIsSaidAndTrainingGoesOn) {
  Scene scene;
  const int64_t gang = scene.AddGang(0);
  GangMessage message = CheckpointMessage(1, 0);
  message.mutable_checkpoint()->set_error("disk full");
  scene.Say(gang, message);
  ASSERT_EQ(scene.actions.back().kind, Action::Kind::kWarn);
  EXPECT_THAT(scene.actions.back().text, HasSubstr("disk full"));
  EXPECT_EQ(scene.machine.state(), RUNNING);
}

}  // namespace
}  // namespace liquid
