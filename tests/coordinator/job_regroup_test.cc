// Several gangs: joins, deaths, drains, and what of their work is kept.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "tests/coordinator/scene.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::CheckpointMessage;
using ::liquid::testing::FingerprintOf;
using ::liquid::testing::IsOk;
using ::liquid::testing::JoinAt;
using ::liquid::testing::LeaveMessage;
using ::liquid::testing::ReadyMessage;
using ::liquid::testing::Scene;
using ::liquid::testing::StatusIs;
using ::liquid::testing::StepMessage;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;

// Long enough for things to happen, with slots to share.
std::vector<std::string> WithSlots(int slots, std::vector<std::string> more = {}) {
  more.push_back(absl::StrCat("training.slots_per_step=", slots));
  more.push_back("training.rows_per_slot=1");
  more.push_back("training.epochs=40");
  more.push_back("checkpoint.every_steps=4");
  return more;
}

SlotRanges Range(int begin, int end) { return SlotSet(begin, end).ToRanges(); }

// The slots of the gang's next plan, as text.
std::string NextSlots(const Scene& scene, int64_t gang) {
  return Scene::Slots(scene.NextPlan(gang).slots());
}

TEST(JobRegroupTest, AJoinerWaitsForTheBoundaryAndReceivesTheState) {
  Scene scene(WithSlots(4));
  const int64_t first = scene.AddGang(0);
  scene.Work();
  const int64_t second = scene.AddGang(-1);
  EXPECT_EQ(scene.machine.record().generation(), 2);
  EXPECT_EQ(scene.gangs.at(first).regroup->after_step(), 3);
  EXPECT_THAT(scene.PlannedSteps(first), ElementsAre(2, 3));
  EXPECT_FALSE(scene.gangs.at(second).world.has_value());
  EXPECT_EQ(scene.machine.status().gangs(1).phase(), GangStatus::JOINING);
  scene.Work();
  scene.Work();
  ASSERT_TRUE(scene.gangs.at(second).world.has_value());
  const World& world = *scene.gangs.at(second).world;
  EXPECT_EQ(world.generation(), 2);
  EXPECT_EQ(world.step(), 3);
  EXPECT_EQ(world.fingerprint(), FingerprintOf(3));
  EXPECT_TRUE(world.members(0).has_state());
  EXPECT_FALSE(world.members(1).has_state());
  EXPECT_THAT(world.members(1).data_addresses(), ElementsAre("data:1", "data:2"));
  EXPECT_EQ(NextSlots(scene, first), "0-1");
  EXPECT_EQ(NextSlots(scene, second), "2-3");
  EXPECT_EQ(scene.machine.status().gangs(1).phase(), GangStatus::WORKING);
  scene.Work();
  EXPECT_EQ(scene.machine.record().committed_step(), 4);
}

TEST(JobRegroupTest, AStepIsCommittedWhenAllMembersReportedIt) {
  Scene scene(WithSlots(4));
  const int64_t first = scene.AddGang(0);
  const int64_t second = scene.AddGang(-1);
  scene.Work();
  scene.Work();
  ASSERT_EQ(scene.machine.record().committed_step(), 2);
  scene.Report(second);
  EXPECT_EQ(scene.machine.record().committed_step(), 2);
  scene.Report(first);
  EXPECT_EQ(scene.machine.record().committed_step(), 3);
  const auto slots_done = [&](int i) { return scene.machine.status().gangs(i).slots_done(); };
  EXPECT_EQ(slots_done(0), 2 * 4 + 2);
  EXPECT_EQ(slots_done(1), 2);
}

