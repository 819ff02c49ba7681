// Bytes per second of hashing, fingerprinting and copying: what saving and loading are made of.
// Their own figures, beside those of the disk in the same run, are bench.checkpoint.report's.
#include <cstring>
#include <vector>

#include "base/hash.h"
#include "benchmark/benchmark.h"
#include "checkpoint/fingerprint.h"
#include "checkpoint/write_assignment.h"

namespace liquid {
namespace {

constexpr int64_t kNumBytes = 256 << 20;
constexpr int64_t kColumns = 1536;

std::vector<float>& Data() {
  static auto& data = *new std::vector<float>(kNumBytes / sizeof(float), 1.25f);
  return data;
}

void BM_Copy(benchmark::State& state) {
  std::vector<float> out(Data().size());
  for (auto _ : state) {
    std::memcpy(out.data(), Data().data(), kNumBytes);
    benchmark::DoNotOptimize(out.data());
  }
  state.SetBytesProcessed(state.iterations() * kNumBytes);
}

void BM_Hash(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(HashBytes(Data().data(), kNumBytes));
  state.SetBytesProcessed(state.iterations() * kNumBytes);
}

void BM_Fingerprint(benchmark::State& state) {
  const FingerprintKey key({"t", DType::kF32, {kNumBytes / 4}});
  for (auto _ : state) benchmark::DoNotOptimize(key.HashPart(0, Data().data(), kNumBytes));
  state.SetBytesProcessed(state.iterations() * kNumBytes);
}

// What a snapshot does: whole (1), or a column shard of two (2).
void BM_Gather(benchmark::State& state) {
  const int64_t rows = kNumBytes / 4 / kColumns;
  const TensorSpec spec{"t", DType::kF32, {rows, kColumns}};
  const auto plan = MakeCheckpointPlan({spec}, {}, 0);
  std::vector<std::vector<HeldPart>> parts;
  std::vector<std::vector<PlacedBox>> boxes;
  const int64_t shards = state.range(0);
  for (int64_t i = 0; i < shards; ++i) {
    HeldPart part = HoldWhole(spec, Data().data());
    part.box.column_begin = kColumns * i / shards;
    part.box.column_end = kColumns * (i + 1) / shards;
    part.row_bytes = part.box.num_columns() * 4;
    parts.push_back({part});
    boxes.push_back(*PlaceParts(*plan, parts.back()));
  }
  const auto assignment = AssignWrites(*plan, boxes, 0);
  std::vector<std::byte> out(kNumBytes);
  int64_t done = 0;
  for (auto _ : state) {
    for (const PieceWrite& write : assignment->writes) {
      GatherBytes(*plan, write, parts[0], out.data());
      done += write.num_bytes();
    }
  }
  state.SetBytesProcessed(done);
}

BENCHMARK(BM_Copy)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Hash)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Fingerprint)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Gather)->Arg(1)->Arg(2)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace liquid
