// The memory that the plan backend predicts, against what the allocators of a real step have asked
// for: equal, byte for byte, on random small jobs.
#include "worker/planned_step.h"

#include <omp.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/dataset_writer.h"
#include "gmock/gmock.h"
#include "model/continuation.h"
#include "model/weights.h"
#include "parallel/thread/thread_communicator.h"
#include "tests/model/tiny_config.h"
#include "tests/testing/status_matchers.h"
#include "worker/evaluation.h"
#include "worker/job_setup.h"
#include "worker/probe.h"
#include "worker/train_step.h"

namespace liquid {
namespace {

using testing::IsOk;

constexpr char kProvenance[] =
    R"({"sources": [{"path": "x", "num_bytes": 0, "digest": "00000000000000000000000000000000"}]})";

// A job, a model, and the ranks and threads that it runs on.
struct Case {
  Job job;
  ModelConfig config;
  int num_replicas = 1;
  int threads = 1;

  int num_ranks() const { return num_replicas * job.model().tensor_parallel(); }
  std::string ToString() const {
    const Training& training = job.training();
    return absl::StrCat(testing::NameOf({config.family, config.keys_are_values}), " of ",
                        config.num_layers, " layers, width ", config.hidden_size, ", vocabulary ",
                        config.vocab_size, ", tensor parallel ", job.model().tensor_parallel(),
                        job.model().sequence_parallel() ? " with sequences" : "", ", ",
                        num_replicas, " replicas, recompute ", job.model().recompute(), ", ",
                        training.precision(), " ", training.gradient_sum(), " ", training.shard(),
                        ", ", training.slots_per_step(), " slots of ", training.rows_per_slot(),
                        " x ", job.data().sequence_length(), ", ", threads, " threads, rank ",
                        job.adapter().rank(), ", ", training.freeze_size(), " frozen, ",
                        job.data().eval_size(), " files to evaluate with ", training.eval_samples(),
                        " answers of ", training.eval_sample_tokens());
  }
};

class Draw {
 public:
  explicit Draw(uint32_t seed) : random_(seed) {}
  template <typename T>
  T Of(const std::vector<T>& choices) {
    return choices[random_() % choices.size()];
  }
  template <typename T>
  T Of(std::initializer_list<T> choices) {
    return Of(std::vector<T>(choices));
  }

