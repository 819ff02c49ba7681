#include "coordinator/job_machine.h"

#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "tests/coordinator/gang_script.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::CheckpointMessage;
using ::liquid::testing::CheckpointName;
using ::liquid::testing::EvalMessage;
using ::liquid::testing::FingerprintOf;
using ::liquid::testing::IsOk;
using ::liquid::testing::JoinAt;
using ::liquid::testing::LeaveMessage;
using ::liquid::testing::ScriptedJob;
using ::liquid::testing::StatusIs;
using ::liquid::testing::StepMessage;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;

// A machine, the time, and what it has said so far.
struct World {
  explicit World(std::vector<std::string> overrides = {})
      : job(ScriptedJob("/o", std::move(overrides))), machine({.job = job}, JobRecord()) {
    machine.Start(now, &actions);
  }

  int64_t Join(int64_t step) {
    for (Action& action : actions) action.order.Clear();  // what gangs before it were told
    const auto gang = machine.OnJoin(JoinAt(job, step), now, &actions);
    EXPECT_THAT(gang, IsOk());
    return gang.value_or(0);
  }
  void Say(int64_t gang, const GangMessage& message) {
    machine.OnMessage(gang, message, now, &actions);
  }
  // Does the oldest plan that was sent, with the evaluation and the checkpoint it asks for.
  void Work(int64_t gang) {
    const Plan plan = plans().front();
    EraseFirstPlan();
    Say(gang, StepMessage(job, plan));
    if (plan.evaluate_after()) Say(gang, EvalMessage(plan.generation(), plan.step()));
    if (plan.checkpoint_after()) Say(gang, CheckpointMessage(plan.generation(), plan.step()));
  }
  std::vector<Plan> plans() const {
    std::vector<Plan> found;
    for (const Action& action : actions) {
      if (action.order.has_plan()) found.push_back(action.order.plan());
    }
    return found;
  }
  std::vector<int64_t> planned_steps() const {
    std::vector<int64_t> steps;
    for (const Plan& plan : plans()) steps.push_back(plan.step());
    return steps;
  }
  void EraseFirstPlan() {
    for (Action& action : actions) {
      if (!action.order.has_plan()) continue;
      action.order.clear_plan();
      return;
    }
  }
  // How the gang's stream was ended, if it was.
  std::optional<absl::Status> ClosedWith(int64_t gang) const {
    for (const Action& action : actions) {
      if (action.kind == Action::Kind::kClose && action.gang == gang) return action.status;
    }
    return std::nullopt;
  }
  // A coordinator that starts from the entries written so far.
  void Restart() {
    JobRecord record;
    for (const Action& action : actions) {
      if (action.kind == Action::Kind::kAppend) {
        EXPECT_THAT(record.Apply(action.entry), IsOk());
      }
    }
    for (Action& action : actions) action.order.Clear();
    machine = JobMachine({.job = job}, std::move(record));
    machine.Start(now, &actions);
  }
  absl::StatusOr<std::string> Ask(Verb verb) { return machine.OnVerb(verb, "ann", now, &actions); }

  Job job;
  absl::Time now = absl::FromUnixSeconds(1000);
  Actions actions;
  JobMachine machine;
};

TEST(JobMachineTest, PlansStayTwoStepsAhead) {
  World world;
  EXPECT_EQ(world.machine.state(), PENDING);
  const int64_t gang = world.Join(0);
  EXPECT_EQ(world.machine.state(), RUNNING);
  EXPECT_THAT(world.planned_steps(), ElementsAre(1, 2));
  world.Work(gang);
  EXPECT_THAT(world.planned_steps(), ElementsAre(2, 3));
  EXPECT_EQ(world.machine.status().step(), 1);
  EXPECT_EQ(world.plans()[0].slots(0).begin(), 0);
  EXPECT_EQ(world.plans()[0].slots(0).end(), 2);
}

TEST(JobMachineTest, EntriesComeBeforeTheOrdersThatRestOnThem) {
  World world;
  const int64_t gang = world.Join(0);
  world.Say(gang, StepMessage(world.job, world.plans().front()));
  int64_t leased = 0;
  int64_t committed = 0;
  for (const Action& action : world.actions) {
    if (action.entry.has_lease()) leased = action.entry.lease().step();
    if (action.entry.has_commit()) committed = action.entry.commit().report().step();
    EXPECT_LE(action.order.plan().step(), leased);
    EXPECT_LE(action.order.committed().step(), committed);
  }
  EXPECT_EQ(leased, 3);
  EXPECT_EQ(committed, 1);
}

