#include "base/task_queue.h"

#include <vector>

#include "gmock/gmock.h"

namespace liquid {
namespace {

TEST(TaskQueueTest, DoesAllInOrderBesideItsOwner) {
  std::vector<int> done;
  const std::thread::id owner = std::this_thread::get_id();
  {
    TaskQueue queue;
    queue.Drain();
    for (int i = 0; i < 1000; ++i) {
      queue.Post([&done, i, owner] {
        EXPECT_NE(std::this_thread::get_id(), owner);
        done.push_back(i);
      });
    }
    queue.Drain();
    EXPECT_EQ(done.size(), 1000u);
    queue.Post([&done] { done.push_back(1000); });
  }
  ASSERT_EQ(done.size(), 1001u) << "what was given last is done too";
  for (int i = 0; i <= 1000; ++i) EXPECT_EQ(done[i], i);
}

}  // namespace
}  // namespace liquid