 private:
  std::mt19937 random_;
};

Case RandomCase(uint32_t seed) {
  Draw draw(seed);
  Case c;
  c.config = testing::TinyConfig(draw.Of(testing::AllForms()), draw.Of({2, 3, 4}));
  c.config.hidden_size = draw.Of<int64_t>({24, 48, 96});
  if (c.config.family == Family::kGpt2)
    c.config.head_dim = c.config.hidden_size / c.config.num_heads;
  c.config.intermediate_size = draw.Of<int64_t>({40, 64, 200});
  c.config.vocab_size = draw.Of<int64_t>({37, 64, 300, 1100});
  c.config.tie_word_embeddings = draw.Of({false, true});
  if (c.config.family != Family::kLlama) c.config.tie_word_embeddings = true;
  ModelSource& model = *c.job.mutable_model();
  model.set_tensor_parallel(draw.Of({1, 2, 4}));
  model.set_sequence_parallel(draw.Of({false, true}));
  model.set_recompute(draw.Of({"none", "block"}));
  c.job.mutable_data()->set_sequence_length(draw.Of({16, 24, 40, 64}));
  Training& training = *c.job.mutable_training();
  training.set_slots_per_step(draw.Of({1, 2, 3, 5}));
  training.set_rows_per_slot(draw.Of({1, 2, 7}));
  training.set_epochs(1);
  training.set_precision(draw.Of({"fp32", "bf16"}));
  training.set_gradient_sum(draw.Of({"exact", "fast"}));
  training.set_shard(draw.Of({"optimizer", "gradients"}));
  training.set_on_non_finite("stop");
  Optimizer& optimizer = *c.job.mutable_optimizer();
  optimizer.set_learning_rate(0.001);
  optimizer.set_schedule("constant");
  optimizer.set_clip_norm(1.0);
  optimizer.set_epsilon(1e-8);
  optimizer.add_betas(0.9);
  optimizer.add_betas(0.95);
  c.num_replicas = model.tensor_parallel() == 4 ? 1 : draw.Of({1, 2, 3});
  c.threads = draw.Of({1, 2, 3});
  // A part of the model is trained, in every other case.
  c.job.mutable_adapter()->set_rank(draw.Of({0, 0, 3}));
  c.job.mutable_adapter()->set_alpha(6);
  c.job.mutable_adapter()->add_target_modules("all-linear");
  c.job.mutable_adapter()->set_dropout(draw.Of({0.0, 0.1}));
  training.set_neftune_alpha(draw.Of({0.0, 5.0}));
  const char* const tokens = c.config.family == Family::kGpt2 ? "*wte*" : "*embed_tokens.*";
  if (c.job.adapter().rank() == 0 && draw.Of({false, true})) training.add_freeze(tokens);
  if (draw.Of({false, true})) c.job.mutable_data()->add_eval("eval.jsonl");
  training.set_eval_samples(draw.Of({0, 2}));
  training.set_eval_sample_tokens(draw.Of({3, 50}));
  return c;
}

// What a rank's allocators have asked for, or will.
struct Bytes {
  int64_t state = 0;
  int64_t activations = 0;
  int64_t workspace = 0;
  int64_t in_all = 0;
  friend bool operator==(const Bytes&, const Bytes&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Bytes& bytes) {
    return out << "state " << bytes.state << ", activations " << bytes.activations << ", workspace "
               << bytes.workspace << ", in all " << bytes.in_all;
  }
};

class PlannedStepTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/liquid-planned-step-XXXXXX";
    ASSERT_NE(mkdtemp(path), nullptr);
    directory_ = path;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  // As many rows as a step has, of documents of several lengths.
  std::string WriteRows(const Case& c) {
    const std::string path = directory_ + "/rows.dataset";
    std::filesystem::remove(path);
    DatasetWriter::Options options;
    options.sequence_length = c.job.data().sequence_length();
    options.vocab_size = static_cast<int32_t>(c.config.vocab_size);
    auto writer = *DatasetWriter::Create(path, options);
    // A step of them, and something to evaluate for every replica.
    const int num_slots = std::max(c.job.training().slots_per_step(), c.num_replicas);
    const int num_rows = num_slots * c.job.training().rows_per_slot();
    for (int row = 0; row < num_rows; ++row) {
      PackedRow packed;
      for (const int length : {3 + row % 5, 7}) {
        Document document;
        for (int i = 0; i < length; ++i) {
          document.tokens.push_back((row + i) % 37);
          document.trained.push_back(i > 1 ? 1 : 0);
        }
        document.origin.line = row + 1;
        packed.Append(document);
      }
      EXPECT_THAT(writer->Append(packed), IsOk());
    }
    EXPECT_THAT(writer->Finish(kProvenance).status(), IsOk());
    return path;
  }