TEST(JobMachineTest, EvaluatesAndSavesWhenThePolicySays) {
  World world({"data.eval=[/e.jsonl]", "checkpoint.keep_every_steps=5"});
  const int64_t gang = world.Join(0);
  std::string seen;
  for (int step = 1; step <= 7; ++step) {
    const Plan plan = world.plans().front();
    absl::StrAppend(&seen, plan.evaluate_after() ? "E" : "-", plan.checkpoint_after() ? "C" : "-",
                    plan.last() ? "L " : "  ");
    world.Work(gang);
  }
  EXPECT_EQ(seen, "--  --  E-  -C  -C  E-  ECL ");
  EXPECT_THAT(world.planned_steps(), IsEmpty());
}

TEST(JobMachineTest, SavesEveryFewMinutes) {
  World world({"checkpoint.every_steps=0", "checkpoint.every_minutes=10"});
  const int64_t gang = world.Join(0);
  world.Work(gang);
  EXPECT_FALSE(world.plans().back().checkpoint_after());
  world.now += absl::Minutes(10);
  world.Work(gang);
  EXPECT_EQ(world.plans().back().step(), 4);
  EXPECT_TRUE(world.plans().back().checkpoint_after());
  world.Work(gang);
  EXPECT_FALSE(world.plans().back().checkpoint_after());
}

TEST(JobMachineTest, IsDoneWhenTheLastCheckpointIsWritten) {
  World world;
  const int64_t gang = world.Join(0);
  for (int step = 1; step <= 7; ++step) world.Work(gang);
  EXPECT_EQ(world.machine.state(), RUNNING);
  world.Say(gang, LeaveMessage(Leave::JOB_DONE));
  EXPECT_EQ(world.machine.state(), DONE);
  EXPECT_TRUE(world.machine.has_ended());
  EXPECT_EQ(world.machine.status().epoch(), 2.5);
}

TEST(JobMachineTest, IsNotDoneWithoutTheLastCheckpoint) {
  World world;
  const int64_t gang = world.Join(0);
  for (int step = 1; step <= 6; ++step) world.Work(gang);
  world.Say(gang, StepMessage(world.job, world.plans().front()));
  world.Say(gang, LeaveMessage(Leave::JOB_DONE));
  EXPECT_EQ(world.machine.state(), WAITING);
  EXPECT_FALSE(world.machine.has_ended());
  // The checkpoint was written all the same, its report was lost: the next gang shows it.
  const int64_t next = world.Join(7);
  EXPECT_EQ(world.machine.state(), DONE);
  EXPECT_EQ(world.actions.back().order.stop().reason(), "the job is done");
  world.Say(next, LeaveMessage(Leave::STOPPED));
  EXPECT_TRUE(world.machine.has_ended());
  world.Restart();
  EXPECT_EQ(world.machine.state(), DONE);
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
      {[](Join* j) { j->set_applied_step(-1); }, "the gang has the weights after step -1"},
      {[](Join* j) { j->set_fingerprint("odd"); },
       "the fingerprint of the weights after step 0 differs: the job has "},
      {[](Join* j) { j->set_applied_step(1); },
       "the fingerprint of the weights after step 1 differs: the job has "},
  };
  World world;
  const int64_t gang = world.Join(0);
  world.Work(gang);
  EXPECT_THAT(world.machine.OnJoin(JoinAt(world.job, 0), world.now, &world.actions),
              StatusIs(kPrecondition, HasSubstr("a second gang is not supported yet")));
  world.machine.OnDisconnected(gang, world.now, &world.actions);
  const size_t num_actions = world.actions.size();
  for (const Case& c : cases) {
    Join join = JoinAt(world.job, 0);
    c.change(&join);
    EXPECT_THAT(world.machine.OnJoin(join, world.now, &world.actions),
                StatusIs(kPrecondition, HasSubstr(c.error)));
  }
  EXPECT_EQ(world.actions.size(), num_actions);
}

TEST(JobMachineTest, RefusesAFirstGangThatCannotBe) {
  World world;
  Join join = JoinAt(world.job, 0);
  join.set_num_rows(0);
  EXPECT_THAT(world.machine.OnJoin(join, world.now, &world.actions),
              StatusIs(kPrecondition, HasSubstr("no row")));
  join = JoinAt(world.job, 4);
  EXPECT_THAT(world.machine.OnJoin(join, world.now, &world.actions),
              StatusIs(kPrecondition, HasSubstr("(step-00000004), but the ledger has no commit")));
  join = JoinAt(world.job, 0);
  join.set_num_rows(int64_t{1} << 60);
  EXPECT_FALSE(world.machine.OnJoin(join, world.now, &world.actions).ok());
  EXPECT_EQ(world.machine.state(), PENDING);
}

