// Bytes per second of fingerprinting, saving, loading and verifying, beside those of a bare hash, a
// bare memory copy, and a bare write with fsync, which are the limits.
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/file.h"
#include "base/hash.h"
#include "benchmark/benchmark.h"
#include "checkpoint/checksum.h"
#include "checkpoint/fingerprint.h"
#include "checkpoint/parallel_loop.h"
#include "checkpoint/reader.h"
#include "checkpoint/writer.h"

namespace liquid {
namespace {

constexpr int64_t kNumBytes = 256 << 20;
constexpr int64_t kTensorBytes = 32 << 20;

const std::vector<float>& Data() {
  static const auto& data = *new std::vector<float>(kNumBytes / sizeof(float), 1.25f);
  return data;
}

std::vector<TensorSpec> Specs() {
  std::vector<TensorSpec> specs;
  for (int64_t i = 0; i < kNumBytes / kTensorBytes; ++i) {
    specs.push_back({absl::StrCat("t", i), DType::kF32, {kTensorBytes / 4}});
  }
  return specs;
}

std::string Root() { return absl::StrCat("/tmp/liquid_checkpoint_bench_", getpid()); }

std::string SaveOnce() {
  static const auto& plan = *new CheckpointPlan(*MakeCheckpointPlan(Specs(), {}, 0));
  CheckpointWriter writer(Root(), 1, plan, {});
  LIQUID_CHECK(writer.Prepare().ok());
  const auto* data = reinterpret_cast<const std::byte*>(Data().data());
  const auto checksums = writer.WritePieces(
      plan.pieces,
      [&](const StoredTensor&, int64_t first_byte, int64_t) { return data + first_byte; });
  LIQUID_CHECK(checksums.ok());
  TrainingState state;
  state.step = 1;
  const auto committed = writer.Commit(state, *checksums, {});
  LIQUID_CHECK(committed.ok(), committed.status().ToString());
  return committed->path;
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

void BM_BareWrite(benchmark::State& state) {
  LIQUID_CHECK(MakeDirectories(Root()).ok());
  for (auto _ : state) {
    absl::StatusOr<File> file = File::Create(Root() + "/bare");
    LIQUID_CHECK(file.ok() && file->Reserve(kNumBytes).ok());
    LIQUID_CHECK(file->WriteAt(0, Data().data(), kNumBytes).ok() && file->Sync().ok());
  }
  state.SetBytesProcessed(state.iterations() * kNumBytes);
  LIQUID_CHECK(RemoveRecursively(Root()).ok());
}

void BM_Save(benchmark::State& state) {
  for (auto _ : state) SaveOnce();
  state.SetBytesProcessed(state.iterations() * kNumBytes);
  LIQUID_CHECK(RemoveRecursively(Root()).ok());
}

void BM_Load(benchmark::State& state) {
  const std::string path = SaveOnce();
  std::vector<float> out(Data().size());
  std::vector<TensorRead> reads;
  for (const TensorSpec& spec : Specs()) {
    reads.push_back({spec, out.data() + static_cast<int64_t>(reads.size()) * kTensorBytes / 4});
  }
  for (auto _ : state) {
    const auto reader = CheckpointReader::Open(path);
    LIQUID_CHECK(reader.ok() && reader->Read(reads, static_cast<int>(state.range(0))).ok());
  }
  state.SetBytesProcessed(state.iterations() * kNumBytes);
  LIQUID_CHECK(RemoveRecursively(Root()).ok());
}

// The limit of BM_Load: the same bytes from the same cache, unverified.
void BM_BareRead(benchmark::State& state) {
  const std::string path = SaveOnce() + "/model.safetensors";
  std::vector<float> out(Data().size());
  for (auto _ : state) {
    const absl::StatusOr<File> file = File::OpenForRead(path);
    LIQUID_CHECK(file.ok() && file->ReadAt(0, out.data(), kNumBytes).ok());
  }
  state.SetBytesProcessed(state.iterations() * kNumBytes);
  LIQUID_CHECK(RemoveRecursively(Root()).ok());
}

BENCHMARK(BM_Copy)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Hash)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Fingerprint)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_BareWrite)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(BM_Save)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(BM_BareRead)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(BM_Load)->Arg(1)->Arg(2)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace liquid
