// Gangs that are stuck in a slot while the others wait.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "tests/coordinator/scene.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::ReadyMessage;
using ::liquid::testing::Scene;
using ::testing::HasSubstr;
using ::testing::StartsWith;

GangMessage ProgressMessage(int64_t generation, int64_t step, int slots_left) {
  GangMessage message;
  Progress& progress = *message.mutable_progress();
  progress.set_generation(generation);
  progress.set_step(step);
  progress.set_slots_left(slots_left);
  return message;
}

// Gangs 1 to `num_gangs` work, step 3 is at hand, and a slot takes 0.2 s: two ranks, 10 slots/s.
class JobHedgeTest : public ::testing::Test {
 protected:
  explicit JobHedgeTest(const std::vector<std::string>& more = {}) : scene_(With(more)) {}

  static std::vector<std::string> With(const std::vector<std::string>& more) {
    std::vector<std::string> overrides = {"training.slots_per_step=6", "training.rows_per_slot=1",
                                          "training.epochs=40", "checkpoint.every_steps=1000"};
    overrides.insert(overrides.end(), more.begin(), more.end());
    return overrides;
  }

  void Begin(int num_gangs) {
    scene_.AddGang(0);
    for (int i = 1; i < num_gangs; ++i) scene_.AddGang(-1);
    while (generation() < num_gangs || !AllWork(num_gangs)) scene_.Work();
    scene_.Work();
    step_ = scene_.machine.record().committed_step() + 1;
  }
  bool AllWork(int num_gangs) {
    return scene_.NextPlan(1).generation() == generation() &&
           scene_.gangs.at(1).world->members_size() == num_gangs;
  }
  int64_t generation() const { return scene_.machine.record().generation(); }
  void IsDone(int64_t gang) { scene_.Say(gang, ProgressMessage(generation(), step_, 0)); }
  // Time passes, and everybody sends heartbeats.
  void Pass(absl::Duration time) {
    GangMessage heartbeat;
    heartbeat.mutable_heartbeat();
    for (; time > absl::ZeroDuration(); time -= absl::Milliseconds(500)) {
      for (const auto& [number, gang] : scene_.gangs) {
        scene_.machine.OnMessage(number, heartbeat, scene_.now, &scene_.actions);
      }
      scene_.Tick(std::min(time, absl::Milliseconds(500)));
    }
  }
  std::string LastReason() const {
    std::string reason;
    for (const LedgerEntry& entry : scene_.Entries()) {
      if (entry.has_generation()) reason = entry.generation().reason();
    }
    return reason;
  }

  Scene scene_;
  int64_t step_ = 0;
};

TEST_F(JobHedgeTest, TheOthersDoTheStuckGangsSlotsAndKeepTheirOwn) {
  Begin(3);
  const int64_t before = generation();
  ASSERT_EQ(Scene::Slots(scene_.NextPlan(2).slots()), "2-3");
  scene_.stuck = {2};
  scene_.gangs.at(1).held = SlotSet(0, 2).ToRanges();
  scene_.gangs.at(3).held = SlotSet(4, 6).ToRanges();
  IsDone(1);
  IsDone(3);
  Pass(absl::Seconds(1));
  EXPECT_EQ(generation(), before) << "not yet";
  Pass(absl::Seconds(0.5));
  EXPECT_EQ(generation(), before + 1);
  EXPECT_THAT(LastReason(), StartsWith("hedge: gang 2 (host:1, 2 ranks) is stuck in a slot of"));
  EXPECT_EQ(scene_.gangs.at(1).world->members_size(), 2);
  EXPECT_EQ(Scene::Slots(scene_.NextPlan(1).slots()), "0-2");
  EXPECT_EQ(Scene::Slots(scene_.NextPlan(3).slots()), "3-5");
  EXPECT_EQ(scene_.machine.status().gangs(1).phase(), GangStatus::STUCK);
  EXPECT_EQ(scene_.gangs.at(2).regroup->generation(), generation());
  scene_.gangs.at(1).held.Clear();
  scene_.gangs.at(3).held.Clear();
  scene_.Report(1);
  scene_.Report(3);
  EXPECT_EQ(scene_.machine.record().committed_step(), step_);
}