TEST(JobRegroupTest, SurvivorsKeepWhatTheyHoldAndDoOnlyTheVictimsSlots) {
  Scene scene(WithSlots(6));
  const int64_t a = scene.AddGang(0);
  const int64_t b = scene.AddGang(-1);
  scene.Work();
  scene.Work();
  const int64_t c = scene.AddGang(-1);
  scene.Work();
  scene.Work();
  ASSERT_EQ(scene.machine.record().committed_step(), 4);
  ASSERT_EQ(NextSlots(scene, b), "2-3");
  scene.gangs.at(a).held = Range(0, 2);  // all of its own
  scene.gangs.at(c).held = Range(4, 5);  // one of two
  scene.Disconnect(b);
  EXPECT_EQ(scene.machine.record().committed_step(), 4);
  EXPECT_EQ(NextSlots(scene, a), "0-2");
  EXPECT_EQ(NextSlots(scene, c), "3-5");
  scene.gangs.at(a).held.Clear();
  scene.gangs.at(c).held.Clear();
  scene.Work();
  EXPECT_EQ(scene.machine.record().committed_step(), 5);
}

TEST(JobRegroupTest, SumsThatOverlapAreKeptAsAWholeOrNotAtAll) {
  Scene scene(WithSlots(6));
  const int64_t a = scene.AddGang(0);
  const int64_t b = scene.AddGang(-1);
  scene.Work();
  scene.Work();
  const int64_t c = scene.AddGang(-1);
  scene.Work();
  scene.Work();
  scene.gangs.at(a).held = Range(0, 2);
  scene.gangs.at(b).held = Range(1, 4);  // the largest: kept
  scene.Disconnect(c);
  EXPECT_EQ(NextSlots(scene, b), "1-3");
  EXPECT_EQ(NextSlots(scene, a), "0-0 4-5");
}

TEST(JobRegroupTest, AStepThatASurvivorAppliedIsCommittedNotDoneAgain) {
  Scene scene(WithSlots(4));
  const int64_t a = scene.AddGang(0);
  const int64_t b = scene.AddGang(-1);
  scene.Work();
  scene.Work();
  const Plan plan = scene.NextPlan(a);
  scene.Report(a);  // of b nothing is heard any more
  scene.Disconnect(b);
  EXPECT_EQ(scene.machine.record().committed_step(), plan.step());
  EXPECT_EQ(scene.gangs.at(a).world->step(), plan.step());
  EXPECT_EQ(scene.machine.record().last_step().generation(), plan.generation());
}

TEST(JobRegroupTest, ADeathWhileABoundaryIsAwaitedRegroupsAtOnce) {
  Scene scene(WithSlots(4));
  const int64_t a = scene.AddGang(0);
  const int64_t b = scene.AddGang(-1);
  scene.Work();
  scene.Work();
  const int64_t c = scene.AddGang(-1);
  EXPECT_EQ(scene.gangs.at(a).regroup->after_step(), 4);
  scene.Disconnect(b);
  EXPECT_THAT(scene.gangs.at(a).world->members_size(), 2);
  EXPECT_EQ(scene.gangs.at(a).world->step(), 2);
  EXPECT_EQ(NextSlots(scene, c), "2-3");
}

TEST(JobRegroupTest, ADrainedGangDoesItsStepAndGoes) {
  Scene scene(WithSlots(4));
  const int64_t a = scene.AddGang(0);
  const int64_t b = scene.AddGang(-1);
  scene.Work();
  scene.Work();
  EXPECT_EQ(*scene.Drain(a), "gang 1 goes after its present step");
  EXPECT_THAT(scene.Drain(b), StatusIs(kPrecondition, HasSubstr("it is the last gang; use stop")));
  EXPECT_THAT(scene.Drain(a), StatusIs(absl::StatusCode::kNotFound, HasSubstr("gang 1")));
  EXPECT_THAT(scene.PlannedSteps(a), ElementsAre(3));  // step 4 is void
  EXPECT_THAT(scene.PlannedSteps(b), ElementsAre(3));
  EXPECT_FALSE(scene.gangs.at(a).stop->save());
  scene.Work();
  EXPECT_EQ(scene.machine.record().committed_step(), 3);
  EXPECT_EQ(scene.gangs.at(b).world->members_size(), 1);
  const int64_t generation = scene.machine.record().generation();
  scene.Say(a, LeaveMessage(Leave::STOPPED, "", 3));
  EXPECT_EQ(scene.machine.record().generation(), generation);  // it was no member any more
  EXPECT_EQ(NextSlots(scene, b), "0-3");
  EXPECT_FALSE(scene.machine.has_ended());
}

