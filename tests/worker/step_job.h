// Whole steps of a small job, on ranks that are threads: in any number of gangs, of any kind.
#ifndef LIQUID_TESTS_WORKER_STEP_JOB_H_
#define LIQUID_TESTS_WORKER_STEP_JOB_H_

#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/status.h"
#include "data/dataset_writer.h"
#include "gmock/gmock.h"
#include "kernels/cpu/team.h"
#include "model/partition.h"
#include "model/weights.h"
#include "parallel/thread/thread_communicator.h"
#include "tests/testing/status_matchers.h"
#include "worker/job_setup.h"
#include "worker/probe.h"
#include "worker/train_step.h"

namespace liquid::testing {

inline constexpr char kProvenance[] =
    R"({"sources": [{"path": "x", "num_bytes": 0, "digest": "00000000000000000000000000000000"}]})";
inline constexpr int kLength = 16;
inline constexpr int kVocab = 40;
inline constexpr int kNumRows = 11;  // not a multiple of a step's rows: steps straddle epochs

class StepJob : public ::testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/liquid-train-step-XXXXXX";
    ASSERT_NE(mkdtemp(path), nullptr);
    directory_ = path;
    SizeTeam(/*ranks_on_machine=*/64);  // one thread: ranks are many here
    WriteRows();
    SetJob();
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  // The rows of the job, of the first `num_tokens` tokens. Of every other document the targets have
  // the mask `other`, of the rest 1. `weights`: of masks 2, 3, ...
  void WriteRows(uint8_t other = 1, const std::vector<float>& weights = {},
                 uint32_t num_tokens = kVocab) {
    DatasetWriter::Options options;
    options.sequence_length = kLength;
    options.vocab_size = kVocab;
    auto writer = *DatasetWriter::Create(directory_ + "/rows.dataset", options);
    std::mt19937 random(1);
    for (int row = 0; row < kNumRows; ++row) {
      PackedRow packed;
      for (const int length : {5, 4 + row % 7}) {
        Document document;
        const uint8_t mask = length == 5 ? other : 1;
        for (int i = 0; i < length; ++i) {
          document.tokens.push_back(static_cast<int32_t>(random() % num_tokens));
          document.trained.push_back(i > 1 ? mask : 0);
        }
        document.origin.line = row + 1;
        packed.Append(document);
      }
      ASSERT_TRUE(writer->Append(packed).ok());
    }
    ASSERT_TRUE(writer->Finish(kProvenance, weights).ok());
  }

  void SetJob() {
    job_.mutable_model()->set_recompute("none");
    job_.mutable_training()->set_slots_per_step(4);
    job_.mutable_training()->set_rows_per_slot(1);
    job_.mutable_training()->set_epochs(7.2);
    job_.mutable_training()->set_gradient_sum("exact");
    job_.mutable_training()->set_on_non_finite("stop");
    job_.mutable_optimizer()->set_learning_rate(0.01);
    job_.mutable_optimizer()->set_schedule("cosine");
    job_.mutable_optimizer()->set_clip_norm(1.0);
    job_.mutable_optimizer()->set_epsilon(1e-8);
    job_.mutable_optimizer()->add_betas(0.9);
    job_.mutable_optimizer()->add_betas(0.95);
    config_.vocab_size = kVocab;
    config_.hidden_size = 16;
    config_.intermediate_size = 24;
    config_.num_layers = 2;
    config_.num_heads = 4;
    config_.num_kv_heads = 2;
    config_.head_dim = 4;
    config_.max_position_embeddings = 64;
    config_.tie_word_embeddings = true;
    config_.windows = {0, 0};
  }

  // What every rank's steps came to: the fingerprint after each, or the first error.
  struct Outcome {
    std::vector<std::string> fingerprints;
    std::vector<double> losses;
    std::vector<double> gradient_norms;
    absl::Status status;
    // Of each parameter, in the end: put together from the ranks' parts.
    std::vector<std::vector<float>> weights;
  };
  using Ranges = std::vector<std::pair<int, int>>;

  // Makes all steps of the job in `leases.size()` gangs of `num_ranks` ranks. `leases`: how the
  // slots are dealt to gangs.
  Outcome TrainIn(const std::vector<Ranges>& leases, int num_ranks) {
    const size_t num_gangs = leases.size();
    std::vector<Outcome> outcomes(num_gangs * static_cast<size_t>(num_ranks));
    std::vector<std::vector<std::unique_ptr<GangCommunicator>>> gangs;
    std::vector<std::vector<std::unique_ptr<GangCommunicator>>> rails;
    for (size_t gang = 0; gang < num_gangs; ++gang) {
      gangs.push_back(CreateThreadWorld(num_ranks, absl::Seconds(60)));
    }
    for (int rank = 0; rank < num_ranks; ++rank) {
      rails.push_back(CreateThreadWorld(static_cast<int>(num_gangs), absl::Seconds(60)));
    }
    std::vector<std::jthread> threads;
    for (size_t gang = 0; gang < num_gangs; ++gang) {
      for (int rank = 0; rank < num_ranks; ++rank) {
        threads.emplace_back([&, gang, rank] {
          outcomes[gang * num_ranks + rank] = TrainRank(
              *gangs[gang][rank], num_gangs > 1 ? rails[rank][gang].get() : nullptr, leases[gang]);
        });
      }
    }
    threads.clear();
    Outcome all = outcomes[0];
    for (const Outcome& other : outcomes) {
      EXPECT_EQ(other.fingerprints, all.fingerprints) << "ranks of one run differ";
      for (size_t p = 0; p < all.weights.size(); ++p) {
        for (size_t i = 0; i < all.weights[p].size(); ++i) {
          if (!std::isnan(other.weights[p][i])) all.weights[p][i] = other.weights[p][i];
        }
      }
    }
    return all;
  }
  Outcome TrainOn(int num_ranks, const Ranges& leases = {{0, 4}}) {
    return TrainIn({leases}, num_ranks);
  }

