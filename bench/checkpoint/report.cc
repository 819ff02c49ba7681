// Saving and loading a checkpoint of the SmolLM2-135M shape with optimizer state, beside what `dd`
// and bare reads reach in the same run. Prints a table; bench/results/checkpoint_*.md has some.
//
//   bench.checkpoint.report DIRECTORY [ROUNDS]
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/file.h"
#include "base/hash.h"
#include "checkpoint/parallel_loop.h"
#include "checkpoint/reader.h"
#include "kernels/cpu/team.h"
#include "parallel/thread/thread_communicator.h"
#include "worker/checkpoint_save.h"

namespace liquid {
namespace {

double Seconds(absl::Time since) { return absl::ToDoubleSeconds(absl::Now() - since); }

std::vector<TensorSpec> ModelSpecs() {
  constexpr int64_t kD = 576, kF = 1536, kV = 49152, kKeys = 192;
  std::vector<TensorSpec> specs = {{"model.embed_tokens.weight", DType::kF32, {kV, kD}},
                                   {"model.norm.weight", DType::kF32, {kD}}};
  for (int layer = 0; layer < 30; ++layer) {
    const std::string at = absl::StrCat("model.layers.", layer, ".");
    const auto add = [&](const char* name, std::vector<int64_t> shape) {
      specs.push_back({absl::StrCat(at, name, ".weight"), DType::kF32, std::move(shape)});
    };
    add("input_layernorm", {kD});
    add("post_attention_layernorm", {kD});
    add("self_attn.q_proj", {kD, kD});
    add("self_attn.k_proj", {kKeys, kD});
    add("self_attn.v_proj", {kKeys, kD});
    add("self_attn.o_proj", {kD, kD});
    add("mlp.gate_proj", {kF, kD});
    add("mlp.up_proj", {kF, kD});
    add("mlp.down_proj", {kD, kF});
  }
  return specs;
}

// The state of one rank, in large pages as a trainer has it.
struct State {
  std::vector<TensorSpec> model = ModelSpecs();
  std::vector<TensorSpec> optimizer;
  std::unique_ptr<Device> device = CreateCpuDevice();
  std::vector<Buffer> memory;
  std::vector<HeldPart> parts;
  int64_t num_bytes = 0;

  State() {
    for (const TensorSpec& spec : model) {
      for (const char* moment : {"exp_avg.", "exp_avg_sq."}) {
        optimizer.push_back({moment + spec.name, spec.dtype, spec.shape});
      }
    }
    for (const auto* specs : {&model, &optimizer}) {
      for (const TensorSpec& spec : *specs) {
        const auto size = static_cast<size_t>(*TensorNumBytes(spec.dtype, spec.shape));
        memory.push_back(*device->Allocate(size));
        auto* values = reinterpret_cast<float*>(memory.back().get());
        for (size_t i = 0; i < size / 4; ++i) values[i] = static_cast<float>(i * 2654435761u);
        parts.push_back(HoldWhole(spec, memory.back().get()));
        num_bytes += static_cast<int64_t>(size);
      }
    }
  }
};

// Two threads of arithmetic that fits a core: how much of it is done per second.
class Training {
 public:
  Training() {
    for (int t = 0; t < NumUsableCpus(); ++t) {
      threads_.emplace_back([this] {
        double x = 1.5;
        while (!stop_) {
          for (int i = 0; i < 100'000; ++i) x = x * 1.0000001 + 1e-9;
          sink_ = x;
          ++rounds_;
        }
      });
    }
  }
  ~Training() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
  }
  int64_t rounds() const { return rounds_; }

