// A small model with optimizer state, and the writing of it by ranks that are threads.
#ifndef LIQUID_TESTS_CHECKPOINT_SAMPLE_CHECKPOINT_H_
#define LIQUID_TESTS_CHECKPOINT_SAMPLE_CHECKPOINT_H_

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "base/file.h"
#include "base/status.h"
#include "checkpoint/fingerprint.h"
#include "checkpoint/plan.h"
#include "checkpoint/tensor_box.h"
#include "checkpoint/write_assignment.h"
#include "checkpoint/writer.h"
#include "gtest/gtest.h"

namespace liquid::testing {

// Tensors of a model and its moments; the bytes are a function of (seed, name, position).
struct SampleModel {
  explicit SampleModel(uint8_t seed, int64_t rows = 8) {
    const std::vector<TensorSpec> parameters = {
        {"model.embed_tokens.weight", DType::kF32, {rows, 4}},
        {"model.layers.0.norm.weight", DType::kF32, {4}},
        {"model.layers.0.mlp.weight", DType::kF32, {4, 6}},
        {"model.scale", DType::kF32, {}},
        {"model.nothing", DType::kF32, {0, 3}}};
    for (const TensorSpec& spec : parameters) model.push_back(spec);
    for (const std::string moment : {"exp_avg.", "exp_avg_sq."}) {
      for (const TensorSpec& spec : parameters) {
        optimizer.push_back({moment + spec.name, spec.dtype, spec.shape});
      }
    }
    for (const auto* specs : {&model, &optimizer}) {
      for (const TensorSpec& spec : *specs) {
        std::string& data = bytes[spec.name];
        data.resize(static_cast<size_t>(*TensorNumBytes(spec.dtype, spec.shape)));
        uint32_t state = seed + 1u;
        for (const char c : spec.name) state = state * 31 + static_cast<uint8_t>(c);
        for (char& byte : data) {
          state = state * 1664525 + 1013904223;
          byte = static_cast<char>(state >> 24 & 0x7f);  // no float becomes a NaN
        }
      }
    }
  }

  // All of it, as each of several replicas holds it.
  std::vector<HeldPart> WholeParts() {
    std::vector<HeldPart> parts;
    for (const auto* specs : {&model, &optimizer}) {
      for (const TensorSpec& spec : *specs) {
        parts.push_back(HoldWhole(spec, bytes.at(spec.name).data()));
      }
    }
    return parts;
  }
  SampleModel ModelOnly() const {
    SampleModel copy = *this;
    copy.optimizer.clear();
    return copy;
  }
  Hash128 Fingerprint() const {
    Hash128 sum;
    for (const TensorSpec& spec : model) {
      const std::string& data = bytes.at(spec.name);
      sum ^= FingerprintTensor(
          spec, absl::MakeSpan(reinterpret_cast<const std::byte*>(data.data()), data.size()));
    }
    return sum;
  }