  // One real step, as a worker does it.
  Bytes StepOnRank(const Case& c, const std::string& rows, GangCommunicator& world) {
    omp_set_num_threads(c.threads);
    const std::unique_ptr<Device> device = CreateCpuDevice();
    const std::unique_ptr<Stream> stream = *device->CreateStream();
    const std::unique_ptr<Ops> ops = CreateOps(*stream);
    TensorPool pool(*device);
    const GangMesh mesh = *GangMesh::Create(world, c.job.model().tensor_parallel());
    const Dataset dataset = *Dataset::Open(rows);
    const JobStream job_stream = JobStreamOf(c.job, dataset);
    const auto model = *CreateModel(c.config, *ops, *stream, pool,
                                    {.group = &mesh.tensor(),
                                     .sequence = c.job.model().sequence_parallel(),
                                     .num_replicas = mesh.num_replicas()},
                                    PrecisionOf(c.job), TuningOf(c.job));
    TrainState state(*model, mesh, *ops, pool);
    EXPECT_THAT(ProbeDigest(c.job, dataset, state), IsOk());
    InitializeWeights(7, *model);
    state.Reset();
    TrainStep step(c.job, job_stream, dataset, state, *ops, *stream, pool, 0);
    Plan plan;
    plan.set_generation(1);
    plan.set_step(1);
    plan.add_slots()->set_end(c.job.training().slots_per_step());
    EXPECT_THAT(step.Take(plan), IsOk());
    while (step.slots().num_left() > 0) EXPECT_THAT(step.ComputeRound(), IsOk());
    EXPECT_THAT(step.Finish(nullptr), IsOk());
    if (!c.job.data().eval().empty()) Evaluate(c, dataset, state);
    Bytes bytes = {.state = pool.allocated_bytes(),
                   .activations = model->activations().allocated_bytes(),
                   .workspace = ops->WorkspaceBytes()};
    bytes.in_all = bytes.state + bytes.activations + bytes.workspace;
    return bytes;
  }

  // With a row in place of the longest prompt.
  static void Evaluate(const Case& c, const Dataset& dataset, TrainState& state) {
    const Training& training = c.job.training();
    Evaluation evaluation(dataset, training.rows_per_slot(), state);
    EXPECT_THAT(evaluation.Run(nullptr), IsOk());
    if (training.eval_samples() == 0 || state.mesh.replica() != 0) return;
    const std::vector<int32_t> prompt(static_cast<size_t>(c.job.data().sequence_length() - 1));
    const int64_t room =
        state.model.config().max_position_embeddings - static_cast<int64_t>(prompt.size());
    Continue(state.model, prompt, {.max_tokens = std::min(training.eval_sample_tokens(), room)},
             [](int32_t) { return true; });
  }

  std::vector<Bytes> MeasuredBytes(const Case& c) {
    const std::string rows = WriteRows(c);
    const auto world = CreateThreadWorld(c.num_ranks(), absl::Seconds(60));
    std::vector<Bytes> measured(world.size());
    std::vector<std::jthread> threads;
    for (size_t rank = 0; rank < world.size(); ++rank) {
      threads.emplace_back([&, rank] { measured[rank] = StepOnRank(c, rows, *world[rank]); });
    }
    threads.clear();
    return measured;
  }

  static Bytes PlannedBytes(const Case& c, int rank) {
    WorkspaceRules rules = RulesOfThisCpu();
    rules.threads = c.threads;
    const auto planned =
        PlanStep(c.job, c.config, {.rank = rank, .num_ranks = c.num_ranks(), .machine = rules});
    EXPECT_THAT(planned, IsOk());
    if (!planned.ok()) return {};
    return {.state = planned->state_bytes,
            .activations = planned->activation_bytes,
            .workspace = planned->memory.workspace,
            .in_all = planned->memory.on_device()};
  }

  std::string directory_;
};

TEST_F(PlannedStepTest, PredictedBytesAreTheAllocatorsOnRandomJobs) {
  constexpr int kNumCases = 100;
  for (int i = 0; i < kNumCases; ++i) {
    const Case c = RandomCase(static_cast<uint32_t>(1000 + i));
    SCOPED_TRACE(absl::StrCat("case ", i, ": ", c.ToString()));
    const std::vector<Bytes> measured = MeasuredBytes(c);
    for (size_t rank = 0; rank < measured.size(); ++rank) {
      EXPECT_GT(measured[rank].in_all, 0);
      EXPECT_EQ(PlannedBytes(c, static_cast<int>(rank)), measured[rank]) << "rank " << rank;
    }
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace liquid