TEST(JobRegroupTest, ADrainedGangThatDiesInItsLastStepDoesNotHoldUpTheOthers) {
  Scene scene(WithSlots(4));
  const int64_t a = scene.AddGang(0);
  const int64_t b = scene.AddGang(-1);
  scene.Work();
  scene.Work();
  EXPECT_THAT(scene.Drain(a), IsOk());
  scene.Disconnect(a);
  EXPECT_EQ(NextSlots(scene, b), "0-3");
  EXPECT_EQ(scene.NextPlan(b).step(), 3);
}

TEST(JobRegroupTest, TheLastGangThatAsksToGoSavesFirst) {
  Scene scene(WithSlots(4));
  const int64_t a = scene.AddGang(0);
  GangMessage message;
  message.mutable_leave_request()->set_reason("SIGTERM");
  scene.Say(a, message);
  EXPECT_TRUE(scene.gangs.at(a).stop->save());
  scene.Work();
  scene.Work();
  EXPECT_THAT(scene.PlannedSteps(a), IsEmpty());  // no new leases
  scene.Say(a, CheckpointMessage(1, 2));
  scene.Say(a, LeaveMessage(Leave::PREEMPTED, "", 2));
  EXPECT_EQ(scene.machine.state(), WAITING);
  EXPECT_FALSE(scene.machine.has_ended());
}

TEST(JobRegroupTest, TroubleRegroupsTheSameMembers) {
  Scene scene(WithSlots(4));
  const int64_t a = scene.AddGang(0);
  const int64_t b = scene.AddGang(-1);
  scene.Work();
  scene.Work();
  GangMessage trouble;
  trouble.mutable_trouble()->set_generation(1);  // an older one
  scene.Say(b, trouble);
  EXPECT_EQ(scene.machine.record().generation(), 2);
  trouble.mutable_trouble()->set_generation(2);
  trouble.mutable_trouble()->set_error("gang 1 is gone");
  scene.gangs.at(a).held = Range(0, 1);
  scene.Say(b, trouble);
  EXPECT_EQ(scene.machine.record().generation(), 3);
  EXPECT_EQ(scene.gangs.at(b).world->members_size(), 2);
  EXPECT_EQ(NextSlots(scene, a), "0-1");
}

// `gang` says that no connection to `other` came to stand in the newest generation.
void MissEachOther(Scene& scene, int64_t gang, int64_t other) {
  GangMessage trouble;
  trouble.mutable_trouble()->set_generation(scene.machine.record().generation());
  trouble.mutable_trouble()->set_error("these did not come in time");
  trouble.mutable_trouble()->add_unreached(other);
  scene.Say(gang, trouble);
  scene.Tick(absl::Seconds(1));  // tries that come fast are put off
}

TEST(JobRegroupTest, OfTwoThatCannotConnectTheLaterIsSentAwayAfterThreeTries) {
  Scene scene(WithSlots(6));
  const int64_t a = scene.AddGang(0);
  const int64_t b = scene.AddGang(-1);
  const int64_t c = scene.AddGang(-1);
  MissEachOther(scene, a, c);
  MissEachOther(scene, c, a);
  EXPECT_TRUE(scene.gangs.contains(c));
  MissEachOther(scene, a, c);
  ASSERT_FALSE(scene.gangs.contains(c));
  EXPECT_THAT(scene.closed.at(c), StatusIs(kPrecondition, HasSubstr("could not connect")));
  EXPECT_EQ(scene.gangs.at(a).world->members_size(), 2);
  scene.Work();
  EXPECT_GT(scene.machine.record().committed_step(), 0);
  EXPECT_TRUE(scene.gangs.contains(b));
}

