#include "parallel/gradient_sum.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <set>
#include <thread>

#include "gmock/gmock.h"
#include "parallel/thread/thread_communicator.h"

namespace liquid {
namespace {

constexpr int kNumSlots = 12;
constexpr int64_t kNumElements = 4500;  // of several slices

// Gradients of slot `slot`: of very different sizes, so that float sums depend on the order.
std::vector<float> SlotGradient(int slot) {
  std::mt19937 random(static_cast<uint32_t>(slot));
  std::normal_distribution<float> normal;
  std::vector<float> gradient(kNumElements);
  for (float& g : gradient) g = normal(random) * std::pow(10.0f, static_cast<float>(slot % 5) - 4);
  return gradient;
}

// One rank with its own device, as in a process of its own.
struct Rank {
  Rank(GradientSumKind kind, GangCommunicator& world, bool is_sharded = false)
      : mesh(*GangMesh::Create(world, 1)),
        layout({{kNumElements, kNumElements}}, world.size()),
        pool(*device),
        sum({.kind = kind,
             .is_sharded = is_sharded,
             .num_holders = {1},
             .slots_per_step = kNumSlots},
            layout, mesh, *ops, *stream, pool) {}
  GangMesh mesh;
  FlatLayout layout;
  std::unique_ptr<Device> device = CreateCpuDevice();
  std::unique_ptr<Stream> stream = *device->CreateStream();
  std::unique_ptr<Ops> ops = CreateOps(*stream);
  TensorPool pool;
  GradientSum sum;
};

// The bytes of the sum, with the slots dealt to `num_ranks` ranks, in an order drawn from `seed`.
// `close_after`: of its rounds, those after which the tensor is closed, most of them too early.
std::string SumBytes(GradientSumKind kind, int num_ranks, uint32_t seed, bool is_sharded = false,
                     const std::set<int>& close_after = {}) {
  std::vector<int> slots(kNumSlots);
  std::iota(slots.begin(), slots.end(), 0);
  std::shuffle(slots.begin(), slots.end(), std::mt19937(seed));
  auto world = CreateThreadWorld(num_ranks, absl::Seconds(30));
  std::vector<std::string> bytes(static_cast<size_t>(num_ranks));
  std::vector<std::jthread> threads;
  for (int r = 0; r < num_ranks; ++r) {
    threads.emplace_back([&, r] {
      Rank rank(kind, *world[r], is_sharded);
      for (int i = r; i - r < kNumSlots; i += num_ranks) {
        rank.sum.Reopen();
        if (i >= kNumSlots) {
          rank.sum.FoldNothing(0);
        } else {
          const std::vector<float> gradient = SlotGradient(slots[i]);
          rank.sum.Fold(0, {gradient.data(), {kNumElements}});
          rank.sum.FoldScalar(0, 0.1 * slots[i]);
        }
        if (close_after.contains(i / num_ranks)) rank.sum.Close(0);
      }
      rank.sum.CombineInGang(/*keeps=*/seed % 2 == 1);
      EXPECT_FALSE(rank.sum.overflowed());
      EXPECT_NEAR(rank.sum.scalar(0), 6.6, 1e-12);
      rank.layout.ForEachInSlice(r, [&](int, int64_t begin, int64_t end, int64_t at) {
        const TensorView sum = Elements(rank.sum.slice(), at, at + end - begin);
        bytes[r].assign(static_cast<const char*>(sum.data), static_cast<size_t>(sum.NumBytes()));
      });
    });
  }
  threads.clear();
  std::string all;  // slice after slice
  for (const std::string& slice : bytes) all += slice;
  return all;
}

TEST(GradientSumTest, ExactIsTheSameForAnySplitAndOrder) {
  const std::string reference = SumBytes(GradientSumKind::kExact, 1, 0);
  for (int num_ranks = 1; num_ranks <= 4; ++num_ranks) {
    for (uint32_t seed = 1; seed <= 5; ++seed) {
      EXPECT_EQ(SumBytes(GradientSumKind::kExact, num_ranks, seed), reference)
          << num_ranks << " ranks, order " << seed;
    }
  }
}

TEST(GradientSumTest, ShardedSumsAreTheSame) {
  const std::string reference = SumBytes(GradientSumKind::kExact, 1, 0);
  for (int num_ranks = 1; num_ranks <= 5; ++num_ranks) {
    for (uint32_t seed = 1; seed <= 4; ++seed) {
      EXPECT_EQ(SumBytes(GradientSumKind::kExact, num_ranks, seed, /*is_sharded=*/true), reference)
          << num_ranks << " ranks, order " << seed;
    }
  }
}

TEST(GradientSumTest, ClosingEarlyOrTooEarlyChangesNoBit) {
  const std::string reference = SumBytes(GradientSumKind::kExact, 1, 0);
  for (int num_ranks = 1; num_ranks <= 4; ++num_ranks) {
    const int last = (kNumSlots - 1) / num_ranks;
    for (const bool is_sharded : {false, true}) {
      for (uint32_t seed = 1; seed <= 2; ++seed) {
        for (const std::set<int>& rounds : {std::set<int>{last}, {0}, {0, 1, last}}) {
          EXPECT_EQ(SumBytes(GradientSumKind::kExact, num_ranks, seed, is_sharded, rounds),
                    reference)
              << num_ranks << " ranks, order " << seed << ", closed after " << *rounds.rbegin();
        }
      }
    }
  }
}

TEST(GradientSumTest, AShardedSumOfManyBucketsIsComplete) {
  constexpr int64_t kSize = 5 * GradientSum::kBucketElements + 3;
  const std::vector<float> ones(kSize, 1.0f);
  auto world = CreateThreadWorld(2, absl::Seconds(30));
  std::vector<std::jthread> threads;
  for (int r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      const GangMesh mesh = *GangMesh::Create(*world[r], 1);
      const FlatLayout layout({{kSize, kSize}}, 2);
      Rank rank(GradientSumKind::kExact, *world[r]);
      GradientSum sum({.is_sharded = true, .num_holders = {1}, .slots_per_step = kNumSlots}, layout,
                      mesh, *rank.ops, *rank.stream, rank.pool);
      sum.Fold(0, {ones.data(), {kSize}});
      sum.CombineInGang(/*keeps=*/false);
      layout.ForEachInSlice(r, [&](int, int64_t begin, int64_t end, int64_t at) {
        const auto* values = static_cast<const int64_t*>(sum.slice().data) + at;
        EXPECT_EQ(std::count(values, values + end - begin, int64_t{2} << kFixedPointBits),
                  end - begin);
      });
    });
  }
}

