#include "worker/step_slots.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::StatusIs;

Plan MakePlan(int64_t step, int begin, int end, int64_t generation = 1) {
  Plan plan;
  plan.set_generation(generation);
  plan.set_step(step);
  plan.add_slots()->set_begin(begin);
  plan.mutable_slots(0)->set_end(end);
  return plan;
}

SlotRanges Range(int begin, int end) { return SlotSet(begin, end).ToRanges(); }

void DoAll(StepSlots* slots) {
  for (const StepSlots::Task& task : slots->Begin(100)) slots->Done(task, "d");
}

TEST(StepSlotsTest, APlanOfTheSameStepAddsToWhatIsDone) {
  StepSlots slots(8);
  EXPECT_TRUE(*slots.Take(MakePlan(3, 0, 4)));
  for (const StepSlots::Task& task : slots.Begin(2)) slots.Done(task, "");
  EXPECT_TRUE(*slots.Take(MakePlan(3, 0, 6)));
  EXPECT_EQ(slots.num_left(), 4);
  DoAll(&slots);
  EXPECT_EQ(slots.done(), (SlotSet(0, 6)));
}

TEST(StepSlotsTest, APlanWithoutWhatIsDoneForgetsAllOfIt) {
  StepSlots slots(8);
  EXPECT_TRUE(*slots.Take(MakePlan(3, 0, 4)));
  DoAll(&slots);
  EXPECT_FALSE(*slots.Take(MakePlan(3, 1, 8, 2)));
  EXPECT_TRUE(slots.done().empty());
  EXPECT_EQ(slots.num_left(), 7);
}

TEST(StepSlotsTest, APlanOfANewGenerationCanAskForAllOfItAnew) {
  StepSlots slots(8);
  EXPECT_TRUE(*slots.Take(MakePlan(3, 0, 4)));
  DoAll(&slots);
  Plan anew = MakePlan(3, 0, 4, /*generation=*/2);
  anew.set_anew(true);
  EXPECT_FALSE(*slots.Take(anew));
  EXPECT_EQ(slots.num_left(), 4);
  DoAll(&slots);
  anew.mutable_slots(0)->set_end(6);  // a steal within the generation
  EXPECT_TRUE(*slots.Take(anew));
  EXPECT_EQ(slots.num_left(), 2);
}

TEST(StepSlotsTest, OnlyWhatIsNotBegunIsGivenBack) {
  StepSlots slots(8);
  ASSERT_TRUE(slots.Take(MakePlan(3, 0, 6)).ok());
  slots.Begin(3);  // 0, 1 and 2
  const SlotRanges given = slots.GiveBack(3, Range(2, 5));
  ASSERT_EQ(given.size(), 1);
  EXPECT_EQ(given[0].begin(), 3);
  EXPECT_EQ(given[0].end(), 5);
  EXPECT_EQ(slots.num_left(), 1);
  EXPECT_EQ(slots.GiveBack(4, Range(5, 6)).size(), 0) << "of another step";
  EXPECT_EQ(slots.num_left(), 1);
}

TEST(StepSlotsTest, AuditedSlotsComeLastAndAreNotCounted) {
  StepSlots slots(8);
  Plan plan = MakePlan(1, 4, 6);
  plan.add_audit_slots(0);
  plan.add_digest_slots(5);
  ASSERT_TRUE(slots.Take(plan).ok());
  const auto tasks = slots.Begin(8);
  ASSERT_EQ(tasks.size(), 3u);
  EXPECT_EQ(tasks[2].slot, 0);
  EXPECT_FALSE(tasks[2].counts);
  for (const auto& task : tasks) slots.Done(task, absl::StrCat("d", task.slot));
  const SlotsDone message = slots.ToMessage();
  EXPECT_EQ(slots.done(), (SlotSet(4, 6)));
  EXPECT_EQ(message.digests().size(), 2u);
  EXPECT_EQ(message.digests().at(0), "d0");
  EXPECT_EQ(message.digests().at(5), "d5");
}

TEST(StepSlotsTest, DigestsOutliveTheirGenerationAndAreGivenAsFarAsTheyAreWanted) {
  StepSlots slots(8);
  Plan plan = MakePlan(1, 0, 2);
  plan.add_digest_slots(1);
  ASSERT_TRUE(slots.Take(plan).ok());
  DoAll(&slots);
  EXPECT_TRUE(*slots.Take(MakePlan(1, 0, 4, 2)));
  EXPECT_EQ(slots.ToMessage().digests().size(), 0u);
  EXPECT_EQ(slots.done().size(), 2);
  Plan again = MakePlan(1, 0, 2, 3);
  again.add_digest_slots(0);  // done when nobody wanted it: it is computed for its digest alone
  again.add_digest_slots(1);
  ASSERT_TRUE(*slots.Take(again));
  ASSERT_EQ(slots.num_left(), 1);
  EXPECT_EQ(slots.ToMessage().digests().size(), 1u);
  const auto tasks = slots.Begin(1);
  EXPECT_EQ(tasks[0].slot, 0);
  EXPECT_FALSE(tasks[0].counts);
  slots.Done(tasks[0], "d");
  EXPECT_EQ(slots.ToMessage().digests().size(), 2u);
}

TEST(StepSlotsTest, AnOwnerDoesNotAuditItself) {
  StepSlots slots(8);
  Plan plan = MakePlan(1, 0, 2);
  plan.add_audit_slots(1);
  EXPECT_THAT(slots.Take(plan), StatusIs(absl::StatusCode::kInvalidArgument, ::testing::_));
}

TEST(StepSlotsTest, APlanThatCannotBeChangesNothing) {
  StepSlots slots(8);
  ASSERT_TRUE(slots.Take(MakePlan(3, 0, 4)).ok());
  DoAll(&slots);
  Plan twice = MakePlan(3, 0, 4);
  twice.add_slots()->set_begin(3);
  twice.mutable_slots(1)->set_end(5);
  const int huge = std::numeric_limits<int>::max();
  for (const Plan& plan :
       {MakePlan(3, 0, 9), MakePlan(3, -1, 4), MakePlan(3, 4, 4), MakePlan(3, 5, 3),
        MakePlan(3, 0, huge), MakePlan(3, -huge, huge), twice}) {
    EXPECT_THAT(slots.Take(plan),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         ::testing::HasSubstr("the plan of step 3 has the slots")))
        << plan.ShortDebugString();
    EXPECT_EQ(slots.done(), SlotSet(0, 4));
  }
}

TEST(StepSlotsTest, RangesThatCannotBeGiveNothingBack) {
  StepSlots slots(8);
  ASSERT_TRUE(slots.Take(MakePlan(3, 0, 6)).ok());
  SlotRanges backwards;
  backwards.Add()->set_begin(5);
  EXPECT_EQ(slots.GiveBack(3, backwards).size(), 0);
  EXPECT_EQ(slots.num_left(), 6);
  EXPECT_EQ(slots.GiveBack(3, Range(4, std::numeric_limits<int>::max())).size(), 1);
  EXPECT_EQ(slots.num_left(), 4) << "as far as the ranges meet what is not begun";
}

}  // namespace
}  // namespace liquid