TEST(JobMachineTest, GenerationsAndGangsOnlyCountUpAlsoOverRestarts) {
  World world;
  EXPECT_EQ(world.Join(0), 1);
  EXPECT_EQ(world.machine.record().generation(), 1);
  world.machine.OnDisconnected(1, world.now, &world.actions);
  EXPECT_EQ(world.machine.record().generation(), 2);
  EXPECT_EQ(world.Join(0), 2);
  world.Restart();  // with gang 2 still in the ledger's membership
  EXPECT_EQ(world.machine.state(), WAITING);
  EXPECT_EQ(world.machine.record().generation(), 4);
  EXPECT_EQ(world.Join(0), 3);
  EXPECT_EQ(world.machine.record().generation(), 5);
}

TEST(JobMachineTest, AnOlderCheckpointTakesTheJobBackAndStepsMustComeOutTheSame) {
  World world;
  const int64_t first = world.Join(0);
  for (int step = 1; step <= 6; ++step) world.Work(first);
  world.machine.OnDisconnected(first, world.now, &world.actions);
  world.Restart();
  EXPECT_EQ(world.machine.status().step(), 6);
  const int64_t second = world.Join(4);
  EXPECT_EQ(world.machine.status().step(), 4);
  EXPECT_THAT(world.planned_steps(), ElementsAre(5, 6));
  world.Work(second);
  GangMessage wrong = StepMessage(world.job, world.plans().front());
  wrong.mutable_step()->set_fingerprint("bad");
  world.Say(second, wrong);
  EXPECT_EQ(world.machine.state(), FAILED);
  EXPECT_THAT(world.machine.status().error(),
              HasSubstr(absl::StrCat("step 6 was done again and came out different: fingerprint "
                                     "bad, before ",
                                     FingerprintOf(6))));
  EXPECT_THAT(*world.ClosedWith(second),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("step 6")));
  // A failed job may be tried again.
  const int64_t third = world.Join(4);
  for (int step = 5; step <= 7; ++step) world.Work(third);
  world.Say(third, LeaveMessage(Leave::JOB_DONE));
  EXPECT_EQ(world.machine.state(), DONE);
}

TEST(JobMachineTest, FloatSumsMayComeOutDifferent) {
  World world({"training.gradient_sum=fast"});
  const int64_t first = world.Join(0);
  world.Work(first);
  world.machine.OnDisconnected(first, world.now, &world.actions);
  const int64_t second = world.Join(0);
  GangMessage other = StepMessage(world.job, world.plans().back());
  other = StepMessage(world.job, [&] {
    Plan plan = world.plans().back();
    plan.set_step(1);
    return plan;
  }());
  other.mutable_step()->set_fingerprint("other");
  world.Say(second, other);
  EXPECT_EQ(world.machine.state(), RUNNING);
  EXPECT_EQ(world.machine.status().step(), 1);
}

TEST(JobMachineTest, ReportsThatDoNotFitEndTheGang) {
  struct Case {
    void (*change)(StepReport*);
    const char* error;
  };
  const Case cases[] = {
      {[](StepReport* r) { r->set_generation(7); }, "generation 7 is over; it is 1 now"},
      {[](StepReport* r) { r->set_step(2); }, "a report of step 2 where step 1 was expected"},
      {[](StepReport* r) { r->mutable_slots(0)->set_end(1); }, "were not leased to gang 1"},
      {[](StepReport* r) { r->set_stream_end(9); }, "has rows 0 to 9 of the stream instead of"},
      {[](StepReport* r) { r->clear_fingerprint(); }, "has no fingerprint"},
  };
  for (const Case& c : cases) {
    World world;
    const int64_t gang = world.Join(0);
    GangMessage message = StepMessage(world.job, world.plans().front());
    c.change(message.mutable_step());
    world.Say(gang, message);
    EXPECT_THAT(world.ClosedWith(gang).value_or(absl::OkStatus()),
                StatusIs(kPrecondition, HasSubstr(c.error)));
    EXPECT_EQ(world.machine.state(), WAITING);
    EXPECT_EQ(world.machine.status().step(), 0);
  }
}

TEST(JobMachineTest, OtherMessagesThatDoNotFitEndTheGang) {
  const GangMessage messages[] = {CheckpointMessage(1, 3), CheckpointMessage(1, -1),
                                  EvalMessage(1, 3), GangMessage()};
  for (const GangMessage& message : messages) {
    World world;
    const int64_t gang = world.Join(0);
    world.Say(gang, message);
    EXPECT_EQ(world.ClosedWith(gang)->code(), kPrecondition) << message.ShortDebugString();
    EXPECT_EQ(world.machine.state(), WAITING);
  }
}

