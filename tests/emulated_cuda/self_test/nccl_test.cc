// Emulated NCCL with real processes (nccl_rank_main.cc).
#include <nccl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace liquid::emulated {
namespace {

// The exit status of each rank; -9 for one that was killed by signal 9.
std::vector<int> RunRanks(const std::string& scenario, int num_ranks) {
  ncclUniqueId id;
  EXPECT_EQ(ncclGetUniqueId(&id), ncclSuccess);
  std::vector<pid_t> processes(num_ranks);
  for (int rank = 0; rank < num_ranks; ++rank) {
    std::vector<std::string> arguments = {LIQUID_EMULATED_NCCL_RANK, scenario, std::to_string(rank),
                                          std::to_string(num_ranks), id.internal};
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    EXPECT_EQ(
        posix_spawn(&processes[rank], pointers[0], nullptr, nullptr, pointers.data(), environ), 0);
  }
  std::vector<int> results;
  for (const pid_t process : processes) {
    int status = 0;
    EXPECT_EQ(waitpid(process, &status, 0), process);
    results.push_back(WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
  }
  return results;
}

TEST(EmulatedNcclTest, CollectivesAndMessagesOfTwoRanks) {
  EXPECT_EQ(RunRanks("all", 2), (std::vector<int>{0, 0}));
}
TEST(EmulatedNcclTest, CollectivesAndMessagesOfThreeRanks) {
  EXPECT_EQ(RunRanks("all", 3), (std::vector<int>{0, 0, 0}));
}
TEST(EmulatedNcclTest, CollectivesAndMessagesOfFourRanks) {
  EXPECT_EQ(RunRanks("all", 4), (std::vector<int>{0, 0, 0, 0}));
}
TEST(EmulatedNcclTest, RanksThatDoNotCallTheSameLearnOfIt) {
  EXPECT_EQ(RunRanks("mismatch", 3), (std::vector<int>{0, 0, 0}));
}
TEST(EmulatedNcclTest, RanksDoNotShareADevice) {
  EXPECT_EQ(RunRanks("sharing", 2), (std::vector<int>{0, 0}));
}
TEST(EmulatedNcclTest, AKilledRankLeavesNobodyWaiting) {
  EXPECT_EQ(RunRanks("death", 3), (std::vector<int>{0, -SIGKILL, 0}));
}
TEST(EmulatedNcclTest, ACommunicatorCanBeAbortedBeforeAllHaveCome) {
  EXPECT_EQ(RunRanks("absence", 2), (std::vector<int>{0, 0}));
}

}  // namespace
}  // namespace liquid::emulated