TEST_F(JobHedgeTest, AGangThatAnswersComesBackAtABoundaryAndReceivesTheState) {
  Begin(2);
  scene_.stuck = {2};
  IsDone(1);
  Pass(absl::Seconds(1.5));
  scene_.Report(1);
  scene_.gangs.at(2).held = SlotSet(3, 6).ToRanges();  // stale: never added
  scene_.stuck.clear();
  scene_.AnswerRegroup(2);
  EXPECT_THAT(LastReason(), HasSubstr("gang 2 (host:1, 2 ranks) is no longer stuck"));
  EXPECT_GE(scene_.gangs.at(1).regroup->after_step(), step_ + 1);
  const int64_t boundary = scene_.gangs.at(1).regroup->after_step();
  while (scene_.machine.record().committed_step() < boundary) scene_.Report(1);
  const World& world = *scene_.gangs.at(2).world;
  EXPECT_EQ(world.step(), boundary);
  EXPECT_EQ(world.members_size(), 2);
  EXPECT_FALSE(world.members(1).has_state());
  EXPECT_EQ(scene_.gangs.at(2).plans.begin()->second.slots_size(), 1) << "a slot, to be measured";
}

TEST_F(JobHedgeTest, AGangThatAnswersBeforeTheOthersDoKeepsItsSlots) {
  Begin(2);
  scene_.answers = false;
  IsDone(1);
  Pass(absl::Seconds(1.5));
  scene_.answers = true;
  scene_.gangs.at(2).held = SlotSet(3, 6).ToRanges();
  scene_.AnswerRegroup(2);
  scene_.AnswerRegroup(1);
  EXPECT_EQ(scene_.gangs.at(1).world->members_size(), 2);
  EXPECT_TRUE(scene_.gangs.at(1).world->members(1).has_state());
  EXPECT_EQ(Scene::Slots(scene_.NextPlan(2).slots()), "3-5");
}

TEST_F(JobHedgeTest, AGangThatTellsOfProgressOrIsOneOfManyIsWaitedFor) {
  Begin(3);
  const int64_t before = generation();
  IsDone(1);
  Pass(absl::Seconds(3));  // two of three are not done
  IsDone(3);
  for (int i = 0; i < 5; ++i) {
    Pass(absl::Seconds(0.9));
    scene_.Say(2, ProgressMessage(generation(), step_, 1));
  }
  EXPECT_EQ(generation(), before);
  scene_.stuck = {2};
  Pass(absl::Seconds(1.5));
  EXPECT_EQ(generation(), before + 1);
}

// The first gang answers samples of the eval data after every step.
class AnsweringGangTest : public JobHedgeTest {
 protected:
  AnsweringGangTest()
      : JobHedgeTest(
            {"data.eval=[/e.jsonl]", "training.eval_every_steps=1", "training.eval_samples=9"}) {}
};

TEST_F(AnsweringGangTest, IsWaitedForUntilItIsAtItsSlotsAgain) {
  Begin(2);
  const int64_t before = generation();
  IsDone(2);
  Pass(absl::Seconds(5));
  EXPECT_EQ(generation(), before);
  scene_.Say(1, ProgressMessage(generation(), step_, 2));
  scene_.stuck = {1};
  Pass(absl::Seconds(1.5));
  EXPECT_EQ(generation(), before + 1) << "stuck in a slot";
}

// It has done the step that others have not reported yet, and a regroup begins.
TEST_F(AnsweringGangTest, IsWaitedForInARegroupToo) {
  Begin(3);
  const int64_t before = generation();
  scene_.stuck = {1};  // it answers, and so no orders
  scene_.Report(1);
  scene_.Disconnect(3);
  EXPECT_EQ(generation(), before + 1);
  Pass(absl::Seconds(5));
  EXPECT_EQ(generation(), before + 1);
}