  static Plan MakePlan(int64_t step, const Ranges& leases, int64_t generation = 1) {
    Plan plan;
    plan.set_generation(generation);
    plan.set_step(step);
    for (const auto& [begin, end] : leases) {
      SlotRange* range = plan.add_slots();
      range->set_begin(begin);
      range->set_end(end);
    }
    return plan;
  }

  // One rank, with all that it needs.
  struct Rank {
    Rank(StepJob& test, GangCommunicator& world, bool probes = true)
        : mesh(*GangMesh::Create(world, std::max(1, test.job_.model().tensor_parallel()))),
          dataset(*Dataset::Open(test.directory_ + "/rows.dataset")),
          job_stream(EpochOrder(3, kNumRows, true), test.job_.training().epochs(),
                     test.job_.training().slots_per_step(), test.job_.training().rows_per_slot()),
          model(*CreateModel(test.config_, *ops, *stream, pool,
                             {.group = &mesh.tensor(),
                              .sequence = test.job_.model().sequence_parallel(),
                              .num_replicas = mesh.num_replicas()},
                             PrecisionOf(test.job_), TuningOf(test.job_))),
          state(*model, mesh, *ops, pool),
          step(test.job_, job_stream, dataset, state, *ops, *stream, pool, 0) {
      // As every worker does at first: even a rank that never computes a slot knows the model's
      // order.
      if (probes) {
        EXPECT_THAT(ProbeDigest(test.job_, dataset, state), IsOk());
      }
      InitializeWeights(7, *model);
      InitializeAdapters(7, *model);
      state.Reset();
    }
    absl::Status Compute(const Plan& plan) {
      LIQUID_RETURN_IF_ERROR(step.Take(plan));
      while (step.slots().num_left() > 0) LIQUID_RETURN_IF_ERROR(step.ComputeRound());
      return absl::OkStatus();
    }

    std::unique_ptr<Device> device = CreateCpuDevice();
    std::unique_ptr<Stream> stream = *device->CreateStream();
    std::unique_ptr<Ops> ops = CreateOps(*stream);
    TensorPool pool{*device};
    GangMesh mesh;
    Dataset dataset;
    JobStream job_stream;
    std::unique_ptr<Model> model;
    TrainState state;
    TrainStep step;
  };

  Outcome TrainRank(GangCommunicator& world, Communicator* rail, const Ranges& leases) {
    SizeTeam(/*ranks_on_machine=*/64);  // one thread: ranks are many here
    Outcome outcome;
    Rank rank(*this, world);
    for (int64_t n = 1; n <= rank.job_stream.num_steps(); ++n) {
      outcome.status = rank.Compute(MakePlan(n, leases));
      if (!outcome.status.ok()) return outcome;
      const Rail both = {.hosts = rail, .devices = rail};
      const auto report = rank.step.Finish(rail == nullptr ? nullptr : &both);
      if (!report.ok()) {
        outcome.status = report.status();
        return outcome;
      }
      outcome.fingerprints.push_back((*report)->fingerprint());
      outcome.losses.push_back((*report)->loss());
      outcome.gradient_norms.push_back((*report)->gradient_norm());
    }
    outcome.weights = PartOf(*rank.model);
    return outcome;
  }

  // Of each parameter, whole, but NaN where another rank has it.
  static std::vector<std::vector<float>> PartOf(const Model& model) {
    std::vector<std::vector<float>> weights;
    for (const Parameter& parameter : model.parameters()) {
      std::vector<float> whole(static_cast<size_t>(parameter.shape.NumElements()), std::nanf(""));
      if (parameter.value.dtype == DType::kF32) {
        ForEachRun(parameter.shape, parameter.part, [&](int64_t to, int64_t from, int64_t count) {
          std::copy_n(parameter.value.f32() + from, count, whole.begin() + to);
        });
      }
      weights.push_back(std::move(whole));
    }
    return weights;
  }

  std::string directory_;
  Job job_;
  ModelConfig config_;
};

}  // namespace liquid::testing

#endif  // LIQUID_TESTS_WORKER_STEP_JOB_H_
