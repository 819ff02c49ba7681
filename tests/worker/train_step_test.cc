// One theorem, many instances: the state after some steps does not depend on how many ranks made
// them, nor on how the slots were dealt. Ranks are threads here.
#include "worker/train_step.h"

#include <thread>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "kernels/cpu/team.h"
#include "parallel/thread/thread_communicator.h"
#include "tests/worker/step_job.h"
#include "worker/planned_step.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::testing::HasSubstr;

class TrainStepTest : public testing::StepJob {};

TEST_F(TrainStepTest, AnyNumberOfRanksAndAnyOrderOfSlotsGiveTheSameBits) {
  const Outcome reference = TrainOn(1);
  ASSERT_EQ(reference.fingerprints.size(), 20u);  // ceil(79.2 -> 80 rows / 4)
  EXPECT_LT(reference.losses.back(), reference.losses.front());
  for (int ranks = 2; ranks <= 6; ++ranks) {  // with 5 and 6 some have nothing to do
    EXPECT_EQ(TrainOn(ranks).fingerprints, reference.fingerprints) << ranks << " ranks";
  }
  EXPECT_EQ(TrainOn(3, {{2, 4}, {0, 1}, {1, 2}}).fingerprints, reference.fingerprints);
}

TEST_F(TrainStepTest, AnyNumberOfGangsAndAnyLeasesGiveTheSameBits) {
  const Outcome reference = TrainOn(1);
  const std::vector<std::vector<Ranges>> leases = {
      {{{0, 2}}, {{2, 4}}},
      {{{1, 4}}, {{0, 1}}},
      {{{3, 4}, {0, 1}}, {{1, 2}}, {{2, 3}}},
      {{{0, 4}}, {}},  // one does nothing
  };
  for (const auto& gangs : leases) {
    for (int ranks = 1; ranks <= 2; ++ranks) {
      EXPECT_EQ(TrainIn(gangs, ranks).fingerprints, reference.fingerprints)
          << gangs.size() << " gangs of " << ranks;
    }
  }
}

TEST_F(TrainStepTest, InBf16AnyNumberOfRanksAndGangsGiveTheSameBitsAndAboutTheLossesOfFp32) {
  const Outcome exact = TrainOn(1);
  job_.mutable_training()->set_precision("bf16");
  const Outcome reference = TrainOn(1);
  ASSERT_EQ(reference.losses.size(), exact.losses.size());
  for (size_t i = 0; i < exact.losses.size(); ++i) {
    EXPECT_NEAR(reference.losses[i], exact.losses[i], 0.01 * exact.losses[i]) << "step " << i + 1;
  }
  EXPECT_NE(reference.fingerprints, exact.fingerprints);
  for (int ranks = 2; ranks <= 4; ++ranks) {
    EXPECT_EQ(TrainOn(ranks).fingerprints, reference.fingerprints) << ranks << " ranks";
  }
  EXPECT_EQ(TrainIn({{{1, 4}}, {{0, 1}}}, 2).fingerprints, reference.fingerprints);
  job_.mutable_model()->set_tensor_parallel(2);
  job_.mutable_model()->set_sequence_parallel(true);
  const Outcome spread = TrainOn(2);
  EXPECT_EQ(TrainOn(4).fingerprints, spread.fingerprints) << "two replicas";
  for (size_t i = 0; i < exact.losses.size(); ++i) {
    EXPECT_NEAR(spread.losses[i], exact.losses[i], 0.01 * exact.losses[i]) << "step " << i + 1;
  }
}

// Updates far below a weight's last place must add up.
TEST_F(TrainStepTest, InBf16TheMasterWeightsKeepWhatRoundingDropsAndTheWeightsAreThoseRounded) {
  job_.mutable_training()->set_precision("bf16");
  job_.mutable_optimizer()->set_learning_rate(1e-5);
  auto world = CreateThreadWorld(1, absl::Seconds(60));
  Rank rank(*this, *world[0]);
  const auto copy = [](const TensorView& view) {
    const auto* bytes = static_cast<const char*>(view.data);
    return std::string(bytes, bytes + view.NumBytes());
  };
  const std::string before = copy(rank.state.own_weights());
  ASSERT_TRUE(rank.Compute(MakePlan(1, {{0, 4}})).ok());
  ASSERT_THAT(rank.step.Finish(nullptr), IsOk());
  EXPECT_NE(copy(rank.state.own_weights()), before);
  const TensorView weights = rank.model->weights();
  const TensorView master = rank.state.own_weights();
  const auto* rounded = static_cast<const BFloat16*>(weights.data);
  int64_t num_between = 0;
  for (int64_t i = 0; i < weights.NumElements(); ++i) {
    ASSERT_EQ(rounded[i].bits, ToBFloat16(master.f32()[i]).bits) << i;
    num_between += ToFloat(rounded[i]) != master.f32()[i] ? 1 : 0;
  }
  EXPECT_GT(num_between, weights.NumElements() / 8);  // rows of unused tokens stay
}