TEST(GradientSumTest, FastIsNotSoThatTheTestAboveWouldNotice) {
  EXPECT_NE(SumBytes(GradientSumKind::kFast, 1, 0), SumBytes(GradientSumKind::kFast, 3, 1));
}

TEST(GradientSumTest, ExactIsTheSumInFloat64) {
  const std::string bytes = SumBytes(GradientSumKind::kExact, 2, 3);
  std::vector<int64_t> sum(kNumElements);
  std::memcpy(sum.data(), bytes.data(), bytes.size());
  std::vector<double> expected(kNumElements, 0.0);
  for (int slot = 0; slot < kNumSlots; ++slot) {
    const std::vector<float> gradient = SlotGradient(slot);
    for (int64_t i = 0; i < kNumElements; ++i) expected[i] += gradient[i];
  }
  // Each of the 12 contributions is rounded once, by at most half a step of 2^-50.
  for (int64_t i = 0; i < kNumElements; ++i) {
    EXPECT_NEAR(std::ldexp(static_cast<double>(sum[i]), -kFixedPointBits), expected[i], 6e-15);
  }
}

TEST(GradientSumTest, OneRanksInfinityIsKnownToAll) {
  auto world = CreateThreadWorld(3, absl::Seconds(30));
  std::vector<std::jthread> threads;
  for (int r = 0; r < 3; ++r) {
    threads.emplace_back([&, r] {
      Rank rank(GradientSumKind::kExact, *world[r]);
      std::vector<float> gradient(kNumElements, 1.0f);
      if (r == 1) gradient[7] = std::numeric_limits<float>::infinity();
      rank.sum.Fold(0, {gradient.data(), {kNumElements}});
      rank.sum.CombineInGang(/*keeps=*/false);
      EXPECT_TRUE(rank.sum.overflowed());
      rank.sum.Clear();
      rank.sum.FoldScalar(1, r == 2 ? std::nan("") : 1.0);
      rank.sum.CombineInGang(/*keeps=*/false);
      EXPECT_TRUE(rank.sum.overflowed());
      rank.sum.Clear();
      rank.sum.CombineInGang(/*keeps=*/false);
      EXPECT_FALSE(rank.sum.overflowed());
    });
  }
}

}  // namespace
}  // namespace liquid