 private:
  std::atomic<bool> stop_ = false;
  std::atomic<int64_t> rounds_ = 0;
  std::atomic<double> sink_ = 0;
  std::vector<std::thread> threads_;
};

struct Saved {
  double stall = 0;
  double total = 0;
  std::string path;
};

class Saver {
 public:
  Saver(const State& state, std::string root)
      : state_(state),
        root_(std::move(root)),
        plan_(*MakeCheckpointPlan(state.model, state.optimizer, 5'000'000'000)),
        assignment_(*AssignWrites(
            plan_, std::vector<std::vector<PlacedBox>>{*PlaceParts(plan_, state.parts)}, 0)),
        snapshot_(plan_, assignment_),
        world_(CreateThreadWorld(1, absl::Seconds(60))) {
    const absl::Time start = absl::Now();
    LIQUID_CHECK(snapshot_.Allocate().ok());
    std::printf("snapshot memory: %.0f MB in %.2f s, once\n",
                static_cast<double>(snapshot_.num_bytes()) * 1e-6, Seconds(start));
  }

  Saved Save(int64_t step) {
    TrainingState training;
    training.step = step;
    const absl::Time start = absl::Now();
    snapshot_.Take(state_.parts);
    CheckpointSave save(plan_, assignment_, snapshot_, *world_[0],
                        {root_, training, {}, {.keep_last = 1, .keep_every_steps = 0}, "bench"},
                        absl::OkStatus());
    Saved saved;
    saved.stall = Seconds(start);
    while (true) {
      while (!save.Poll().has_value()) absl::SleepFor(absl::Milliseconds(2));
      const absl::Time advance = absl::Now();
      const auto over = save.Advance(*save.Poll(), /*may_publish=*/true);
      saved.stall += Seconds(advance);
      if (*over) break;
    }
    LIQUID_CHECK(save.result().ok(), save.result().status().ToString());
    saved.total = Seconds(start);
    saved.path = save.result()->path;
    return saved;
  }

  // Seconds of writing what Save has copied, with its checksums; if `twice`, with as many again.
  double Write(bool twice) {
    CheckpointWriter writer(root_, 1'000'000, plan_, {}, "bench");
    LIQUID_CHECK(writer.Prepare().ok());
    const std::atomic<bool> stop = false;
    std::atomic<uint64_t> sink = 0;
    const auto bytes_of = [&](const PieceWrite& write) {
      const std::byte* bytes = snapshot_.BytesOf(write);
      if (twice) sink ^= HashBytes(bytes, static_cast<size_t>(write.num_bytes())).low;
      return bytes;
    };
    constexpr int kNumThreads = 4;  // as in a worker
    const absl::Time start = absl::Now();
    LIQUID_CHECK(writer.WritePieces(assignment_.writes, bytes_of, kNumThreads, &stop).ok());
    const double seconds = Seconds(start);
    LIQUID_CHECK(writer.Abandon().ok());
    return seconds;
  }

 private:
  const State& state_;
  const std::string root_;
  const CheckpointPlan plan_;
  const WriteAssignment assignment_;
  StateSnapshot snapshot_;
  std::vector<std::unique_ptr<GangCommunicator>> world_;
};

double Dd(const std::string& root, int64_t num_bytes) {
  const std::string path = root + "/dd";
  const std::string command = absl::StrCat(
      "dd if=/dev/zero of=", path, " bs=1M count=", num_bytes >> 20, " conv=fdatasync 2>/dev/null");
  const absl::Time start = absl::Now();
  LIQUID_CHECK(std::system(command.c_str()) == 0);
  const double seconds = Seconds(start);
  LIQUID_CHECK(RemoveRecursively(path).ok());
  return seconds;
}

double Hash(const State& state) {
  const absl::Time start = absl::Now();
  ParallelLoop(NumUsableCpus(), static_cast<int64_t>(state.parts.size()), [&](int64_t i) {
    const HeldPart& part = state.parts[static_cast<size_t>(i)];
    HashBytes(part.data, static_cast<size_t>(part.row_bytes * part.box.num_rows()));
  });
  return Seconds(start);
}

double Load(const State& state, const std::string& path) {
  const absl::Time start = absl::Now();
  const auto reader = CheckpointReader::Open(path);
  LIQUID_CHECK(reader.ok() && reader->ReadParts(state.parts, NumUsableCpus()).ok());
  return Seconds(start);
}

// The same bytes out of the cache into the same memory, unverified.
double BareRead(const State& state, const std::string& path) {
  const absl::Time start = absl::Now();
  const auto reader = CheckpointReader::Open(path);
  const auto model = File::OpenForRead(path + "/model.safetensors");
  const auto optimizer = File::OpenForRead(path + "/optimizer.safetensors");
  LIQUID_CHECK(reader.ok() && model.ok() && optimizer.ok());
  ParallelLoop(NumUsableCpus(), static_cast<int64_t>(state.parts.size()), [&](int64_t i) {
    const HeldPart& part = state.parts[static_cast<size_t>(i)];
    const StoredTensor& tensor = *reader->Find(part.spec.name);
    const File& file = part.spec.name.starts_with("exp_avg") ? *optimizer : *model;
    LIQUID_CHECK(
        file.ReadAt(tensor.begin, part.data, static_cast<size_t>(tensor.num_bytes())).ok());
  });
  return Seconds(start);
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// What checksums add to a save: as much as the same again does, turn by turn.
void ReportChecksums(Saver& saver, int rounds, double save_seconds) {
  std::vector<double> once;
  std::vector<double> twice;
  for (int round = 0; round < rounds; ++round) {
    once.push_back(saver.Write(/*twice=*/false));
    twice.push_back(saver.Write(/*twice=*/true));
  }
  const double added = Median(twice) - Median(once);
  std::printf(
      "checksums: writing takes %.3f s, hashing all of it once more %.3f s: they add %.1f%% of a "
      "save\n",
      Median(once), Median(twice), 100 * added / save_seconds);
}

int Main(int argc, char** argv) {
  if (argc < 2) return std::fprintf(stderr, "usage: %s DIRECTORY [ROUNDS]\n", argv[0]), 2;
  SizeTeam(1);
  const std::string root = absl::StrCat(argv[1], "/liquid_checkpoint_report_", getpid());
  LIQUID_CHECK(MakeDirectories(root).ok());
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 3;
  const State state;
  const double bytes = static_cast<double>(state.num_bytes);
  Saver saver(state, root);
  std::printf("%.1f MB in %zu tensors\n", bytes * 1e-6, state.parts.size());
  std::vector<double> save_seconds;
  for (int round = 0; round < rounds; ++round) {
    const double dd = Dd(root, state.num_bytes);
    const Saved saved = saver.Save(2 * round + 1);
    save_seconds.push_back(saved.total);
    const double hash = Hash(state);
    std::printf(
        "save: dd %.2f s (%.2f GB/s); save %.2f s (%.2f GB/s, %.0f%% of dd); stall %.0f ms (%.1f%% "
        "of the save); checksums alone %.0f ms (%.1f%% of the save)\n",
        dd, bytes * 1e-9 / dd, saved.total, bytes * 1e-9 / saved.total, 100 * dd / saved.total,
        saved.stall * 1e3, 100 * saved.stall / saved.total, hash * 1e3, 100 * hash / saved.total);
    {
      Training training;
      absl::SleepFor(absl::Seconds(1));
      const double alone = static_cast<double>(training.rounds());
      const int64_t before = training.rounds();
      const Saved beside = saver.Save(2 * round + 2);
      const double rate = static_cast<double>(training.rounds() - before) / beside.total;
      std::printf(
          "beside arithmetic on all CPUs: save %.2f s, stall %.0f ms; arithmetic at %.1f%%\n",
          beside.total, beside.stall * 1e3, 100 * rate / alone);
    }
    const std::string path = absl::StrCat(root, "/latest");
    BareRead(state, path);  // into the cache
    const double bare = BareRead(state, path);
    const double load = Load(state, path);
    std::printf("load: cached read %.3f s (%.1f GB/s); load %.3f s (%.1f GB/s, %.0f%%)\n", bare,
                bytes * 1e-9 / bare, load, bytes * 1e-9 / load, 100 * bare / load);
    std::fflush(stdout);
  }
  ReportChecksums(saver, 5 * rounds, Median(save_seconds));
  LIQUID_CHECK(RemoveRecursively(root).ok());
  return 0;
}

}  // namespace
}  // namespace liquid

int main(int argc, char** argv) { return liquid::Main(argc, argv); }