TEST_F(AnsweringGangTest, AGangThatAnswersNothingIsNotWaitedFor) {
  Begin(2);
  const int64_t before = generation();
  scene_.stuck = {2};
  IsDone(1);
  Pass(absl::Seconds(1.5));
  EXPECT_EQ(generation(), before + 1);
}

TEST_F(JobHedgeTest, ASlowGangIsNotStuckHowOftenTheOthersMayWaitForIt) {
  Begin(2);
  const int64_t before = generation();
  for (int round = 0; round < 20; ++round) {
    step_ = scene_.machine.record().committed_step() + 1;
    IsDone(1);
    GangMessage slow = ProgressMessage(generation(), step_, 1);
    slow.mutable_progress()->set_slots_per_second(2);  // five times slower: a slot takes 1 s
    scene_.Say(2, slow);
    Pass(absl::Seconds(3));  // far more than the others' slots would ask for
    ASSERT_EQ(generation(), before) << "round " << round;
    scene_.Work();
  }
}

TEST_F(JobHedgeTest, TheSpeedOfAGangThatIsBackIsMeasuredAnew) {
  Begin(2);
  scene_.stuck = {2};
  IsDone(1);
  Pass(absl::Seconds(1.5));
  scene_.stuck.clear();
  scene_.AnswerRegroup(2);
  while (scene_.gangs.at(2).plans.empty()) scene_.Report(1);
  scene_.Report(1);  // the step that begins with the state's transfer
  scene_.Report(2);
  EXPECT_NEAR(scene_.machine.status().gangs(1).slots_per_second(), 10, 0.1)
      << "not averaged with the guess";
}

TEST_F(JobHedgeTest, TheStateOfTheLastGangIsNotGivenUpThoughItIsStuck) {
  Begin(2);
  scene_.stuck = {2};
  IsDone(1);
  Pass(absl::Seconds(1.5));
  ASSERT_EQ(scene_.machine.status().gangs(1).phase(), GangStatus::STUCK);
  // Whoever has the state dies: the stuck one is the last that has it.
  scene_.Disconnect(1);
  EXPECT_EQ(scene_.gangs.at(2).regroup->generation(), generation());
  scene_.stuck.clear();
  scene_.AnswerRegroup(2);
  EXPECT_EQ(scene_.NextPlan(2).step(), step_);
  EXPECT_EQ(scene_.machine.record().committed_step(), step_ - 1);
}

TEST_F(JobHedgeTest, AStuckGangThatFallsSilentIsDroppedAndThatIsSaid) {
  Begin(2);
  scene_.stuck = {2};
  IsDone(1);
  Pass(absl::Seconds(1.5));
  const int64_t before = generation();
  GangMessage heartbeat;
  heartbeat.mutable_heartbeat();
  for (int i = 0; i < 6; ++i) {
    scene_.Say(1, heartbeat);
    scene_.Tick(absl::Seconds(1));
  }
  ASSERT_FALSE(scene_.gangs.contains(2));
  EXPECT_EQ(generation(), before) << "nobody has to regroup for it";
  std::string said;
  for (const Action& action : scene_.actions) {
    if (action.kind == Action::Kind::kWarn) said += action.text;
  }
  EXPECT_THAT(said, HasSubstr("gang 2 (host:1, 2 ranks) left: no heartbeat for"));
}

TEST_F(JobHedgeTest, ARegroupDoesNotWaitForAStuckGangEither) {
  Begin(3);
  const int64_t before = generation();
  scene_.stuck = {2};
  scene_.Disconnect(3);
  EXPECT_EQ(generation(), before + 1);
  EXPECT_FALSE(scene_.gangs.at(1).plans.contains(step_)) << "gang 2 has not answered";
  Pass(absl::Seconds(1.5));
  EXPECT_EQ(generation(), before + 2);
  EXPECT_EQ(scene_.gangs.at(1).world->members_size(), 1);
  EXPECT_EQ(scene_.NextPlan(1).step(), step_);
}

}  // namespace
}  // namespace liquid