// Also where a replica has nothing to do, or a slot that is audited and does not count.
TEST_F(TrainStepTest, ShardedSumsGiveTheSameBits) {
  for (const int degree : {1, 2}) {
    SCOPED_TRACE(absl::StrCat("degree ", degree));
    job_.mutable_model()->set_tensor_parallel(degree);
    job_.mutable_model()->set_sequence_parallel(true);
    job_.mutable_training()->set_shard("optimizer");
    const Outcome reference = TrainOn(degree);
    job_.mutable_training()->set_shard("gradients");
    for (int replicas = 1; replicas <= 5; ++replicas) {
      EXPECT_EQ(TrainOn(replicas * degree).fingerprints, reference.fingerprints) << replicas;
    }
    EXPECT_EQ(TrainIn({{{1, 2}}, {{0, 1}, {2, 4}}}, 2 * degree).fingerprints,
              reference.fingerprints);
  }
}

// However many replicas and gangs there are: for each tensor-parallel degree its own bits, and the
// losses of one rank.
TEST_F(TrainStepTest, TensorParallelGangsOfAnyKindGiveTheSameBitsAndTheLossesOfOneRank) {
  const Outcome alone = TrainOn(1);
  for (const int degree : {2, 4}) {
    for (const bool sequence : {true, false}) {
      SCOPED_TRACE(absl::StrCat("degree ", degree, sequence ? ", sequences spread" : ""));
      job_.mutable_model()->set_tensor_parallel(degree);
      job_.mutable_model()->set_sequence_parallel(sequence);
      const Outcome reference = TrainOn(degree);
      ASSERT_EQ(reference.fingerprints.size(), alone.fingerprints.size());
      for (size_t i = 0; i < alone.losses.size(); ++i) {
        EXPECT_NEAR(reference.losses[i], alone.losses[i], 2e-5) << "step " << i + 1;
      }
      EXPECT_NE(reference.fingerprints, alone.fingerprints);
      EXPECT_EQ(TrainOn(2 * degree).fingerprints, reference.fingerprints) << "two replicas";
      EXPECT_EQ(TrainIn({{{0, 3}}, {{3, 4}}}, degree).fingerprints, reference.fingerprints);
      EXPECT_EQ(TrainIn({{{1, 2}}, {{0, 1}, {2, 4}}}, 2 * degree).fingerprints,
                reference.fingerprints);
    }
  }
}

// What is allocated in the end against what was known before the first step.
class TrainStepMemoryTest : public TrainStepTest,
                            public ::testing::WithParamInterface<const char*> {};