  std::vector<TensorSpec> model;
  std::vector<TensorSpec> optimizer;
  std::map<std::string, std::string> bytes;
};

struct SaveOptions {
  int num_ranks = 1;
  int64_t max_shard_bytes = 0;
  Retention retention;
  std::string ledger_head = "22dd";
  std::optional<double> eval_loss;
  std::vector<CompanionFile> companions;
  std::vector<std::vector<HeldPart>> parts;  // by rank; empty: `num_ranks` replicas
};

// The model becomes three files, beside a config.json.
inline SaveOptions ThreeFiles() {
  SaveOptions options;
  options.max_shard_bytes = 100;
  options.companions = {{"tests/checkpoint/golden/config.json", "config.json"}};
  return options;
}

inline TrainingState SampleState(const SampleModel& sample, int64_t step) {
  TrainingState state;
  state.step = step;
  state.stream_position = 8 * step;
  state.epoch = step / 10;
  state.seed = 42;
  state.job = "sample";
  state.job_digest = "00ff";
  state.dataset_digest = "11ee";
  state.code_version = "0.1.0";
  state.ledger_head = "22dd";
  state.weights_fingerprint = sample.Fingerprint();
  return state;
}

using PartsByRank = std::vector<std::vector<HeldPart>>;

// Every rank writes its part in a thread of its own; then they hash what they wrote together.
inline absl::StatusOr<std::vector<PieceChecksum>> WriteByRanks(const CheckpointWriter& writer,
                                                               const CheckpointPlan& plan,
                                                               const PartsByRank& parts) {
  std::vector<std::vector<PlacedBox>> boxes;
  for (const auto& of_rank : parts) {
    LIQUID_ASSIGN_OR_RETURN(boxes.emplace_back(), PlaceParts(plan, of_rank));
  }
  std::vector<WriteAssignment> assignments;
  for (size_t rank = 0; rank < parts.size(); ++rank) {
    LIQUID_ASSIGN_OR_RETURN(assignments.emplace_back(),
                            AssignWrites(plan, boxes, static_cast<int>(rank)));
  }
  using Checksums = absl::StatusOr<std::vector<PieceChecksum>>;
  const auto on_ranks = [&](const std::function<Checksums(size_t)>& body) -> Checksums {
    std::vector<Checksums> results(parts.size());
    std::vector<std::thread> ranks;
    for (size_t rank = 0; rank < parts.size(); ++rank) {
      ranks.emplace_back([&, rank] { results[rank] = body(rank); });
    }
    for (std::thread& rank : ranks) rank.join();
    std::vector<PieceChecksum> all;
    for (const Checksums& result : results) {
      LIQUID_RETURN_IF_ERROR(result.status());
      all.insert(all.begin(), result->begin(), result->end());  // the order must not matter
    }
    return all;
  };
  LIQUID_ASSIGN_OR_RETURN(
      std::vector<PieceChecksum> checksums, on_ranks([&](size_t rank) {
        std::map<const PieceWrite*, std::vector<std::byte>> packed;
        for (const PieceWrite& write : assignments[rank].writes) {
          std::vector<HeldPart> of_tensor;
          for (const HeldPart& part : parts[rank]) {
            if (part.spec == plan.TensorOf(write.piece).spec) of_tensor.push_back(part);
          }
          packed[&write].resize(static_cast<size_t>(write.num_bytes()));
          GatherBytes(plan, write, of_tensor, packed[&write].data());
        }
        return writer.WritePieces(
            assignments[rank].writes,
            [&](const PieceWrite& write) -> const std::byte* { return packed.at(&write).data(); },
            /*num_threads=*/2, nullptr);
      }));
  LIQUID_ASSIGN_OR_RETURN(const std::vector<PieceChecksum> later, on_ranks([&](size_t rank) {
                            return writer.HashPieces(assignments[rank].hashed_later, 2, nullptr);
                          }));
  checksums.insert(checksums.end(), later.begin(), later.end());
  return checksums;
}

// As replicas that all hold everything.
inline absl::StatusOr<std::vector<PieceChecksum>> WriteByRanks(const CheckpointWriter& writer,
                                                               const CheckpointPlan& plan,
                                                               const SampleModel& sample,
                                                               int num_ranks) {
  SampleModel copy = sample;
  return WriteByRanks(writer, plan, PartsByRank(static_cast<size_t>(num_ranks), copy.WholeParts()));
}

inline absl::StatusOr<CommittedCheckpoint> Save(const std::string& root, int64_t step,
                                                const SampleModel& sample,
                                                const SaveOptions& options = {}) {
  LIQUID_ASSIGN_OR_RETURN(
      const CheckpointPlan plan,
      MakeCheckpointPlan(sample.model, sample.optimizer, options.max_shard_bytes));
  CheckpointWriter writer(root, step, plan, options.companions, "w");
  LIQUID_RETURN_IF_ERROR(writer.Prepare());
  absl::StatusOr<std::vector<PieceChecksum>> checksums =
      options.parts.empty() ? WriteByRanks(writer, plan, sample, options.num_ranks)
                            : WriteByRanks(writer, plan, options.parts);
  if (!checksums.ok()) {
    LIQUID_RETURN_IF_ERROR(writer.Abandon());
    return checksums.status();
  }
  TrainingState state = SampleState(sample, step);
  state.ledger_head = options.ledger_head;
  state.eval_loss = options.eval_loss;
  absl::StatusOr<CommittedCheckpoint> committed =
      writer.Commit(state, *checksums, options.retention);
  if (!committed.ok()) LIQUID_RETURN_IF_ERROR(writer.Abandon());
  return committed;
}

// The contents of all files under `directory`, by their names.
inline std::map<std::string, std::string> ContentsOf(const std::string& directory) {
  std::map<std::string, std::string> contents;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    contents[entry.path().filename()] = ReadFile(entry.path().string()).value_or("<unreadable>");
  }
  return contents;
}

// Without fsync, which tests in loops can do without.
inline void WriteBytes(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

// A directory of the running test, removed with it.
class TemporaryDirectory {
 public:
  TemporaryDirectory()
      : path_(::testing::TempDir() + "/liquid_" +
              ::testing::UnitTest::GetInstance()->current_test_info()->test_suite_name() + "_" +
              ::testing::UnitTest::GetInstance()->current_test_info()->name() + "_" +
              std::to_string(getpid())) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace liquid::testing

#endif  // LIQUID_TESTS_CHECKPOINT_SAMPLE_CHECKPOINT_H_
