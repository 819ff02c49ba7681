#include "worker/gang_member.h"

#include <functional>
#include <thread>

#include "base/exit_code.h"
#include "gmock/gmock.h"
#include "parallel/thread/thread_communicator.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;

void OnRanks(int size, const std::function<void(Communicator&)>& program) {
  auto world = CreateThreadWorld(size, absl::Seconds(30));
  std::vector<std::jthread> ranks;
  for (auto& communicator : world) {
    ranks.emplace_back([&program, &communicator] { program(*communicator); });
  }
}

TEST(GangMemberTest, TheLowestRanksErrorIsEverybodysWithItsRankAndExitCode) {
  OnRanks(4, [](Communicator& world) {
    absl::Status mine;
    if (world.rank() == 2) mine = absl::NotFoundError("no file x y");
    if (world.rank() == 3) mine = absl::InternalError("later");
    if (!mine.ok()) mine = WithExitCode(mine, ExitCode::kData);
    const absl::Status all = AgreeOn(world, mine);
    EXPECT_THAT(all, StatusIs(absl::StatusCode::kNotFound, "rank 2: no file x y"));
    EXPECT_EQ(ExitCodeOf(all), ExitCode::kData);
  });
}

TEST(GangMemberTest, AllOkIsOk) {
  OnRanks(3, [](Communicator& world) { EXPECT_THAT(AgreeOn(world, absl::OkStatus()), IsOk()); });
}

TEST(GangMemberTest, TheLeadersValueOrErrorIsShared) {
  OnRanks(3, [](Communicator& world) {
    const bool leads = world.rank() == 0;
    EXPECT_EQ(*ShareFromLeader(world, leads ? "value" : ""), "value");
    EXPECT_THAT(ShareFromLeader(world, leads ? absl::StatusOr<std::string>(
                                                   absl::UnavailableError("nobody there"))
                                             : absl::StatusOr<std::string>("")),
                StatusIs(absl::StatusCode::kUnavailable, "nobody there"));
  });
}

TEST(GangMemberTest, WithoutACoordinatorThereAreNoOrders) {
  OnRanks(2, [](Communicator& world) {
    GangMember member(world, nullptr);
    const auto tick = member.NextTick(absl::ZeroDuration());
    ASSERT_THAT(tick, IsOk());
    EXPECT_FALSE(tick->order.has_value());
    EXPECT_FALSE(tick->stop_requested);
  });
}

}  // namespace
}  // namespace liquid
