#include "parallel/tcp/tcp_group.h"

#include <cmath>
#include <cstring>
#include <numeric>

#include "gmock/gmock.h"
#include "parallel/tcp/slice.h"
#include "tests/parallel/tcp_processes.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::liquid::testing::TcpProcesses;
using ::testing::_;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Lengths below, at and above a cache line, a piece (256 KiB) and a ring of pieces; odd ones too.
const std::vector<int64_t> kLengths = {0, 1, 5, 63, 64, 65, 1000, 16384, 100003, 400003};

template <typename T>
T ValueAt(int rank, int64_t i) {
  return static_cast<T>((i * 7 + 1) % 1013) * static_cast<T>(rank + 1) +
         static_cast<T>(rank) / static_cast<T>(3);
}

template <typename T>
std::vector<T> ValuesOf(int rank, int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) values[i] = ValueAt<T>(rank, i);
  return values;
}

// In the order of ranks.
template <typename T>
std::vector<T> SumOf(int size, int64_t count) {
  std::vector<T> sum = ValuesOf<T>(0, count);
  for (int rank = 1; rank < size; ++rank) {
    for (int64_t i = 0; i < count; ++i) sum[i] += ValueAt<T>(rank, i);
  }
  return sum;
}

struct World {
  int size;
  bool uses_unix;
};
class TcpCollectives : public ::testing::TestWithParam<World> {
 protected:
  TcpCollectives() : processes_(GetParam().size, 1, GetParam().uses_unix) {}
  int size() const { return GetParam().size; }
  TcpProcesses processes_;
};

TEST_P(TcpCollectives, AllReduceIsTheSumInTheOrderOfRanks) {
  processes_.RunAll([this](TcpGroup& group, int gang, int) {
    for (const int64_t count : kLengths) {
      auto floats = ValuesOf<float>(gang, count);
      group.AllReduceSum(TensorView(floats.data(), DType::kF32, {count}));
      auto doubles = ValuesOf<double>(gang, count);
      group.AllReduceSum(TensorView(doubles.data(), DType::kF64, {count}));
      auto ints = ValuesOf<int64_t>(gang, count);
      group.AllReduceSum(TensorView(ints.data(), DType::kI64, {count}));
      ASSERT_THAT(group.Wait(absl::InfiniteFuture()), IsOk());
      EXPECT_EQ(floats, SumOf<float>(size(), count)) << count;
      EXPECT_EQ(doubles, SumOf<double>(size(), count)) << count;
      EXPECT_EQ(ints, SumOf<int64_t>(size(), count)) << count;
    }
  });
}

TEST_P(TcpCollectives, ReduceScatterReadsItsInputAndWritesItsSlice) {
  processes_.RunAll([this](TcpGroup& group, int gang, int) {
    for (const int64_t count : kLengths) {
      const auto in = ValuesOf<int64_t>(gang, count);
      auto copy = in;
      std::vector<int64_t> out(static_cast<size_t>(count), -1);
      group.ReduceScatterSum(ConstTensorView(copy.data(), DType::kI64, {count}),
                             TensorView(out.data(), DType::kI64, {count}));
      ASSERT_THAT(group.Wait(absl::InfiniteFuture()), IsOk());
      EXPECT_EQ(copy, in);
      const auto sum = SumOf<int64_t>(size(), count);
      const Slice own = SliceOf(count, gang, size());
      for (int64_t i = own.begin; i < own.end; ++i) ASSERT_EQ(out[i], sum[i]) << count << " " << i;
    }
  });
}