TEST(JobMachineTest, AGangThatIsGoneIsNotHeard) {
  World world;
  const int64_t gang = world.Join(0);
  const GangMessage late = StepMessage(world.job, world.plans().front());
  world.machine.OnDisconnected(gang, world.now, &world.actions);
  const size_t num_actions = world.actions.size();
  world.Say(gang, late);
  world.machine.OnDisconnected(gang, world.now, &world.actions);
  EXPECT_EQ(world.actions.size(), num_actions);
}

TEST(JobMachineTest, SilenceBeyondTheTimeoutIsDeath) {
  World world;
  const int64_t gang = world.Join(0);
  GangMessage heartbeat;
  heartbeat.mutable_heartbeat();
  for (int i = 0; i < 5; ++i) {
    world.now += absl::Seconds(4);
    world.machine.OnTick(world.now, &world.actions);
    world.Say(gang, heartbeat);
  }
  EXPECT_EQ(world.machine.state(), RUNNING);
  world.now += absl::Seconds(5.1);
  world.machine.OnTick(world.now, &world.actions);
  EXPECT_EQ(world.machine.state(), WAITING);
  EXPECT_EQ(world.ClosedWith(gang)->code(), absl::StatusCode::kDeadlineExceeded);
}

TEST(JobMachineTest, APauseHoldsOverARestartAndEndsWithResume) {
  World world;
  const int64_t gang = world.Join(0);
  EXPECT_EQ(*world.Ask(Verb::kPause), "pausing after step 2");
  EXPECT_THAT(world.Ask(Verb::kPause), StatusIs(kPrecondition, HasSubstr("the job is paused")));
  world.Work(gang);
  world.Work(gang);
  EXPECT_THAT(world.planned_steps(), IsEmpty());
  EXPECT_EQ(world.machine.state(), PAUSED);
  world.Restart();
  EXPECT_EQ(world.machine.state(), WAITING);
  world.Join(2);
  EXPECT_EQ(world.machine.state(), PAUSED);
  EXPECT_THAT(world.planned_steps(), IsEmpty());
  EXPECT_EQ(*world.Ask(Verb::kResume), "going on after step 2");
  EXPECT_THAT(world.planned_steps(), ElementsAre(3, 4));
  EXPECT_THAT(world.Ask(Verb::kResume), StatusIs(kPrecondition, HasSubstr("the job is running")));
}

TEST(JobMachineTest, AStopEndsTheJobForNowAndAnyPause) {
  World world;
  const int64_t gang = world.Join(0);
  EXPECT_THAT(world.Ask(Verb::kPause), IsOk());
  EXPECT_EQ(*world.Ask(Verb::kStop), "stopping after step 2");
  world.Work(gang);
  world.Work(gang);
  world.Say(gang, CheckpointMessage(1, 2));
  EXPECT_FALSE(world.machine.has_ended());
  world.Say(gang, LeaveMessage(Leave::STOPPED));
  EXPECT_TRUE(world.machine.has_ended());
  EXPECT_EQ(world.machine.state(), WAITING);
  world.Join(2);
  EXPECT_EQ(world.machine.state(), RUNNING);
  EXPECT_THAT(world.planned_steps(), ElementsAre(3, 4));
}

TEST(JobMachineTest, AGangThatDiesWhileItIsToStopHasStopped) {
  World world;
  const int64_t gang = world.Join(0);
  EXPECT_THAT(world.Ask(Verb::kStop), IsOk());
  world.machine.OnDisconnected(gang, world.now, &world.actions);
  EXPECT_TRUE(world.machine.has_ended());
}

TEST(JobMachineTest, AnErrorOfAGangFailsTheJobAndAPreemptionDoesNot) {
  World world;
  int64_t gang = world.Join(0);
  world.Say(gang, LeaveMessage(Leave::PREEMPTED));
  EXPECT_EQ(world.machine.state(), WAITING);
  EXPECT_FALSE(world.machine.has_ended());
  gang = world.Join(0);
  world.Say(gang, LeaveMessage(Leave::ERROR, "loss is not finite at step 1"));
  EXPECT_EQ(world.machine.state(), FAILED);
  EXPECT_EQ(world.machine.status().error(), "loss is not finite at step 1");
  EXPECT_TRUE(world.machine.has_ended());
}

TEST(JobMachineTest, AFailedCheckpointIsSaidAndTrainingGoesOn) {
  World world;
  const int64_t gang = world.Join(0);
  GangMessage message = CheckpointMessage(1, 0);
  message.mutable_checkpoint()->set_error("disk full");
  world.Say(gang, message);
  EXPECT_EQ(world.actions.back().kind, Action::Kind::kWarn);
  EXPECT_THAT(world.actions.back().text, HasSubstr("disk full"));
  EXPECT_EQ(world.machine.state(), RUNNING);
}

}  // namespace
}  // namespace liquid