TEST(JobRegroupTest, TriesBeforeACommitOrOfTheSameGenerationDoNotCount) {
  Scene scene(WithSlots(6));
  const int64_t a = scene.AddGang(0);
  const int64_t b = scene.AddGang(-1);
  for (int round = 0; round < 3; ++round) {
    MissEachOther(scene, a, b);
    MissEachOther(scene, b, a);
    scene.Work();
  }
  scene.answers = false;  // no generation is formed anymore
  for (int time = 0; time < 5; ++time) {
    GangMessage trouble;
    trouble.mutable_trouble()->set_generation(scene.machine.record().generation());
    trouble.mutable_trouble()->add_unreached(time % 2 == 0 ? b : a);
    scene.Say(time % 2 == 0 ? a : b, trouble);
  }
  EXPECT_THAT(scene.closed, IsEmpty());
}

TEST(JobRegroupTest, AMemberThatIgnoresARegroupIsDroppedSoonAndOneThatIsHeardIsNot) {
  Scene scene(WithSlots(4));
  const int64_t a = scene.AddGang(0);
  const int64_t b = scene.AddGang(-1);
  scene.Work();
  scene.Work();
  scene.answers = false;
  GangMessage trouble;
  trouble.mutable_trouble()->set_generation(2);
  scene.Say(a, trouble);
  GangMessage heartbeat;
  heartbeat.mutable_heartbeat();
  scene.Say(a, heartbeat);
  scene.Tick(absl::Seconds(1.3));  // a quarter of 5 s
  EXPECT_EQ(scene.ClosedWith(b)->code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(scene.ClosedWith(a).has_value());
}

TEST(JobRegroupTest, ARestartWaitsForAllGangsAndTakesWhatTheyDidMeanwhile) {
  Scene scene(WithSlots(4));
  const int64_t a = scene.AddGang(0);
  const int64_t b = scene.AddGang(-1);
  scene.Work();
  scene.Work();
  const Plan plan_a = scene.NextPlan(a);
  const Plan plan_b = scene.NextPlan(b);
  scene.Restart();
  EXPECT_EQ(scene.machine.state(), WAITING);
  EXPECT_EQ(scene.machine.status().gangs(0).phase(), GangStatus::SILENT);
  scene.answers = false;
  scene.AddGang(-1, a);
  EXPECT_FALSE(scene.gangs.at(a).regroup.has_value());
  scene.AddGang(-1, b);
  ASSERT_TRUE(scene.gangs.at(a).regroup.has_value());
  EXPECT_EQ(scene.gangs.at(a).regroup->after_step(), -1);
  scene.answers = true;
  // They did step 3 together while no coordinator was there.
  for (const auto& [gang, plan] : {std::pair(a, plan_a), std::pair(b, plan_b)}) {
    scene.gangs.at(gang).step = 3;
    scene.gangs.at(gang).was_loaded = false;
    scene.gangs.at(gang).unsettled = {StepMessage(scene.job, plan).step()};
    scene.AnswerRegroup(gang);
  }
  EXPECT_EQ(scene.machine.record().committed_step(), 3);
  EXPECT_EQ(scene.gangs.at(a).world->step(), 3);
  EXPECT_EQ(scene.NextPlan(a).step(), 4);
}

TEST(JobRegroupTest, AReportThatCrossesTheRegroupAfterARestartIsNoOffence) {
  Scene scene(WithSlots(4));
  const int64_t gang = scene.AddGang(0);
  scene.Work();
  const Plan plan = scene.NextPlan(gang);
  scene.Restart();
  scene.answers = false;
  scene.AddGang(-1, gang);
  ASSERT_TRUE(scene.gangs.at(gang).regroup.has_value());
  scene.Say(gang, StepMessage(scene.job, plan));  // it has not seen the regroup yet
  ASSERT_TRUE(scene.gangs.contains(gang));
  scene.answers = true;
  scene.gangs.at(gang).step = plan.step();
  scene.gangs.at(gang).was_loaded = false;
  scene.gangs.at(gang).unsettled = {StepMessage(scene.job, plan).step()};
  scene.AnswerRegroup(gang);
  EXPECT_EQ(scene.machine.record().committed_step(), plan.step());
}

TEST(JobRegroupTest, ARestartGoesOnWithoutThoseWhoDoNotComeBack) {
  Scene scene(WithSlots(4));
  const int64_t a = scene.AddGang(0);
  scene.AddGang(-1);
  scene.Work();
  scene.Work();
  scene.Restart();
  scene.AddGang(2, a);
  scene.Tick(absl::Seconds(4.9));
  EXPECT_FALSE(scene.gangs.at(a).world.has_value());
  scene.Tick(absl::Seconds(0.1));
  EXPECT_EQ(scene.gangs.at(a).world->members_size(), 1);
  EXPECT_EQ(NextSlots(scene, a), "0-3");
}

TEST(JobRegroupTest, AGangThatComesBackReplacesItsOldConnection) {
  Scene scene(WithSlots(4));
  const int64_t a = scene.AddGang(0);
  const int64_t b = scene.AddGang(-1);
  scene.Work();
  scene.Work();
  EXPECT_EQ(scene.AddGang(2, b), b);
  EXPECT_EQ(scene.machine.status().gangs_size(), 2);
  EXPECT_EQ(scene.gangs.at(a).world->members_size(), 2);
  EXPECT_EQ(scene.gangs.at(a).world->generation(), 3);
}

TEST(JobRegroupTest, WithoutAnyStateTheNewestCheckpointIsLoadedAndLaterStepsAreVoid) {
  Scene scene(WithSlots(4));
  const int64_t a = scene.AddGang(0);
  for (int step = 1; step <= 6; ++step) scene.Work();
  scene.Disconnect(a);
  const int64_t b = scene.AddGang(-1);
  EXPECT_EQ(scene.gangs.at(b).world->step(), 4);
  EXPECT_EQ(scene.machine.record().committed_step(), 4);
  EXPECT_EQ(scene.machine.record().ExpectedFingerprint(6), FingerprintOf(6));
  EXPECT_EQ(scene.NextPlan(b).step(), 5);
}

TEST(JobRegroupTest, WeightsThatAreNotThoseOfTheirStepAreLeftOut) {
  Scene scene(WithSlots(4));
  const int64_t a = scene.AddGang(0);
  scene.answers = false;
  const int64_t b = scene.AddGang(-1);
  scene.Work();
  scene.Work();
  scene.answers = true;
  GangMessage message = ReadyMessage(scene.machine.record().generation(), 1);
  message.mutable_ready()->set_fingerprint("odd");
  scene.Say(b, message);
  scene.AnswerRegroup(a);
  EXPECT_THAT(scene.ClosedWith(b).value_or(absl::OkStatus()),
              StatusIs(kPrecondition, HasSubstr("the fingerprint of the weights after step 1 "
                                                "differs: the job has ")));
  EXPECT_EQ(scene.gangs.at(a).world->members_size(), 1);
}

TEST(JobRegroupTest, TheMajorityIsRightAboutTheWeights) {
  Scene scene(WithSlots(6));
  scene.AddGang(0);
  scene.AddGang(-1);
  scene.Work();
  scene.Work();
  scene.AddGang(-1);
  scene.Work();
  scene.Work();
  scene.Report(1);
  scene.Report(3);
  GangMessage wrong = StepMessage(scene.job, scene.NextPlan(2));
  wrong.mutable_step()->set_fingerprint("bad");
  scene.Say(2, wrong);
  EXPECT_EQ(scene.ClosedWith(2)->code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(scene.machine.record().committed_step(), 5);
  EXPECT_EQ(scene.gangs.at(1).world->members_size(), 2);
  EXPECT_EQ(scene.machine.state(), RUNNING);
}

TEST(JobRegroupTest, TwoGangsWithDifferentWeightsFailTheJobAndBothAreNamed) {
  Scene scene(WithSlots(4));
  scene.AddGang(0);
  scene.AddGang(-1);
  scene.Work();
  scene.Work();
  scene.Report(1);
  GangMessage wrong = StepMessage(scene.job, scene.NextPlan(2));
  wrong.mutable_step()->set_fingerprint("bad");
  scene.Say(2, wrong);
  EXPECT_EQ(scene.machine.state(), FAILED);
  EXPECT_THAT(scene.machine.status().error(), HasSubstr("bad of gang 2"));
  EXPECT_THAT(scene.machine.status().error(), HasSubstr("of gang 1"));
}

TEST(JobRegroupTest, AStopIsCarriedOutByAllAndSavedByOne) {
  Scene scene(WithSlots(4));
  const int64_t a = scene.AddGang(0);
  const int64_t b = scene.AddGang(-1);
  scene.Work();
  scene.Work();
  EXPECT_EQ(*scene.Ask(Verb::kStop), "stopping after step 4");
  EXPECT_TRUE(scene.gangs.at(a).stop->save());
  EXPECT_FALSE(scene.gangs.at(b).stop->save());
  scene.Work();
  scene.Work();
  const int64_t generation = scene.machine.record().generation();
  scene.Say(b, LeaveMessage(Leave::STOPPED, "", 4));
  EXPECT_EQ(scene.machine.record().generation(), generation);  // a is not disturbed
  EXPECT_FALSE(scene.machine.has_ended());
  scene.Say(a, LeaveMessage(Leave::STOPPED, "", 4));
  EXPECT_TRUE(scene.machine.has_ended());
}

TEST(JobRegroupTest, ADeathDuringAStopKeepsTheIntention) {
  Scene scene(WithSlots(4));
  const int64_t a = scene.AddGang(0);
  const int64_t b = scene.AddGang(-1);
  scene.Work();
  scene.Work();
  EXPECT_THAT(scene.Ask(Verb::kStop), IsOk());
  scene.gangs.at(b).stop.reset();
  scene.Disconnect(a);
  EXPECT_TRUE(scene.gangs.at(b).stop->save());
  EXPECT_THAT(scene.PlannedSteps(b), IsEmpty());
}

TEST(JobRegroupTest, AnotherWriterSavesTheLastStepIfTheFirstDies) {
  Scene scene;  // 7 steps of 2 slots
  const int64_t a = scene.AddGang(0);
  const int64_t b = scene.AddGang(-1);
  for (int step = 1; step <= 6; ++step) scene.Work();
  scene.Report(b);
  scene.Say(a, StepMessage(scene.job, scene.NextPlan(a)));
  ASSERT_EQ(scene.machine.record().committed_step(), 7);
  scene.Disconnect(a);
  ASSERT_EQ(scene.gangs.at(b).others.size(), 1u);
  EXPECT_TRUE(scene.gangs.at(b).others[0].has_save_checkpoint());
  scene.Say(b, CheckpointMessage(3, 7));
  EXPECT_EQ(scene.machine.state(), DONE);
  EXPECT_EQ(scene.gangs.at(b).stop->reason(), "the job is done");
}

TEST(JobRegroupTest, AnErrorOfOneGangOfSeveralDropsItAndOneOfTheJobFailsIt) {
  for (const int exit_code : {1, 5}) {
    Scene scene(WithSlots(4));
    const int64_t a = scene.AddGang(0);
    const int64_t b = scene.AddGang(-1);
    scene.Work();
    scene.Work();
    GangMessage message = LeaveMessage(Leave::ERROR, "out of luck");
    message.mutable_leave()->set_exit_code(exit_code);
    scene.Say(b, message);
    EXPECT_EQ(scene.machine.state(), exit_code == 5 ? FAILED : RUNNING);
    EXPECT_EQ(scene.ClosedWith(a).has_value(), exit_code == 5);
  }
}

}  // namespace
}  // namespace liquid