TEST_P(TcpCollectives, AllGatherAndBroadcastBringOthersElements) {
  processes_.RunAll([this](TcpGroup& group, int gang, int) {
    for (const int64_t count : kLengths) {
      std::vector<float> slices(static_cast<size_t>(count), -1);
      const Slice own = SliceOf(count, gang, size());
      for (int64_t i = own.begin; i < own.end; ++i) slices[i] = ValueAt<float>(0, i);
      group.AllGather(TensorView(slices.data(), DType::kF32, {count}));
      EXPECT_EQ(slices, ValuesOf<float>(0, count));
      for (int root = 0; root < size(); ++root) {
        auto values = ValuesOf<float>(gang, count);
        group.Broadcast(TensorView(values.data(), DType::kF32, {count}), root);
        EXPECT_EQ(values, ValuesOf<float>(root, count));
      }
      ASSERT_THAT(group.Wait(absl::InfiniteFuture()), IsOk());
    }
  });
}

TEST_P(TcpCollectives, MessagesOfAnyLengthReachEverybody) {
  processes_.RunAll([this](TcpGroup& group, int gang, int) {
    const auto message_of = [](int rank) {
      return std::string(static_cast<size_t>(rank) * 1000, static_cast<char>('a' + rank));
    };
    const auto all = group.AllGatherMessages(message_of(gang));
    ASSERT_THAT(all, IsOk());
    for (int rank = 0; rank < size(); ++rank) EXPECT_EQ((*all)[rank], message_of(rank));
    for (int root = 0; root < size(); ++root) {
      EXPECT_EQ(*group.BroadcastMessage(gang == root ? "from the root" : "", root),
                "from the root");
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Sizes, TcpCollectives,
                         ::testing::Values(World{1, true}, World{2, true}, World{3, true},
                                           World{4, true}, World{5, true}, World{2, false},
                                           World{3, false}),
                         [](const auto& instance) {
                           return (instance.param.uses_unix ? "Unix" : "Tcp") +
                                  std::to_string(instance.param.size);
                         });

TEST(TcpGroupTest, FloatSumsHaveTheSameBitsOnAllRanks) {
  TcpProcesses processes(/*num_gangs=*/4, /*gang_size=*/1);
  std::vector<std::vector<float>> sums(4);
  processes.RunAll([&](TcpGroup& group, int gang, int) {
    sums[gang].resize(70001);
    for (size_t i = 0; i < sums[gang].size(); ++i) {
      sums[gang][i] = std::sin(static_cast<float>(i * 31 + static_cast<size_t>(gang) * 17));
    }
    group.AllReduceSum(TensorView(sums[gang].data(), DType::kF32, {70001}));
  });
  for (int gang = 1; gang < 4; ++gang) {
    EXPECT_EQ(std::memcmp(sums[0].data(), sums[gang].data(), 70001 * sizeof(float)), 0);
  }
}

TEST(TcpGroupTest, BuffersGoFromOneRankToAnother) {
  TcpProcesses processes(/*num_gangs=*/3, /*gang_size=*/1);
  processes.RunAll([](TcpGroup& group, int gang, int) {
    auto values = ValuesOf<double>(gang, 300001);
    const auto num_bytes = static_cast<int64_t>(values.size() * sizeof(double));
    if (gang == 2) {
      group.Send(values.data(), num_bytes, 0);
      group.Send("x", 1, 0);
    }
    if (gang == 0) {
      char letter = 0;
      group.Receive(values.data(), num_bytes, 2);
      group.Receive(&letter, 1, 2);
      EXPECT_EQ(letter, 'x');
      EXPECT_EQ(values, ValuesOf<double>(2, 300001));
    }
    int64_t one = 1;
    group.AllReduceSum(TensorView(&one, DType::kI64, {1}));
    EXPECT_EQ(one, 3);
    EXPECT_THAT(group.Wait(absl::InfiniteFuture()), IsOk());
  });
}

TEST(TcpGroupTest, WhatWasPostedBeforeACollectiveIsThereBeforeItsData) {
  TcpProcesses processes(/*num_gangs=*/3, /*gang_size=*/1);
  processes.RunAll([](TcpGroup& group, int gang, int) {
    int64_t one = 1;
    const TensorView sum(&one, DType::kI64, {1});
    group.Post("first of " + std::to_string(gang));
    group.Post("");
    group.AllReduceSum(sum);
    std::vector<std::string> heard(3);
    for (int i = 0; i < 4; ++i) {
      const auto posted = group.NextPosted(absl::ZeroDuration(), -1);
      ASSERT_THAT(posted, IsOk());
      ASSERT_TRUE(posted->has_value());
      heard[(*posted)->from] += (*posted)->message + ";";
    }
    for (int peer = 0; peer < 3; ++peer) {
      if (peer == gang) continue;
      EXPECT_EQ(heard[peer], "first of " + std::to_string(peer) + ";;");
    }
    group.AllReduceSum(sum);  // nobody leaves before all have looked
    EXPECT_THAT(group.Wait(absl::InfiniteFuture()), IsOk());
  });
}

TEST(TcpGroupTest, NoPostedMessageIsNothingAfterTheTimeoutOrAWake) {
  TcpProcesses processes(/*num_gangs=*/1, /*gang_size=*/1);
  processes.RunAll([](TcpGroup& group, int, int) {
    auto nothing = group.NextPosted(absl::Milliseconds(5), -1);
    ASSERT_THAT(nothing, IsOk());
    EXPECT_FALSE(nothing->has_value());
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    ASSERT_EQ(write(ends[1], "!", 1), 1);
    nothing = group.NextPosted(absl::Seconds(100), ends[0]);
    ASSERT_THAT(nothing, IsOk());
    EXPECT_FALSE(nothing->has_value());
    close(ends[0]);
    close(ends[1]);
  });
}

TEST(TcpGroupTest, RanksThatDoNotDoTheSameAreToldBothSides) {
  TcpProcesses processes(/*num_gangs=*/2, /*gang_size=*/1);
  processes.RunAll([](TcpGroup& group, int gang, int) {
    std::vector<int64_t> values(1000, 1);
    if (gang == 0) group.AllReduceSum(TensorView(values.data(), DType::kI64, {1000}));
    if (gang == 1) group.Broadcast(TensorView(values.data(), DType::kI64, {1000}), 0);
    const absl::Status status = group.Wait(absl::InfiniteFuture());
    ASSERT_FALSE(status.ok());
    if (status.code() == absl::StatusCode::kInvalidArgument) {
      EXPECT_THAT(std::string(status.message()), HasSubstr("instead of"));
    }
  });
}

TEST(TcpGroupTest, ASilentPeerIsADeadlineExceededThatNamesIt) {
  TcpProcesses processes(/*num_gangs=*/2, /*gang_size=*/1);
  std::atomic<bool> is_over = false;
  std::jthread silent([&] {
    const auto group = processes.Group(1, 0);
    ASSERT_THAT(group->Form(absl::Now() + absl::Seconds(10)), IsOk());
    while (!is_over) absl::SleepFor(absl::Milliseconds(1));
  });
  TcpGroup::Options options = processes.OptionsOf(0, 0);
  options.stall_timeout = absl::Milliseconds(50);
  TcpGroup group(processes.port(0, 0), options, nullptr);
  ASSERT_THAT(group.Form(absl::Now() + absl::Seconds(10)), IsOk());
  int64_t one = 1;
  group.AllReduceSum(TensorView(&one, DType::kI64, {1}));
  EXPECT_THAT(group.Wait(absl::InfiniteFuture()),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("gang 1 rank 0")));
  is_over = true;
}

TEST(TcpGroupTest, WhoLeavesAfterTheLastCallDisturbsNobody) {
  TcpProcesses processes(/*num_gangs=*/3, /*gang_size=*/2);
  for (int64_t generation = 1; generation <= 20; ++generation) {
    processes.RunAll(
        [](TcpGroup& group, int, int) {
          std::vector<int64_t> values(3000, 1);
          group.AllReduceSum(TensorView(values.data(), DType::kI64, {3000}));
          EXPECT_THAT(group.Wait(absl::InfiniteFuture()), IsOk());
          EXPECT_EQ(values[2999], 3);
        },
        generation);
  }
}

}  // namespace
}  // namespace liquid