TEST_P(TrainStepMemoryTest, ARankUsesTheMemoryOfItsPlan) {
  job_.mutable_training()->set_shard(GetParam());
  job_.mutable_model()->set_tensor_parallel(2);
  job_.mutable_model()->set_sequence_parallel(true);
  job_.mutable_data()->set_sequence_length(testing::kLength);
  config_.hidden_size = 64;
  config_.intermediate_size = 1024;
  auto world = CreateThreadWorld(4, absl::Seconds(60));
  std::vector<std::jthread> ranks;
  for (auto& comm : world) {
    ranks.emplace_back([&] {
      SizeTeam(/*ranks_on_machine=*/64);
      Rank rank(*this, *comm);
      const auto planned = PlanStep(
          job_, config_, {.rank = comm->rank(), .num_ranks = 4, .machine = RulesOfThisCpu()});
      ASSERT_THAT(planned, IsOk());
      const MemoryPlan& plan = planned->memory;
      ASSERT_THAT(rank.Compute(MakePlan(1, {{0, 2}})), IsOk());
      ASSERT_THAT(rank.step.Finish(nullptr), IsOk());
      ASSERT_THAT(rank.Compute(MakePlan(2, {{0, 4}})), IsOk());
      ASSERT_THAT(rank.step.Finish(nullptr), IsOk());
      EXPECT_EQ(rank.pool.allocated_bytes() + rank.model->activations().allocated_bytes() +
                    rank.ops->WorkspaceBytes(),
                plan.on_device())
          << plan.ToString();
      EXPECT_EQ(plan.optimizer, plan.weights) << "two moments, half of each on either replica";
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Sharding, TrainStepMemoryTest,
                         ::testing::Values("optimizer", "gradients"));

// The rail breaks when both have done their slots; one gang is lost, and the other one is given its
// slots: it computes those alone, and comes to the bits that all come to.
TEST_F(TrainStepTest, AfterAFailedExchangeASurvivorKeepsItsSlots) {
  const Outcome reference = TrainOn(1);
  auto worlds = CreateThreadWorld(1, absl::Seconds(10));
  auto rail = CreateThreadWorld(2, absl::Seconds(10));
  Rank survivor(*this, *worlds[0]);
  ASSERT_THAT(survivor.Compute(MakePlan(1, {{0, 3}})), IsOk());
  rail[0]->Abort(absl::UnavailableError("gang 2 is gone"));
  const Rail broken = {.hosts = rail[0].get(), .devices = rail[0].get()};
  const auto failed = survivor.step.Finish(&broken);
  ASSERT_THAT(failed, IsOk());
  EXPECT_FALSE(failed->has_value());
  EXPECT_THAT(survivor.step.exchange_failure(),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("gang 2 is gone")));
  EXPECT_EQ(survivor.state.applied_step, 0);

  ASSERT_THAT(survivor.step.Take(MakePlan(1, {{0, 4}}, /*generation=*/2)), IsOk());
  EXPECT_EQ(survivor.step.slots().num_left(), 1) << "only the lost gang's slot is computed";
  ASSERT_THAT(survivor.step.ComputeRound(), IsOk());
  const auto done = survivor.step.Finish(nullptr);
  ASSERT_THAT(done, IsOk());
  EXPECT_EQ((*done)->fingerprint(), reference.fingerprints[0]);
}

TEST_F(TrainStepTest, AHeldSlotThatIsNotPlannedStartsTheStepAnew) {
  const Outcome reference = TrainOn(1);
  auto worlds = CreateThreadWorld(1, absl::Seconds(10));
  Rank rank(*this, *worlds[0]);
  ASSERT_THAT(rank.Compute(MakePlan(1, {{0, 2}})), IsOk());
  ASSERT_THAT(rank.Compute(MakePlan(1, {{1, 4}}, 2)), IsOk());
  ASSERT_THAT(rank.Compute(MakePlan(1, {{0, 4}}, 2)), IsOk());
  const auto done = rank.step.Finish(nullptr);
  ASSERT_THAT(done, IsOk());
  EXPECT_EQ((*done)->fingerprint(), reference.fingerprints[0]);
}

TEST_F(TrainStepTest, APlanThatCannotBeIsRefused) {
  auto worlds = CreateThreadWorld(1, absl::Seconds(10));
  Rank rank(*this, *worlds[0]);
  for (const Plan& plan :
       {MakePlan(2, {{0, 4}}), MakePlan(21, {{0, 4}}), MakePlan(1, {{0, 5}}),
        MakePlan(1, {{-1, 2}}), MakePlan(1, {{0, 2}, {1, 4}}), MakePlan(1, {{3, 2}})}) {
    EXPECT_THAT(rank.step.Take(plan), StatusIs(absl::StatusCode::kInvalidArgument, ::testing::_))
        << plan.ShortDebugString();
  }
}

TEST_F(TrainStepTest, AnAuditHasTheDigestOfTheSlotAndAddsNothing) {
  const Outcome reference = TrainOn(1);
  auto worlds = CreateThreadWorld(1, absl::Seconds(10));
  Rank owner(*this, *worlds[0]);
  Rank auditor(*this, *worlds[0]);
  Plan plan = MakePlan(1, {{0, 4}});
  plan.add_digest_slots(2);
  ASSERT_THAT(owner.Compute(plan), IsOk());
  const std::string digest = owner.step.slots().ToMessage().digests().at(2);

  Plan audit = MakePlan(1, {{3, 4}});
  audit.add_audit_slots(2);
  ASSERT_THAT(auditor.Compute(audit), IsOk());
  EXPECT_EQ(auditor.step.slots().ToMessage().digests().at(2), digest);
  EXPECT_EQ(auditor.step.slots().done(), SlotSet(3, 4));
  EXPECT_EQ(*owner.step.Audit(1, 2), digest);
  EXPECT_NE(*owner.step.Audit(1, 1), digest);
  EXPECT_EQ((*owner.step.Finish(nullptr))->fingerprint(), reference.fingerprints[0]);
}

TEST_F(TrainStepTest, RecomputeChangesNoBit) {
  const Outcome reference = TrainOn(1);
  job_.mutable_model()->set_recompute("block");
  EXPECT_EQ(TrainOn(2).fingerprints, reference.fingerprints);
}

TEST_F(TrainStepTest, ASlotLeftOutWouldBeNoticed) {
  EXPECT_NE(TrainOn(2, {{0, 3}}).fingerprints, TrainOn(2).fingerprints);
}

TEST_F(TrainStepTest, FastSumsDoNotKeepThePromise) {
  job_.mutable_training()->set_gradient_sum("fast");
  EXPECT_NE(TrainOn(1).fingerprints, TrainOn(3).fingerprints);
}

TEST_F(TrainStepTest, ANonFiniteLossStopsEveryRankAndNamesTheStep) {
  job_.mutable_optimizer()->set_learning_rate(1e30);
  job_.mutable_optimizer()->set_clip_norm(0);
  const Outcome outcome = TrainOn(2);
  EXPECT_THAT(outcome.status, StatusIs(absl::StatusCode::kOutOfRange,
                                       HasSubstr("step 2: the loss or a gradient is not finite")));
  EXPECT_EQ(outcome.fingerprints.size(), 1u);
}

TEST_F(TrainStepTest, ASkippedStepLeavesTheWeights) {
  job_.mutable_training()->set_on_non_finite("skip");
  job_.mutable_optimizer()->set_learning_rate(1e30);
  job_.mutable_optimizer()->set_clip_norm(0);
  const Outcome outcome = TrainOn(2);
  EXPECT_TRUE(outcome.status.ok()) << outcome.status;
  ASSERT_EQ(outcome.fingerprints.size(), 20u);
  EXPECT_EQ(outcome.fingerprints[1], outcome.fingerprints[0]);
  EXPECT_EQ(outcome.fingerprints[6], outcome.fingerprints[0]);
}

// Data of one token alone: it is certain soon, and the loss no longer a number to train by.
TEST_F(TrainStepTest, ALossOfExactlyZeroStopsEveryRank) {
  job_.mutable_optimizer()->set_learning_rate(3);
  std::filesystem::remove(directory_ + "/rows.dataset");
  WriteRows(1, {}, /*num_tokens=*/1);
  for (const int ranks : {1, 2}) {
    const Outcome outcome = TrainOn(ranks);
    EXPECT_THAT(outcome.status,
                StatusIs(absl::StatusCode::kOutOfRange, HasSubstr(" targets is exactly 0: ")));
    ASSERT_FALSE(outcome.losses.empty());
    EXPECT_GT(outcome.losses.back(), 0);
  }
}

// The loss of a step is the mean of its targets' losses by their weights.
TEST_F(TrainStepTest, WeightsOfTargets) {
  job_.mutable_training()->set_epochs(12.0 / testing::kNumRows);
  const Outcome plain = TrainOn(1);
  // One weight for all is none.
  std::filesystem::remove(directory_ + "/rows.dataset");
  WriteRows(1, {0.5f});
  EXPECT_EQ(TrainOn(1).fingerprints, plain.fingerprints);

  std::filesystem::remove(directory_ + "/rows.dataset");
  WriteRows(2, {3.0f});
  const Outcome weighed = TrainOn(1);
  EXPECT_NE(weighed.fingerprints, plain.fingerprints);
  EXPECT_EQ(TrainOn(2).fingerprints, weighed.fingerprints);
  EXPECT_EQ(TrainIn({{{0, 1}}, {{1, 4}}}, 2).fingerprints, weighed.fingerprints);

  // So little that the other documents alone count.
  std::filesystem::remove(directory_ + "/rows.dataset");
  WriteRows(2, {1e-7f});
  const Outcome little = TrainOn(1);
  std::filesystem::remove(directory_ + "/rows.dataset");
  WriteRows(0);
  const Outcome nothing = TrainOn(1);
  ASSERT_EQ(little.losses.size(), nothing.losses.size());
  for (size_t i = 0; i < little.losses.size(); ++i) {
    EXPECT_NEAR(little.losses[i], nothing.losses[i], 1e-4);
    EXPECT_GT(std::abs(little.losses[i] - plain.losses[i]), 1e-3);
  }
}

// Loss and gradient are means over the targets of the step, not of its slots. Nor does what is
// random about a row depend on its slot.
TEST_F(TrainStepTest, ASplitOfTheSameRowsIntoSlotsChangesNoLoss) {
  job_.mutable_training()->set_epochs(4.0 / testing::kNumRows);
  for (const bool is_random : {false, true}) {
    job_.mutable_training()->set_neftune_alpha(is_random ? 5 : 0);
    std::vector<Outcome> outcomes;
    for (const int slots : {4, 2, 1}) {
      job_.mutable_training()->set_slots_per_step(slots);
      job_.mutable_training()->set_rows_per_slot(4 / slots);
      outcomes.push_back(TrainOn(1, {{0, slots}}));
      ASSERT_EQ(outcomes.back().losses.size(), 1u) << outcomes.back().status;
    }
    for (const Outcome& other : outcomes) {
      const double loss = outcomes[0].losses[0];
      const double norm = outcomes[0].gradient_norms[0];
      EXPECT_NEAR(other.losses[0], loss, 1e-6 * loss);
      EXPECT_NEAR(other.gradient_norms[0], norm, 1e-6 * norm);
    }
  }
}

}  // namespace
}  // namespace liquid
