// One rank of a gang whose state is a sample, and which saves it as a trainer does.
#ifndef LIQUID_TESTS_WORKER_SAVING_RANK_H_
#define LIQUID_TESTS_WORKER_SAVING_RANK_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "tests/checkpoint/sample_checkpoint.h"
#include "tests/testing/status_matchers.h"
#include "worker/checkpoint_save.h"
#include "worker/gang_member.h"

namespace liquid::testing {

inline constexpr int64_t kShardBytes = 40'000;

inline SampleModel SampleOfStep(int64_t step) {
  return SampleModel(static_cast<uint8_t>(step), /*rows=*/5000);
}

class SavingRank {
 public:
  // `writer`: of its gang.
  SavingRank(Communicator& world, SampleModel sample, std::string writer = "w")
      : world_(world),
        writer_(std::move(writer)),
        sample_(std::move(sample)),
        plan_(*MakeCheckpointPlan(sample_.model, sample_.optimizer, kShardBytes)),
        assignment_(*AssignWrites(
            plan_,
            std::vector<std::vector<PlacedBox>>(static_cast<size_t>(world.size()),
                                                *PlaceParts(plan_, sample_.WholeParts())),
            world.rank())),
        snapshot_(plan_, assignment_) {
    EXPECT_THAT(snapshot_.Allocate(), IsOk());
  }

  std::unique_ptr<CheckpointSave> Begin(const std::string& root, int64_t step,
                                        absl::Status ready = absl::OkStatus()) {
    snapshot_.Take(sample_.WholeParts());
    return std::make_unique<CheckpointSave>(
        plan_, assignment_, snapshot_, world_,
        CheckpointSave::Request{root, SampleState(sample_, step), {}, {.keep_last = 2}, writer_},
        std::move(ready));
  }
  // As the trainer's ticks do it.
  void GoOn(CheckpointSave& save, bool may_publish) {
    while (true) {
      const absl::Status all = AgreeOn(world_, save.Wait());
      if (all.ok() && save.is_written() && !may_publish) return;
      const auto is_over = save.Advance(all, may_publish);
      ASSERT_THAT(is_over, IsOk());
      if (*is_over) return;
    }
  }
  SampleModel& sample() { return sample_; }

 private:
  Communicator& world_;
  const std::string writer_;
  SampleModel sample_;
  const CheckpointPlan plan_;
  const WriteAssignment assignment_;
  StateSnapshot snapshot_;
};

}  // namespace liquid::testing

#endif  // LIQUID_TESTS_WORKER_SAVING_RANK_H_
